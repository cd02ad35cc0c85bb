"""How long `plurimask check` takes on 100,000 small files, for the first time and again, and how much memory.

    python benchmarks/many_files.py                 writes benchmarks/results/many_files.json; about ten minutes

Half of the files are images of 32 x 32 pixels, half their masks. The first call reads all of them, the second knows
what they held; a third finds two of them changed.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import record, write

RESULT = Path(__file__).parent / "results" / "many_files.json"
SIDE = 32
_MEASURED = """
import resource, sys, time
start = time.perf_counter()
from plurimask.commands.main import main
code = main(sys.argv[1:])
print("MEASURED", time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def make(folder: Path, num_files: int) -> None:
    """Images and masks in `train` and `val`, nine to one, changed a minute ago."""
    random, ago = np.random.default_rng(0), time.time() - 60
    for number in range(num_files // 2):
        split = "val" if number % 10 == 9 else "train"
        image = random.integers(0, 256, (SIDE, SIDE), np.uint8)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        top, left, side = random.integers(2, 16, 3)
        mask[top : top + side, left : left + side] = 255
        for kind, pixels in (("images", image), ("masks", mask)):
            path = folder / split / kind / f"case-{number:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, compress_level=1)
            os.utime(path, (ago, ago))


def check(folder: Path, cache: Path) -> dict[str, Any]:
    """One call in a process of its own: seconds, those of the processor, which other work on the machine does not
    lengthen much, peak memory in MB, and what it said of earlier scans."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PLURIMASK_INDEX": "1"}
    command = [sys.executable, "-c", _MEASURED, "check", str(folder)]
    start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    peak = int(done.stderr.split("MEASURED")[1].split()[1]) / 1024
    said = [line.removeprefix("note: ") for line in done.stdout.splitlines() if "known from" in line]
    report = [line for line in done.stdout.splitlines() if "known from" not in line]
    return {
        "seconds": round(seconds, 2),
        "processor_seconds": round(processor, 2),
        "peak_mb": round(peak),
        "said": said,
        "report": "\n".join(report).strip(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="folder of such files; made if it is not there, and kept")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data, cache = options.data or Path(name) / "data", Path(name) / "cache"
        start = time.perf_counter()
        if not data.exists():
            make(data, options.files)
        print(f"{options.files:,} files made in {time.perf_counter() - start:.0f} s", flush=True)
        calls: dict[str, dict[str, Any]] = {}
        for call in ("first", "second", "two changed"):
            if call == "two changed":
                ago = time.time() - 30
                for path in sorted((data / "val" / "masks").iterdir())[:2]:
                    os.utime(path, (ago, ago))
            calls[call] = check(data, cache)
            print(call, {key: value for key, value in calls[call].items() if key != "report"}, flush=True)
        reports = {call: found.pop("report") for call, found in calls.items()}
        index = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    if len(set(reports.values())) > 1:
        raise SystemExit("the reports differ")
    config = {"num_files": options.files, "side": SIDE}
    write(options.out, record("many_files", config, {"index_mb": round(index / 1e6, 1), **calls}))


if __name__ == "__main__":
    main()
