"""Many cases, and the faults that they find: `python tests/robustness/campaign.py [FIRST [LAST]]`."""

from __future__ import annotations

import collections
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")]

from attack import faults
from cases import make_case
from stock import make_stock


def main() -> None:
    first, last = (int(word) for word in [*sys.argv[1:], "0", "1000"][:2]) if len(sys.argv) > 2 else (0, 1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        stock = make_stock(folder / "stock")
        kinds: collections.Counter[str] = collections.Counter()
        start, slow = time.time(), []
        log = open(f"/tmp/campaign{first}.log", "w")
        for seed in range(first, last):
            began = time.time()
            case = make_case(seed, stock, folder / "case")
            print(f"---- {seed}: {case}"[:300], file=log, flush=True)
            for fault in faults(case):
                kinds[fault.splitlines()[-1] if "traceback" in fault else fault.splitlines()[0]] += 1
                print(f"==== {seed}: {case}\n{fault}", flush=True)
            print(f"     {time.time() - began:.1f} s", file=log, flush=True)
            slow.append((round(time.time() - began, 2), seed, str(case)[:150]))
            shutil.rmtree(folder / "case", ignore_errors=True)
        print(f"{last - first} cases in {time.time() - start:.0f} s; slowest {sorted(slow)[-5:]}")
        for kind, number in kinds.most_common():
            print(f"{number:5d}  {kind[:200]}")


if __name__ == "__main__":
    main()
