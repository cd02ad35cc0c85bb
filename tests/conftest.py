"""What several tests share: precision, order, and a folder of data."""

from __future__ import annotations

import os
import random
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from plurimask.data.worlds.lesions import lesion_source, write_folder
from plurimask.prediction import device

PRECISIONS = ("float32", "bf16")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--precision", choices=PRECISIONS, help="of all methods; by default what is fast on the machine")


def pytest_configure(config: pytest.Config) -> None:
    if capability := os.environ.get("ATEN_CPU_CAPABILITY"):  # torch would take what it compiled for another processor
        cache = Path(tempfile.gettempdir()) / f"plurimask-compiled-{capability}"
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    os.environ.setdefault("PLURIMASK_INDEX", "0")  # nothing is known of the files of other tests
    if hasattr(config, "workerinput"):  # one of several processes: each has one processor, those that it starts too
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"


def seed_by(name: str) -> None:
    """What a test, a fixture or a module draws without a generator of its own does not depend on what ran before."""
    number = zlib.crc32(name.encode())
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002  (that is what libraries draw from)
    random.seed(number)


def pytest_collectstart(collector: pytest.Collector) -> None:
    seed_by(collector.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
    seed_by(fixturedef.argname)
    return (yield)


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    seed_by(pyfuncitem.nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests last: what is wrong is mostly known before they begin."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


def force(precision: str, patch: pytest.MonkeyPatch) -> None:
    """Whatever the machine has: without bf16 units, torch calculates in bf16 more slowly."""
    patch.setattr(device, "has_fast_bf16", lambda _: precision == "bf16")


@pytest.fixture(scope="session", autouse=True)
def precision_of_all(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("--precision"):
            force(request.config.getoption("--precision"), patch)
        yield


@pytest.fixture(params=PRECISIONS)
def precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Tests with this fixture hold in both precisions, on every processor."""
    force(request.param, monkeypatch)
    return str(request.param)


@pytest.fixture(scope="session")
def lesion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of images and four readers' masks, as a user would have it."""
    folder = tmp_path_factory.mktemp("lesions") / "data"
    write_folder(lesion_source(num_train=12, num_val=5, seed=3, size=36), folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def nothing_chooses_by_time() -> Iterator[None]:
    """Two trainings are the same only in one memory layout: in tests none is timed, unless one asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plurimask.training.timing.training_layouts", lambda device: ("channels_last",))
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_compiles() -> Iterator[None]:
    """Moments are compiled where gradients are needed, half a minute once: not in tests, unless one asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plurimask.nn.moments.activation.can_compile", lambda device: False)
        yield
