"""nnU-Net's folders with volumes, and with several raters; names as BIDS has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_trees import gray, mask, save, write_json
from volumes import save_nifti, straight

from plurimask.data import Example, open_data, open_images
from plurimask.data.layouts.pairing import pair
from plurimask.data.source import Place
from plurimask.distribution import IGNORE
from plurimask.errors import InputError

pytest.importorskip("nibabel")

CASES = ("case_001", "case_002", "case_003")


def marked(seed: int, least: int = 0) -> np.ndarray:
    return (straight(seed) > least).astype(np.uint8)


def write_images(folder: Path, channels: int = 2, images: str = "imagesTr") -> Path:
    for number, case in enumerate(CASES):
        for channel in range(channels):
            save_nifti(folder / images / f"{case}_{channel:04d}.nii.gz", straight(number + 10 * channel))
    return write_json(
        folder,
        channel_names={str(channel): f"t{channel + 1}" for channel in range(channels)},
        labels={"background": 0, "tumour": 1},
        numTraining=len(CASES),
        file_ending=".nii.gz",
    )


def examples(folder: Path) -> dict[str, Example]:
    return {one.name: one for split in open_data(folder).splits.values() for one in split}


def test_volumes_of_several_channels_and_one_rater(tmp_path: Path) -> None:
    write_images(tmp_path)
    for number, case in enumerate(CASES):
        save_nifti(tmp_path / "labelsTr" / f"{case}.nii.gz", marked(number))
    source = open_data(tmp_path)
    assert source.description.layout == "nnU-Net" and source.description.rater_names == ("annotator",)
    assert source.description.channel_names == ("t1", "t2") and source.description.spatial_dims == 3
    assert source.description.class_names == ("background", "tumour")
    found = examples(tmp_path)
    assert set(found) == set(CASES)
    np.testing.assert_array_equal(found["case_002"].image[1].numpy(), straight(11).transpose(2, 1, 0))
    np.testing.assert_array_equal(found["case_003"].labels[0].numpy(), marked(2).transpose(2, 1, 0))


def test_channels_on_different_grids_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path)
    for number, case in enumerate(CASES):
        save_nifti(tmp_path / "labelsTr" / f"{case}.nii.gz", marked(number))
    save_nifti(tmp_path / "imagesTr" / "case_002_0001.nii.gz", straight(11), np.diag([1.0, 1.0, 1.0, 1.0]))
    with pytest.raises(InputError, match=r"case_002_0001\.nii\.gz and .*_0000\.nii\.gz lie in different"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("place", "raters"),
    [
        ("labelsTr_{rater}/{case}.nii.gz", ("anna", "ben")),
        ("labelsTr/{case}_{rater}.nii.gz", ("rater1", "rater10")),
        ("labelsTr/{case}_desc-{rater}_dseg.nii.gz", ("anna", "ben")),
        ("labelsTr/{case}_desc-{rater}.nii.gz", ("anna", "ben")),
    ],
)
@pytest.mark.parametrize("fused", [False, True])
def test_volumes_of_several_raters(tmp_path: Path, place: str, raters: tuple[str, ...], fused: bool) -> None:
    write_images(tmp_path, 1)
    for number, case in enumerate(CASES):
        for position, rater in enumerate(raters):
            if (number, position) != (1, 0):  # the first rater has not seen the second case
                save_nifti(tmp_path / place.format(rater=rater, case=case), marked(number, 300 * position))
        if fused:
            save_nifti(tmp_path / "labelsTr" / f"{case}.nii.gz", np.ones((4, 5, 6), np.uint8))
    source = open_data(tmp_path)
    assert source.description.rater_names == raters
    assert any("3 label maps without a rater were not read" in note for note in source.notes) == fused
    assert not any("labelsTr" in note and note.startswith("not read") for note in source.notes)
    found = examples(tmp_path)
    assert (found["case_002"].labels[0] == IGNORE).all()
    np.testing.assert_array_equal(found["case_003"].labels[1].numpy(), marked(2, 300).transpose(2, 1, 0))


def test_pictures_of_several_raters(tmp_path: Path) -> None:
    for number, case in enumerate(CASES):
        save(tmp_path / "imagesTr" / f"{case}_0000.png", gray(number))
        for rater in ("a", "b"):
            save(tmp_path / f"labelsTr_{rater}" / f"{case}.png", mask(0, 1))
            save(tmp_path / f"labelsTs_{rater}" / f"test_{case}.png", mask(0, 1))
        save(tmp_path / "imagesTs" / f"test_{case}_0000.png", gray(number))
    source = open_data(tmp_path)
    assert source.description.rater_names == ("a", "b") and source.description.spatial_dims == 2
    assert {split: len(part) for split, part in source.splits.items()} == {"train": 2, "val": 1, "test": 3}


def test_raters_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path, 1)
    save_nifti(tmp_path / "labelsTr_anna" / "case_001.nii.gz", marked(0))
    with pytest.raises(InputError, match=r"case_002_0000\.nii\.gz: an image without labels"):
        open_data(tmp_path)
    stranger = save_nifti(tmp_path / "labelsTr_anna" / "case_009.nii.gz", marked(0))
    with pytest.raises(InputError, match=r"case_009\.nii\.gz: labels without an image: add case_009_0000\.nii\.gz"):
        open_data(tmp_path)
    stranger.unlink()
    for case in CASES:
        save_nifti(tmp_path / "labelsTr_rater1" / f"{case}.nii.gz", marked(0))
    save_nifti(tmp_path / "labelsTr" / "case_001_rater1.nii.gz", marked(0))
    with pytest.raises(InputError, match="are both of rater1"):
        open_data(tmp_path)


def test_new_cases_lose_the_number_of_their_channel(tmp_path: Path) -> None:
    write_images(tmp_path, 1, "imagesTs")
    assert open_images(tmp_path / "imagesTs", ["t1"]).names == CASES
    write_images(tmp_path, 2, "new")
    images = open_images(tmp_path / "new", ["t1", "t2"])
    assert images.names == CASES and images[0].shape == (2, 6, 5, 4)


def test_names_of_bids_pair_with_their_images() -> None:
    images = ["sub-01_T1w", "sub-02_T1w"]
    masks = {f"sub-{number:02d}_desc-{rater}_dseg": number for number in (1, 2) for rater in ("anna", "ben")}
    assert pair(masks, images) == {
        "anna": {"sub-01_T1w": 1, "sub-02_T1w": 2},
        "ben": {"sub-01_T1w": 1, "sub-02_T1w": 2},
    }
    assert pair({"x_desc-anna_mask": 1}, ["x"]) == {"anna": {"x": 1}}
    ambiguous = ["sub-01_T1w", "sub-01_T2w"]
    assert (pair({"sub-01_desc-a_mask": 1}, ambiguous) or {}).get("a") is None


def test_a_study_in_bids(tmp_path: Path) -> None:
    for number, subject in enumerate(("sub-01", "sub-02", "sub-03")):
        save_nifti(tmp_path / subject / "anat" / f"{subject}_T1w.nii.gz", straight(number))
        for rater, least in (("anna", 0), ("ben", 300)):
            file = f"{subject}_desc-{rater}_dseg.nii.gz"
            save_nifti(tmp_path / "derivatives" / "raters" / subject / "anat" / file, marked(number, least))
    place = Place(
        tmp_path,
        images="sub-*/anat/*_T1w.nii.gz",
        masks={rater: f"derivatives/raters/sub-*/anat/*_desc-{rater}_dseg.nii.gz" for rater in ("anna", "ben")},
    )
    source = open_data(place)
    assert source.description.rater_names == ("anna", "ben")
    assert sorted(name for part in source.splits.values() for name in part.names) == [
        "01/sub-01",
        "02/sub-02",
        "03/sub-03",
    ]
