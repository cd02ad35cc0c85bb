/** Which rows of a long list are to be there: those in sight, and some beyond. */
export function rowsInSight(scrolled: number, height: number, rowHeight: number, count: number, beyond = 4): [number, number] {
  const first = Math.max(0, Math.floor(scrolled / rowHeight) - beyond);
  const last = Math.min(count, Math.ceil((scrolled + height) / rowHeight) + beyond);
  return [Math.min(first, last), last];
}

/** How far to scroll so that a row is in sight; unchanged if it is. */
export function scrollTo(row: number, scrolled: number, height: number, rowHeight: number): number {
  if (row * rowHeight < scrolled) return row * rowHeight;
  return Math.max(scrolled, (row + 1) * rowHeight - height);
}
