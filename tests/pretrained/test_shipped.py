"""The model that the package ships, and the first Python lines of the README, which use it."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import plurimask
from plurimask import load_pretrained, open_data
from plurimask.evaluation.evaluate import ExampleView, evaluate
from plurimask.prediction.predict import Sampling
from plurimask.pretrained import data_of, names

ROOT = Path(__file__).parents[2]
PACKAGE = Path(plurimask.__file__).parent
NAME = "lidc-nodule-64"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    specification = importlib.util.spec_from_file_location("pretrained_maker", ROOT / "benchmarks" / "pretrained.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_first_python_lines_of_the_readme_give_sixteen_masks(tmp_path: Path) -> None:
    lines = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)[0]
    code = [line for line in lines.splitlines() if line.strip()]
    assert len(code) == 5 and any("load_pretrained" in line for line in code)
    script = "\n".join([*code, "print(tuple(masks.shape), len(masks.flatten(1).unique(dim=0)))"])
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shape, distinct = done.stdout.strip().rsplit(" ", 1)
    assert shape == "(16, 1, 64, 64)" and int(distinct) > 3
    picture = np.array(Image.open(tmp_path / "masks.png"))[..., :3]
    assert picture.shape == (256, 256, 3) and len(np.unique(picture.reshape(-1, 3), axis=0)) == 2


def test_it_is_small_and_complete_and_tells_of_no_machine(maker: ModuleType) -> None:
    assert names() == (NAME,)
    folder = load_pretrained(NAME).folder
    assert {path.name for path in folder.iterdir()} == {"run.json", "weights.safetensors", "README.md", "examples"}
    assert (folder / "weights.safetensors").stat().st_size < 4 * 10**6
    maker.refuse_paths((folder / "run.json").read_text())
    with pytest.raises(SystemExit, match="belongs to one machine"):
        maker.refuse_paths('{"start": {"folder": "/home/me/run"}}')
    for words in ("CC BY 3.0", "The Cancer Imaging Archive", "10.7937/K9/TCIA.2015.LO9QL9SX"):
        assert words in (folder / "README.md").read_text() and words in (folder / "examples/ATTRIBUTION.md").read_text()
    assert "not a medical device" in (folder / "README.md").read_text()


def test_the_card_says_what_was_measured(maker: ModuleType) -> None:
    content = json.loads((ROOT / "benchmarks" / "results" / "pretrained.json").read_text())
    run = load_pretrained(NAME)
    assert (run.folder / "README.md").read_text() == maker.card(content), "run python benchmarks/pretrained.py --card"
    assert content["config"]["images"] == content["config"]["slices"]["val"] == content["results"]["num_images"]
    told = content["config"]
    assert told["parameters"] == sum(one.numel() for one in run.method.parameters())
    assert (told["method"], told["settings"], told["steps"]) == (run.record.method, run.record.config, run.record.steps)


def test_examples_are_read_with_their_raters() -> None:
    run = load_pretrained(NAME)
    source = open_data(data_of(f"pretrained:{NAME}"), expected=run.record.data)
    examples = source.splits["val"]
    assert len(examples) == len(run.examples) == 6 and source.description.rater_names[0] == "reader-1"
    view = ExampleView(examples, range(6), run.record.preprocessing, run.record.data.counted_classes)
    totals = evaluate(run.method, view, Sampling(4)).totals
    assert totals["num_images"] == 6 and totals["ged"] < totals["empty_ged"]
    marked = {int((examples[index].labels == 1).flatten(1).any(1).sum()) for index in range(6)}
    assert marked == {1, 2, 3, 4}  # readers who saw something


def test_every_file_of_it_goes_into_a_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["plurimask"]
    packed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    assert packed >= {
        path for path in (PACKAGE / "pretrained").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    }
