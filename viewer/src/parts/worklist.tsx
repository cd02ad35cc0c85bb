/** The work list: the worst first; rows are there only while they are in sight, and asked for when they come. */

import { memo } from "preact/compat";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Page, type Row, type Session, api } from "../api";
import { rowsInSight, scrollTo } from "../logic/virtual";
import { percent } from "../logic/words";

const ROW = 72;
const CHUNK = 50;
const POLL = 1500;

export const SORT_NAMES: Record<string, string> = {
  disagreement: "Most disagreement",
  ged: "Furthest from raters",
  quality: "Lowest expected quality",
  entropy: "Highest entropy",
  name: "Name",
};

interface Props {
  session: Session;
  run: number;
  sort: string;
  search: string;
  current: number | null;
  ticket: number; // grows when something changed here: ask again
  onSort: (sort: string) => void;
  onSearch: (search: string) => void;
  onImage: (image: number) => void;
  onRows: (rows: readonly Row[]) => void;
  onStep: (by: "next" | "previous") => void;
}

interface Rows {
  key: string;
  total: number;
  scored: number;
  revision: number;
  chunks: ReadonlyMap<number, Row[]>;
}

const NO_ROWS: Omit<Rows, "key"> = { total: 0, scored: 0, revision: -1, chunks: new Map() };

export function WorkList(props: Props) {
  const { session, run, sort, search, current } = props;
  const list = useRef<HTMLDivElement>(null);
  const [place, setPlace] = useState({ scrolled: 0, height: 600 });
  const isOver = useRef(false);
  const key = `${run} ${sort} ${search}`;
  const [rows, setRows] = useState<Rows>({ key, ...NO_ROWS });
  const now = useRef({ rows, key, place });
  now.current = { rows, key, place };
  const own = rows.key === key ? rows : { key, ...NO_ROWS };
  const [first, last] = rowsInSight(place.scrolled, place.height, ROW, own.total);

  /** Asks for chunks; those that were there before a new order came are forgotten. */
  const load = async (chunks: readonly number[], isFresh: boolean): Promise<void> => {
    const pages = await Promise.all(
      chunks.map(async (chunk) => [chunk, await api.images({ run, sort, search, offset: chunk * CHUNK, limit: CHUNK })] as const),
    ).catch(() => [] as (readonly [number, Page])[]);
    if (!pages.length || now.current.key !== key) return;
    const [, { total, scored, revision }] = pages[pages.length - 1];
    setRows((old) => {
      const kept = old.key === key && !isFresh ? new Map(old.chunks) : new Map<number, Row[]>();
      for (const [chunk, page] of pages) kept.set(chunk, page.images);
      return { key, total, scored, revision, chunks: kept };
    });
  };
  const inSight = (): number[] => {
    const { place: at, rows: there } = now.current;
    const [from, to] = rowsInSight(at.scrolled, at.height, ROW, Math.max(1, there.total));
    const start = Math.floor(from / CHUNK);
    return Array.from({ length: Math.floor(Math.max(from, to - 1) / CHUNK) - start + 1 }, (_, k) => start + k);
  };

  useLayoutEffect(() => {
    const element = list.current!;
    const measure = (): void => setPlace({ scrolled: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, []);
  useEffect(() => {
    if (session.data.state === "ready") void load(inSight(), true);
  }, [key, props.ticket, session.data.state]);
  useEffect(() => {
    if (own.revision < 0) return;
    const missing = inSight().filter((chunk) => !own.chunks.has(chunk));
    if (missing.length) void load(missing, false);
  }, [first, last, own.revision]);
  useEffect(() => {
    if (own.revision < 0 || own.scored >= own.total) return;
    // Rows do not move under the pointer: the order is brought up to date while it is elsewhere.
    const timer = setInterval(() => !document.hidden && !isOver.current && void load(inSight(), true), POLL);
    return () => clearInterval(timer);
  }, [key, own.revision < 0, own.scored >= own.total]);
  useEffect(() => props.onRows([...own.chunks.values()].flat()), [own.chunks]);

  const rowAt = (index: number): Row | undefined => own.chunks.get(Math.floor(index / CHUNK))?.[index % CHUNK];
  const indexOfCurrent = (): number => {
    for (const [chunk, some] of own.chunks) {
      const at = some.findIndex((row) => row.id === current);
      if (at >= 0) return chunk * CHUNK + at;
    }
    return -1;
  };
  useEffect(() => {
    let isCurrent = true;
    const bringIntoSight = (index: number | null): void => {
      const box = list.current;
      if (isCurrent && box && index !== null && index >= 0) box.scrollTop = scrollTo(index, box.scrollTop, box.clientHeight, ROW);
    };
    const index = indexOfCurrent();
    if (index >= 0) bringIntoSight(index);
    else if (current !== null && own.revision >= 0)
      api.position(current, { run, sort, search }).then(({ position }) => bringIntoSight(position), () => null);
    return () => {
      isCurrent = false;
    };
  }, [current, own.revision < 0]);
  const onKey = (event: KeyboardEvent): void => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    event.stopPropagation();
    props.onStep(event.key === "ArrowDown" ? "next" : "previous");
  };

  const shown = Array.from({ length: last - first }, (_, k) => first + k);
  return (
    <nav class="worklist" aria-label="Images">
      <div class="worklist-head">
        <input type="search" id="search" placeholder="Search by name  ( / )" aria-label="Search images by name" value={search} onInput={(event) => props.onSearch(event.currentTarget.value)} />
        <select aria-label="Order of images" value={sort} onChange={(event) => props.onSort(event.currentTarget.value)}>
          {Object.entries(SORT_NAMES).map(([name, title]) => session.sorts.includes(name) && <option key={name} value={name}>{title}</option>)}
        </select>
        <p class="soft" role="status">
          {own.revision < 0 ? "…" : `${own.total} ${own.total === 1 ? "image" : "images"}`}
          {own.revision >= 0 && own.scored < own.total ? `, ${own.scored} looked at so far` : ""}
        </p>
      </div>
      <div
        class="rows"
        ref={list}
        role="listbox"
        aria-label="Work list"
        tabIndex={0}
        aria-activedescendant={current === null ? undefined : `image-${current}`}
        onKeyDown={onKey}
        onPointerEnter={() => (isOver.current = true)}
        onPointerLeave={() => (isOver.current = false)}
      >
        <div class="rows-all" role="presentation" style={{ height: `${own.total * ROW}px` }}>
          {shown.map((index) => {
            const row = rowAt(index);
            return (
              <div class="row-place" role="presentation" key={row ? row.id : -1 - index} style={{ transform: `translateY(${index * ROW}px)` }}>
                {row && <ImageRow row={row} run={run} sort={sort} isCurrent={row.id === current} onImage={props.onImage} />}
              </div>
            );
          })}
        </div>
      </div>
    </nav>
  );
}

interface RowProps {
  row: Row;
  run: number;
  sort: string;
  isCurrent: boolean;
  onImage: (image: number) => void;
}

const ImageRow = memo(
  function ImageRow({ row, run, sort, isCurrent, onImage }: RowProps) {
    return (
      <div class="row" role="option" id={`image-${row.id}`} data-image={row.id} aria-selected={isCurrent} onClick={() => onImage(row.id)}>
        <img src={api.thumbnail(row.id, run, row.scores ? 1 : 0)} alt="" width="56" height="56" loading="lazy" decoding="async" />
        <span class="row-words">
          <span class="row-name" title={row.name}>{row.name}</span>
          <span class="soft">{row.upload ? "opened here" : scoreWords(row, sort)}</span>
          {row.scores && row.scores.readings.length > 0 && (
            <span class="shares" aria-hidden="true">
              {row.scores.readings.map((share, k) => <span key={k} style={{ flexGrow: share }} />)}
            </span>
          )}
        </span>
        {row.saved && <span class="saved" title={`Saved as ${row.saved.file}`} aria-label="saved">✓</span>}
      </div>
    );
  },
  (one, other) => JSON.stringify(one.row) === JSON.stringify(other.row) && one.run === other.run && one.sort === other.sort && one.isCurrent === other.isCurrent,
);

function scoreWords({ scores }: Row, sort: string): string {
  if (!scores) return "not looked at yet";
  if (sort === "ged" && scores.ged !== null) return `GED² ${scores.ged.toFixed(2)}`;
  if (sort === "quality" && scores.quality !== null) return `expected Dice ${scores.quality.toFixed(2)}`;
  if (sort === "entropy" && scores.entropy !== null) return `entropy ${scores.entropy.toPrecision(2)} nats`;
  return scores.disagreement === null ? "one sample" : `${percent(scores.disagreement)} disagreement`;
}
