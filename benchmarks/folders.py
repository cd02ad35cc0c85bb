"""The default commands on folders of images: `plurimask train DATA --method M --max-minutes 10`, then `evaluate`.

    python benchmarks/folders.py --work folders --out benchmarks/results/folders.json

Each command is a process of its own, whose wall time and memory are measured from outside. A run that lies in --work
already is not trained again. Exits with 1 where a run has fewer than 300 steps, where steps take less than 85 % of the
wall time or the minutes are kept by more than 10 % off, where the probabilistic net's Dice is below 0.9 of the
deterministic one's, or where several raters are no nearer to its samples than to the one mask, by GED. DATA are folders
in the one named by PLURIMASK_DATA, else ../shared/data.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from record import data_folder, record, write

FOLDERS = ("bubil", "lidc_folder", "stare", "camvid", "brain_growth", "bbbc010")
METHODS = ("probabilistic-unet", "unet")
FEWEST_STEPS, LEAST_SHARE, MOST_OFF, LEAST_DICE = 300, 0.85, 0.1, 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--folders", nargs="+", default=FOLDERS)
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--note", help="what a reader must know of how it was measured")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    results = {
        folder: {method: measured(folder, method, options.minutes, options.work) for method in METHODS}
        for folder in options.folders
    }
    config = {"minutes": options.minutes, "samples": 16, "seed": 0, "note": options.note}
    write(options.out, record("folders", config, results))
    missed = [f"{folder}: {words}" for folder, pair in results.items() for words in misses(pair, options.minutes)]
    print("\n".join(["not reached:", *missed]) if missed else "reached")
    sys.exit(int(bool(missed)))


def measured(folder: str, method: str, minutes: float, work: Path) -> dict[str, Any]:
    """The figures of one training and of the evaluation of its run."""
    run, data = work / f"{folder}-{method}", data_folder() / folder
    cost, scores = run.with_suffix(".cost.json"), run.with_suffix(".evaluation.json")
    if not cost.exists():
        budget = ["--max-minutes", f"{minutes:g}", "--overwrite"]
        cost.write_text(json.dumps(command("train", str(data), "--method", method, "--out", str(run), *budget)))
    if not scores.exists():
        command("evaluate", str(run), str(data), "--out", str(scores))
    about, spent = json.loads((run / "run.json").read_text()), json.loads(cost.read_text())
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    validating = sum(float(row["val_seconds"]) for row in rows if row.get("val_seconds"))
    trained = 60 * float(rows[-1]["minutes"]) - validating - about["plan"]["preparation_seconds"]
    evaluation = json.loads(scores.read_text())
    figures = ("num_images", "dice", "ged", "ged_oracle", "diversity", "rater_diversity")
    return {
        "plan": [about["plan"]["summary"], *about["plan"]["reasons"]],
        "steps": about["steps"],
        "run_mb": sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) / 1e6,
        "num_raters": len(about["data"]["rater_names"]),
        **spent,
        "share_of_steps": trained / spent["wall_seconds"],
        **{name: evaluation.get(name) for name in figures},
    }


def command(*words: str) -> dict[str, float]:
    """Run plurimask; the wall time and the most memory that the process held, in GB."""
    print("plurimask", *words, flush=True)
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "plurimask", *words])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"plurimask {' '.join(words)} failed")
    return {"wall_seconds": time.perf_counter() - start, "memory_gb": usage.ru_maxrss * 1024 / 1e9}


def misses(pair: dict[str, dict[str, Any]], minutes: float) -> list[str]:
    """What of the bars the two runs on a folder do not reach, in words."""
    words = []
    for method, run in pair.items():
        off = run["wall_seconds"] / 60 / minutes - 1
        checks = {
            f"{run['steps']} steps": run["steps"] >= FEWEST_STEPS,
            f"steps are {run['share_of_steps']:.0%} of the time": run["share_of_steps"] >= LEAST_SHARE,
            f"the minutes are {off:+.0%} off": abs(off) <= MOST_OFF,
        }
        words += [f"{method}, {name}" for name, holds in checks.items() if not holds]
    probabilistic, single = (pair[method] for method in METHODS)
    if probabilistic["dice"] < LEAST_DICE * single["dice"]:
        words.append(f"Dice {probabilistic['dice']:.3f} beside {single['dice']:.3f}")
    if probabilistic["num_raters"] > 1 and probabilistic["ged"] >= single["ged"]:
        words.append(f"GED {probabilistic['ged']:.3f} beside {single['ged']:.3f}")
    return words


if __name__ == "__main__":
    main()
