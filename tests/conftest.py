"""Fixtures that several tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plurimask.data.worlds.lesions import lesion_source, write_folder


@pytest.fixture(scope="session")
def lesion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of images and four readers' masks, as a user would have it."""
    folder = tmp_path_factory.mktemp("lesions") / "data"
    write_folder(lesion_source(num_train=12, num_val=5, seed=3, size=36), folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def nothing_compiles() -> Iterator[None]:
    """Moments are compiled where gradients are needed, half a minute once: not in tests, unless one asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plurimask.nn.moments.activation.can_compile", lambda device: False)
        yield
