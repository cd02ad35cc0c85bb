"""Images without masks, for prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plurimask.data.image_set import ImageSet, refuse_collisions, wrong_channels
from plurimask.data.images import (
    SUFFIXES,
    image_files,
    image_grid,
    image_numbers,
    image_pixel_size,
    is_image_file,
    read_image,
)
from plurimask.data.images.dicom import holds_series, is_dicom
from plurimask.data.images.geometry import Grid
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.images.reading import ImageReader, JoinedReader, WholeReader, tiff_reader
from plurimask.data.known import KnownFiles, common_folder
from plurimask.data.layouts.files import is_gray, join_channels
from plurimask.data.layouts.folder import IMAGES, MASKS, find_channels, is_channel_folder
from plurimask.data.layouts.globs import find_matching
from plurimask.data.layouts.listing import (
    Unread,
    contents,
    ending,
    find_images,
    readable,
    refuse_odd_names,
    unreadable,
)
from plurimask.data.layouts.nnunet import IMAGES as NNUNET_IMAGES
from plurimask.data.layouts.nnunet import group_channels, is_numbered
from plurimask.data.layouts.npz import Array, check_numbers, default_names, load_npz
from plurimask.data.layouts.shapes import channel_shape
from plurimask.data.layouts.splits import split_folders
from plurimask.data.layouts.yeast import CHANNEL_NAMES, find_inputs, has_inputs, read_input
from plurimask.data.zarr_images import ZarrImages, beside_zarrs, zarr_folders
from plurimask.errors import InputError
from plurimask.files.reading import refuse_special

if TYPE_CHECKING:
    from torch import Tensor


class ImageFiles(ImageSet):
    """Images in files, one per image or one per channel."""

    def __init__(
        self, paths: dict[str, tuple[Path, ...]], channel_names: Sequence[str], notes: tuple[str, ...] = ()
    ) -> None:
        refuse_collisions(list(paths))
        self.names, self.paths, self.notes = tuple(paths), tuple(paths.values()), notes
        self.channel_names = tuple(channel_names)
        self.spatial_dims: int | None = None
        """2 if there must be pictures alone, 3 if volumes; None: either."""

    def check(self) -> ImageFiles:
        """Itself, once the headers of all files were read, now or by an earlier call (`plurimask.data.known`)."""
        expected = len(self.channel_names)
        known = KnownFiles("shapes", common_folder([files[0] for files in (*self.paths[:1], *self.paths[-1:])]))
        for files in self.paths:
            if (shape := known.get(files)) is None:
                shape = [*channel_shape(files)]
                known.put(files, shape)
            self._refuse_dims(files[0], len(shape) - 1)
            count = shape[0]
            if count != expected and not ((count, expected) == (3, 1) and is_gray(read_image(files[0]))):
                raise wrong_channels(str(files[0]), count, self.channel_names)
        known.save()
        self.notes = (*self.notes, *known.note("the headers"))
        return self

    def __getitem__(self, index: int) -> Tensor:
        import torch

        files, count = self.paths[index], len(self.channel_names)
        image = join_channels([read_image(path) for path in files], files)
        self._refuse_dims(files[0], image.ndim - 1)
        if len(image) != count and not (count == 1 and is_gray(image)):
            raise wrong_channels(str(files[0]), len(image), self.channel_names)
        return torch.from_numpy(image[:count])  # of R = G = B the first

    def _refuse_dims(self, path: Path, dims: int) -> None:
        if self.spatial_dims not in (None, dims):
            what, run = ("a picture", "volumes") if dims == 2 else ("a volume", "pictures")
            raise InputError(f"{path}: {what}, the run was trained on {run}: give images like those")

    def files(self, index: int) -> tuple[Path, ...]:
        return tuple(file for path in self.paths[index] for file in image_files(path))

    def grid(self, index: int) -> Grid | None:
        return image_grid(self.paths[index][0])

    def pixel_size(self, index: int) -> PixelSize | None:
        return image_pixel_size(self.paths[index][0])

    def reader(self, index: int) -> ImageReader:
        files = self.paths[index]
        parts = [tiff_reader(path) if path.suffix.lower() in (".tif", ".tiff") else None for path in files]
        found = [one for one in parts if one is not None]
        if len(found) == len(files) and sum(one.shape[0] for one in found) == len(self.channel_names):
            return found[0] if len(found) == 1 else JoinedReader(found)
        shape = (len(self.channel_names), *channel_shape(files)[1:])
        return WholeReader(shape, lambda: self[index].numpy())


class YeastInputs(ImageSet):
    """Images of trapped yeast in the files of their authors, of one channel."""

    def __init__(self, folder: Path, channel_names: Sequence[str]) -> None:
        found = find_inputs(folder)
        if len(channel_names) != len(CHANNEL_NAMES):
            raise wrong_channels(str(folder), len(CHANNEL_NAMES), channel_names)
        self.names, self.paths = tuple(found), tuple(found.values())

    def __getitem__(self, index: int) -> Tensor:
        import torch

        return torch.from_numpy(read_input(self.paths[index]))

    def files(self, index: int) -> tuple[Path, ...]:
        return (self.paths[index],)


class ImageArray(ImageSet):
    """Images in one array `(N, K, H, W)`."""

    def __init__(self, images: Array, names: tuple[str, ...]) -> None:
        self.names, self.images = names, images

    def __getitem__(self, index: int) -> Tensor:
        import torch

        return torch.from_numpy(image_numbers(self.images[index], self.names[index]))


def open_images(
    path: Path | str, channel_names: Sequence[str], pattern: str | None = None, spatial_dims: int | None = None
) -> ImageSet:
    """The images at `path`, each with the channels `channel_names` in this order; headers are read, so that what does
    not fit is found at once.

    `path` is an image file, an `.npz` with the key `images`, a folder with `images/` or with one folder per channel, a
    folder of trapped yeast (`inputs/K.pt`), or a folder of image files (and sub-folders of them). With a `pattern`, the
    images below `path` that match it, such as "*/t1/*.png"; what `*` stands for is their name.

    Raises:
        InputError: there are no images, or they have other channels, or other than `spatial_dims` dimensions.
    """
    images = list_images(path, channel_names, pattern, spatial_dims)
    return images.check() if isinstance(images, ImageFiles) else images


def list_images(
    path: Path | str, channel_names: Sequence[str], pattern: str | None = None, spatial_dims: int | None = None
) -> ImageSet:
    """As `open_images`, but no image file is opened: one that does not fit raises when it is asked for."""
    try:
        images = _open(Path(path), channel_names) if pattern is None else _match(Path(path), channel_names, pattern)
    except OSError as error:
        raise unreadable(error) from error
    if isinstance(images, ImageFiles):
        images.spatial_dims = spatial_dims
    elif spatial_dims == 3:
        raise InputError(f"{path}: pictures, the run was trained on volumes: give volumes (.nii.gz, or DICOM series)")
    return images


def _match(path: Path, channel_names: Sequence[str], pattern: str) -> ImageFiles:
    unread = Unread()
    found = find_matching(pattern, path, unread)
    return ImageFiles({"/".join(key): (file,) for key, file in found.items()}, channel_names, unread.notes())


def _open(path: Path, channel_names: Sequence[str]) -> ImageSet:
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder: check the path")
    refuse_special(path)
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return _open_npz(path, channel_names)
        if is_dicom(path):
            raise InputError(f"{path}: one DICOM slice: give the folder of its series, which is one image")
        if not is_image_file(path.name):
            raise InputError(
                f"{path}: not an image, expected one of {', '.join((*SUFFIXES, '.npz'))}: convert the file"
            )
        name = readable(path.name[: -len(ending(path.name))])
        return ImageFiles({name: (path,)}, channel_names)
    names, unread = tuple(channel_names), Unread()
    if zarrs := zarr_folders(path):
        return ZarrImages(zarrs, channel_names, beside_zarrs(path, zarrs))
    if (path / IMAGES).is_dir() or all(is_channel_folder(path, name) for name in names):
        return ImageFiles(find_channels(path, names, unread), channel_names, unread.notes())
    if has_inputs(path):
        return YeastInputs(path, channel_names)
    if holds_series(path):
        return ImageFiles({readable(path.resolve().name): (path,)}, channel_names)
    splits = [folder.name for folder in split_folders(path).values()]
    if splits:
        raise InputError(
            f"{path}: a data set with the splits {', '.join(splits)}: give one of them, {path / splits[0]}"
        )
    if of_nnunet := [name for name in NNUNET_IMAGES if (path / name).is_dir()]:
        raise InputError(
            f"{path}: nnU-Net's data, with images in {' and '.join(of_nnunet)} and labels beside them: give a folder "
            f"of images, {path / of_nnunet[-1]}"
        )
    if (path / MASKS).is_dir():
        raise InputError(
            f"{path}: looked for {IMAGES}/ or the channel folders {', '.join(names)} beside {MASKS}/, "
            f"found {contents(path)}: give the folder of the images"
        )
    found = find_images(path, unread)
    if not found:
        raise InputError(
            f"{path}: no images found: looked for {', '.join(SUFFIXES)} files, {IMAGES}/, inputs/ of .pt files and the "
            f"channel folders {', '.join(names)}; found {contents(path)}: {unread.hint()}give a folder of images"
        )
    if is_numbered(found) and (len(names) > 1 or path.name in NNUNET_IMAGES):
        return ImageFiles(group_channels(found, path), channel_names, unread.notes())
    return ImageFiles({name: (file,) for name, file in found.items()}, channel_names, unread.notes())


def _open_npz(path: Path, channel_names: Sequence[str]) -> ImageArray:
    content = load_npz(path)
    if "images" not in content or not content["images"].size:
        raise InputError(
            f"{path}: no images: found the keys {', '.join(content) or '(none)'}: save an array named images"
        )
    images, count = content["images"], len(channel_names)
    check_numbers(path, images)
    if images.ndim == 3:
        images = images[:, None]
    if images.shape[1] != count:
        if images.shape[3] != count:
            raise wrong_channels(str(path), images.shape[1], channel_names)
        images = images.transpose(0, 3, 1, 2)
    if "names" in content and content["names"].ndim != 1:
        raise InputError(f"{path}: names has the shape {content['names'].shape}, expected one entry for each image")
    names = tuple(str(name) for name in content["names"]) if "names" in content else default_names([""] * len(images))
    if len(names) != len(images):
        raise InputError(f"{path}: {len(names)} names for {len(images)} images: give each image one name")
    refuse_odd_names(names, str(path))
    refuse_collisions(names)
    return ImageArray(images, names)
