"""New content of a folder, built beside the old one and put in its place when it stands."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

NEW = ".plurimask-new"
"""What is built."""
_LEAVING, _ENTERING, _OLD = ".plurimask-leaving", ".plurimask-entering", ".plurimask-old"
HIDDEN = (NEW, _LEAVING, _ENTERING, _OLD)


class Staging:
    """Within a block, files are written at `here(path)`, which is where they will lie once `settle` was called.

    If the block ends before that, what was built is removed and the folder is as before. All of `names` that was in the
    folder is replaced; anything else in it stays. A link is replaced, not what it leads to.

    Args:
        folder: that is there, and that no other process writes into (`FolderLock`).
        names: files and folders in it that are replaced.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, names
        self.is_settled = False

    def __enter__(self) -> Staging:
        (self.folder / NEW).mkdir()
        return self

    def here(self, path: Path) -> Path:
        """Where a file or folder of the folder is now."""
        return path if self.is_settled else self.folder / NEW / path.relative_to(self.folder)

    def settle(self) -> None:
        """Put the new content in the place of the old one; if the process is killed meanwhile, `mend` ends it."""
        if not self.is_settled:
            (self.folder / NEW).rename(self.folder / _LEAVING)
            self.is_settled = True
            _swap(self.folder, self.names)

    def __exit__(self, *_: object) -> None:
        _swap(self.folder, self.names)
        shutil.rmtree(self.folder / NEW, ignore_errors=True)


def mend(folder: Path, names: Sequence[str], does_stand: bool = False) -> None:
    """Clear up behind a killed process: end a swap that had begun, and remove what was not finished.

    Args:
        folder, names: as `Staging`'s.
        does_stand: what was built, if that is there, is good to go on with: it replaces the old content too.
    """
    if does_stand and (folder / NEW).is_dir():
        (folder / NEW).rename(folder / _LEAVING)
    _swap(folder, names)
    for name in (NEW, _OLD):
        shutil.rmtree(folder / name, ignore_errors=True)


def _swap(folder: Path, names: Sequence[str]) -> None:
    """In two phases, each of which can be begun again: the old leaves, the new enters."""
    leaving, entering, old = folder / _LEAVING, folder / _ENTERING, folder / _OLD
    if leaving.is_dir():
        old.mkdir(exist_ok=True)
        for path in (folder / name for name in names):
            if path.is_symlink() or path.exists():
                path.rename(old / path.name)
        leaving.rename(entering)
    if entering.is_dir():
        for path in entering.iterdir():
            path.rename(folder / path.name)
        entering.rmdir()
        shutil.rmtree(old)
