"""Images in Zarr folders, for prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plurimask.data.image_set import ImageSet, refuse_collisions, wrong_channels
from plurimask.data.images import is_image_file
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.images.zarr_arrays import ZarrReader, is_zarr, zarr_marks
from plurimask.data.layouts.listing import readable

if TYPE_CHECKING:
    from torch import Tensor


class ZarrImages(ImageSet):
    """Images in Zarr folders: OME-Zarr, or arrays."""

    def __init__(self, paths: dict[str, Path], channel_names: Sequence[str], notes: tuple[str, ...] = ()) -> None:
        refuse_collisions(list(paths))
        self.names, self.paths, self.notes = tuple(paths), tuple(paths.values()), notes
        for path in self.paths:
            count = ZarrReader(path).shape[0]
            if count != len(channel_names):
                raise wrong_channels(str(path), count, channel_names)

    def __getitem__(self, index: int) -> Tensor:
        import torch

        reader = self.reader(index)
        whole = tuple(slice(0, length) for length in reader.shape[1:])
        return torch.from_numpy(reader.read(whole, str(self.paths[index])))

    def reader(self, index: int) -> ZarrReader:
        return ZarrReader(self.paths[index])

    def pixel_size(self, index: int) -> PixelSize | None:
        return self.reader(index).pixel_size

    def files(self, index: int) -> tuple[Path, ...]:
        return zarr_marks(self.paths[index])


def zarr_folders(path: Path) -> dict[str, Path]:
    """The images in Zarr at `path`, or in it, by their names."""
    if is_zarr(path):
        return {_zarr_name(path): path}
    return {_zarr_name(one): one for one in sorted(path.iterdir()) if is_zarr(one)}


def _zarr_name(path: Path) -> str:
    return readable(path.resolve().name.removesuffix(".zarr").removesuffix(".ome")) or "image"


def beside_zarrs(path: Path, zarrs: dict[str, Path]) -> tuple[str, ...]:
    """What is said of other images in a folder of Zarr images."""
    others = 0 if path in zarrs.values() else sum(is_image_file(one.name) for one in path.iterdir())
    return (f"{others} image files beside the Zarr folders in {path} are not taken: give them alone",) if others else ()
