"""From a seed to a case: which material, what is broken in it, and which command meets it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from attack import Case, copied, pick
from broken_files import FILES, IMAGES, NPZ, TENSORS
from broken_runs import CHECKPOINTS, RUNS
from broken_tables import dataset_json, label_map, no_table, other_encoding, yaml_settings
from command_lines import OPTIONS, line, odd_path, odd_words
from stock import FEW, TINY, Stock, plain

from plurimask.data.images import SUFFIXES
from plurimask.methods import METHODS

TRAIN = [*TINY, *FEW]
PATTERNS = ["*", "**", "**/*", "images/*", "/etc/*", "[", "**/images/*.png", "../*/*"]
MASK_PATTERNS = ["../x=masks/anna/*", "a=*", "=", "x", "a=**/anna/*.png"]


def make_case(seed: int, stock: Stock, folder: Path) -> Case:
    """Case number `seed`, its files below `folder`: `kept` must not change, `out` is where commands write."""
    rng = np.random.default_rng(seed)
    kinds = [_images] * 5 + [_said] * 3 + [_arrays] * 3 + [_tensors] * 2 + [_links] + [_run] * 6 + [_continued] * 2
    kinds += [_settings] * 2 + [_lines] * 5 + [_paths] * 2 + [_compared] + [_others] * 3
    (folder / "kept").mkdir(parents=True)
    case = Case(folder, [], False)
    pick(rng, kinds)(case, stock, rng)
    return case


def _note(case: Case, what: Any, path: Path) -> None:
    case.story.append(f"{what.__name__} of {path.name[:40]!r}")


def _data_command(case: Case, data: Path, stock: Stock, rng: Any) -> None:
    """A command that reads the whole data set."""
    out, run = str(case.folder / "out"), str(stock.runs[1])
    commands = [["check", str(data)]] * 3 + [["train", str(data), "--method", "unet", "--out", out, *TRAIN]]
    commands += [
        ["train", str(data), "--method", "unet", "--out", out, *TRAIN, "--plan"],
        ["evaluate", run, str(data), "--samples", "2"],
    ]
    case.arguments = pick(rng, commands)


def _images(case: Case, stock: Stock, rng: Any) -> None:
    ending, splits = pick(rng, ["png", "tif", "bmp", "gif"]), pick(rng, [("train/", "val/"), ("",)])
    data = plain(case.folder / "kept" / "data", ending, splits)
    damages = FILES + IMAGES
    for _ in range(rng.integers(1, 3)):
        files = sorted(path for path in data.rglob("*") if path.is_file() and path.suffix.lower() in SUFFIXES)
        files = [path for path in files if path.stat().st_size < 2**30]  # not what was made too large to be read
        path, damage = pick(rng, files), pick(rng, damages)
        case.must_fail |= damage(path, rng)
        _note(case, damage, path)
        damages = FILES  # one that must be refused, and not hidden by another
        if case.must_fail:
            break
    if rng.random() < 0.25:
        images = pick(
            rng, [path for path in (data / "images", data / "train/images", data / "val/images") if path.is_dir()]
        )
        case.arguments = [
            "predict",
            str(stock.runs[0]),
            str(images),
            "--out",
            str(case.folder / "out"),
            "--samples",
            "2",
        ]
        case.must_fail = False  # the damage may lie elsewhere
    else:
        _data_command(case, data, stock, rng)
        if case.arguments[0] == "evaluate":
            case.must_fail = False  # of the split train no image is read


def _others(case: Case, stock: Stock, rng: Any) -> None:
    """Whole data and whole runs that do not belong together, or are given for each other."""
    places = [
        stock.data,
        stock.npz,
        stock.yeast,
        stock.nnunet,
        *stock.runs,
        stock.ensemble,
        stock.comparison,
        stock.data / "val",
    ]
    places += [
        stock.npz / "val.npz",
        stock.data / "val" / "images" / "i0.png",
        stock.runs[0] / "run.json",
        stock.data.parent,
    ]
    words = {name: str(pick(rng, places)) for name in ("run", "data", "other")}
    out, images, masks = str(case.folder / "out"), pick(rng, PATTERNS), pick(rng, MASK_PATTERNS)
    case.arguments = pick(
        rng,
        [
            ["check", words["data"]],
            ["evaluate", words["run"], words["data"], "--samples", "2", "--split", pick(rng, ["val", "all"])],
            ["evaluate", str(pick(rng, stock.runs)), words["data"], "--samples", "2"],
            ["predict", words["run"], words["data"], "--samples", "2", "--out", out],
            ["predict", str(pick(rng, stock.runs)), words["data"], "--samples", "2", "--out", out],
            ["combine", words["run"], words["other"], "--out", out],
            ["train", words["data"], "--method", "unet", "--out", out, *TRAIN],
            ["train", words["data"], "--method", "unet", "--out", words["run"], *TRAIN],
            ["train", words["data"], "--method", "unet", "--out", words["run"], "--resume", "--plan"],
            ["compare", words["data"], "--runs", words["run"], words["other"], "--out", words["other"]],
            ["import", words["data"], "--images", images, "--masks", masks, "--out", out],
        ],
    )  # fmt: skip
    case.story.append("other data")


def _said(case: Case, stock: Stock, rng: Any) -> None:
    source = pick(rng, [stock.data, stock.nnunet])
    data = copied(source, case.folder / "kept" / "data")
    path = data / "dataset.json"
    if source == stock.nnunet and rng.random() < 0.3:
        damage = other_encoding
    else:
        damage = pick(rng, [dataset_json] * 4 + [no_table, label_map])
        path = data / "labelmap.txt" if damage is label_map else path
    case.must_fail = damage(path, rng)
    _note(case, damage, path)
    _data_command(case, data, stock, rng)


def _arrays(case: Case, stock: Stock, rng: Any) -> None:
    data = copied(stock.npz, case.folder / "kept" / "npz")
    path = data / pick(rng, ["train.npz", "val.npz"])
    damage = pick(rng, NPZ * 2 + FILES)
    case.must_fail = damage(path, rng)
    _note(case, damage, path)
    if rng.random() < 0.2 and path.is_file():
        case.arguments = ["predict", str(stock.runs[0]), str(path), "--out", str(case.folder / "out"), "--samples", "2"]
        case.must_fail = False
    else:
        _data_command(case, data, stock, rng)


def _tensors(case: Case, stock: Stock, rng: Any) -> None:
    data = copied(stock.yeast, case.folder / "kept" / "yeast")
    path = data / pick(rng, ["train", "val"]) / pick(rng, ["inputs", "instances", "classes"]) / "0.pt"
    damage = pick(rng, TENSORS * 3 + FILES)
    case.must_fail = damage(path, rng)
    _note(case, damage, path)
    _data_command(case, data, stock, rng)
    if case.arguments[0] == "evaluate":
        case.arguments = ["check", str(data)]


def _links(case: Case, stock: Stock, rng: Any) -> None:
    """Folders that lead to each other in more ways than anybody can walk."""
    data = copied(stock.data, case.folder / "kept" / "data")
    below = data / "train" / pick(rng, ["images", "masks/anna", "masks"])
    what = int(rng.integers(4))
    if what == 0:
        for level in range(40):
            (below / f"l{level}").mkdir()
            for name in "ab":
                (below / f"l{level}" / name).symlink_to(f"../l{level + 1}")
    elif what == 1:
        for name in "abcdefgh":
            (below / name).symlink_to(pick(rng, ["..", "../..", ".", "/", str(data)]))
    elif what == 2:
        (below / "deep").mkdir()
        inner = below / "deep"
        for _ in range(60):
            inner = inner / "d"
        inner.mkdir(parents=True)
        (inner / "back").symlink_to("../" * 60)
    else:
        os.mkfifo(below / pick(rng, ["new.png", "new.txt", "new.tif"]))
    case.story.append(f"links {what} in {below.name}")
    _data_command(case, data, stock, rng)


def _run_command(case: Case, run: Path, stock: Stock, rng: Any) -> None:
    data, out = str(stock.data), str(case.folder / "out")
    commands = [["evaluate", str(run), data, "--samples", "2"]] * 4
    commands += [["evaluate", str(run), data, "--samples", "2", "--out", f"{out}/e.json"]]
    commands += [["predict", str(run), f"{data}/val/images", "--samples", "2", "--out", out]] * 2
    commands += [["combine", str(run), str(stock.runs[0]), "--out", out]]
    if rng.random() < 0.15:
        commands = [["report", str(run), data, "--samples", "2", "--out", f"{out}/r.html"]]
        commands += [["figures", str(run), data, "--samples", "2", "--out", out]]
        commands += [["compare", data, "--runs", str(run), str(stock.runs[0]), "--samples", "2", "--out", out]]
    case.arguments = pick(rng, commands)


def _run(case: Case, stock: Stock, rng: Any) -> None:
    whole = pick(rng, [*stock.runs, stock.ensemble])
    run = copied(whole, case.folder / "kept" / "run")
    damage = pick(rng, RUNS)
    case.must_fail = damage(run, [other for other in stock.runs if other != whole], rng)
    _note(case, damage, run)
    _run_command(case, run, stock, rng)


def _continued(case: Case, stock: Stock, rng: Any) -> None:
    whole = pick(rng, stock.runs)
    run = copied(whole, case.folder / "out" / "run")
    damage = pick(rng, CHECKPOINTS)
    case.must_fail = damage(run, [other for other in stock.runs if other != whole], rng)
    _note(case, damage, run)
    method = ("unet", "probabilistic-unet", "m-heads")[stock.runs.index(whole)]
    words = ["train", str(stock.data), "--method", method, "--out", str(run), "--resume"]
    case.arguments = [*words, *pick(rng, [[], ["--max-steps", "3"], ["--max-steps", "3"]])]
    if case.arguments[-1] == "--resume" and damage.__name__ == "metrics":
        case.arguments += ["--max-steps", "3"]


def _settings(case: Case, stock: Stock, rng: Any) -> None:
    path = case.folder / "kept" / "settings.yaml"
    path.write_text("batch_size: 2\n")
    damage = pick(rng, [yaml_settings] * 4 + [no_table, other_encoding] + FILES)
    case.must_fail = damage(path, rng)
    _note(case, damage, path)
    out = str(case.folder / "out")
    words = [
        "train",
        str(stock.data),
        "--method",
        "unet",
        "--out",
        out,
        "--config",
        str(path),
        *TRAIN[:4],
        *TRAIN[7:],
        *FEW,
    ]
    if rng.random() < 0.2:
        words = [
            "compare",
            str(stock.data),
            "--methods",
            "unet",
            "--out",
            out,
            "--config",
            str(path),
            "--max-steps",
            "0",
        ]
        case.must_fail = True
    case.arguments = words


def _whole_line(command: str, case: Case, stock: Stock) -> list[str]:
    run, data, out = str(stock.runs[0]), str(stock.data), str(case.folder / "out")
    lines = {
        "check": [data],
        "train": [data, "--method", "unet", "--out", out, *TRAIN],
        "evaluate": [run, data, "--samples", "2", "--out", f"{out}/e.json"],
        "predict": [run, f"{data}/val/images", "--samples", "2", "--out", out],
        "combine": [run, run, "--out", out],
        "report": [run, data, "--samples", "2", "--out", f"{out}/r.html"],
        "figures": [run, data, "--samples", "2", "--out", out],
        "compare": [data, "--runs", run, str(stock.runs[2]), "--samples", "2", "--out", out],
        "import": [f"{data}/train", "--images", "images/*.png", "--masks", "a=masks/anna/*.png", "--out", out],
        "demo": ["--out", out, "--minutes", "x"],
    }
    return [command, *lines[command]]


def _pick_command(rng: Any) -> str:
    slow = {"report", "figures", "compare"}
    names = [name for name in OPTIONS for _ in range(1 if name in slow else 3)]
    return str(pick(rng, [*names, "train", "train", "train"]))


def _lines(case: Case, stock: Stock, rng: Any) -> None:
    command = _pick_command(rng)
    base, method = _whole_line(command, case, stock), "unet"
    if command == "train" and rng.random() < 0.5:  # a setting of a method whose presets are small
        method = pick(rng, sorted(METHODS))
        base = [
            "train",
            str(stock.data),
            "--method",
            method,
            "--out",
            str(case.folder / "out"),
            *TRAIN[:4],
            *FEW,
            "--plan",
        ]
    case.arguments, case.must_fail = odd_words(base, rng) if rng.random() < 0.25 else line(command, base, rng, method)
    if command == "demo" and "x" not in case.arguments:
        case.arguments = base  # or it would train
    case.story.append("words")


def _paths(case: Case, stock: Stock, rng: Any) -> None:
    command = _pick_command(rng)
    words = _whole_line(command, case, stock)
    places = [place for place, word in enumerate(words) if "/" in word and "*" not in word and "=" not in word]
    place = pick(rng, places)
    words[place] = odd_path(case.folder / ("out" if words[place - 1] == "--out" else "kept") / "odd", rng)
    case.arguments = words
    case.story.append("an odd path")


def _compared(case: Case, stock: Stock, rng: Any) -> None:
    """An interrupted comparison of which a file is damaged."""
    out = copied(stock.comparison, case.folder / "out")
    files = ["comparison.json", "evaluations/run0.npz", "evaluations/run2.npz"]
    path = out / pick(rng, files)
    damages = (
        [*FILES, no_table]
        if path.suffix == ".json"
        else FILES + [damage for damage in NPZ if "bomb" in damage.__name__]
    )
    damage = pick(rng, damages)
    damage(path, rng)
    _note(case, damage, path)
    runs = [str(stock.runs[0]), str(stock.runs[2])]
    case.arguments = ["compare", str(stock.data), "--runs", *runs, "--samples", "2", "--out", str(out)]
