"""Many attacks, and the faults that they find: `python tests/robustness/campaign.py FIRST LAST`.

Each case is told before it is run, so that one which ends the process is known.
"""

from __future__ import annotations

import collections
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "helpers")]


def main(first: int, last: int) -> int:
    from attack import faults
    from cases import make_case
    from stock import make_stock

    kinds: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        stock = make_stock(folder / "stock")
        for seed in range(first, last):
            case, start = make_case(seed, stock, folder / "case"), time.monotonic()
            print(f"{seed}: {case}", flush=True)
            found = faults(case)
            print(f"   {time.monotonic() - start:.1f} s", flush=True)
            for fault in found:
                kinds[fault.splitlines()[0]] += 1
                print(f"==== {seed}: {fault}", flush=True)
            shutil.rmtree(folder / "case", ignore_errors=True)
    print(f"{last - first} cases, faults: {dict(kinds.most_common())}")
    return int(bool(kinds))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
