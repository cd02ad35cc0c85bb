/** How a filmstrip fits its frame. */

export interface Film {
  rows: number;
  side: number; // of a tile
}

export const BETWEEN = 9; // from tile to tile
const [SMALLEST, AROUND] = [36, 24];

/** One row of large tiles if all groups fit the width, else two rows, of tiles that are as large as fits. */
export function filmOf(groups: readonly number[], width: number, largest: number): Film {
  const room = width - AROUND * groups.length;
  const side = (rows: number): number => {
    const columns = groups.reduce((sum, count) => sum + Math.ceil(count / rows), 0);
    return Math.floor(room / columns) - BETWEEN;
  };
  if (side(1) >= largest) return { rows: 1, side: largest };
  return { rows: 2, side: Math.max(SMALLEST, Math.min(largest - 8, side(2))) };
}
