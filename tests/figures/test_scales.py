"""Figures of latents at several scales: the right map at the right place, what changed, and files that play."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from plurimask.figures.colours import RATER_COLOUR, SAMPLE_COLOUR, rgb
from plurimask.figures.scales.animation import coarse_to_fine_frames, kind_frames, save_animation
from plurimask.figures.scales.maps import (
    ReconstructionLadder,
    ScaleSamples,
    coarse_to_fine,
    reconstruction_ladder,
    scale_samples,
)
from plurimask.figures.scales.training import LEAST_KL, hierarchy_training, level_columns
from plurimask.figures.scales.view import ADDED_COLOUR, REMOVED_COLOUR, View, disagreement_of
from plurimask.figures.style import figure_bytes

HEIGHT, WIDTH = 20, 30
SCALES = ("1 x 1", "$2 x 2")
STREET = tuple(f"class {number}" for number in range(7))


def bars(lengths: list[int]) -> np.ndarray:
    """Label maps `(N, H, W)`, each a bar over the whole width and the first so many rows."""
    return (np.arange(HEIGHT)[:, None] < np.array(lengths)[:, None, None]).repeat(WIDTH, 2).astype(np.uint8)


def make_samples(num_raters: int | None = 3) -> ScaleSamples:
    """Steps of four draws: all start with 10 rows; the first scale makes them 12, 8, 10, 0, and the second adds one."""
    steps = np.stack([bars([10] * 4), bars([12, 8, 10, 0]), bars([13, 9, 11, 1])])
    kinds = {"global $only": bars([12, 8, 10, 12, 10]), "local only": bars([9] * 11)}
    image = np.random.default_rng(0).normal(size=(1, HEIGHT, WIDTH))
    raters = None if num_raters is None else bars([*range(5, 5 + num_raters)])
    return ScaleSamples(image, raters, SCALES, kinds, steps, ("background", "a thing"))


def make_street(height: int = HEIGHT, width: int = WIDTH, num_scales: int = 5) -> ScaleSamples:
    random = np.random.default_rng(1)

    def maps(*shape: int) -> np.ndarray:
        return random.integers(0, len(STREET), (*shape, height, width)).astype(np.uint8)

    raters = maps(1)
    raters[:, :3] = 255
    image, names = random.normal(size=(3, height, width)), [f"{2**k} x {2**k}" for k in range(num_scales)]
    return ScaleSamples(image, raters, names, {"all": maps(3)}, maps(num_scales + 1, 2), STREET, False)


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text().strip() for found in figure.legends for text in found.get_texts()]


def is_drawn(figure: Figure) -> bool:
    return figure_bytes(figure, 60).startswith(b"\x89PNG")


def picture(axes: Axes, number: int) -> np.ndarray:
    return np.asarray(axes.images[number].get_array())


def marked(axes: Axes, colour: str) -> int:
    """Pixels of this colour in the last picture."""
    paint = picture(axes, -1)
    return int(((paint[..., 3] > 0.5) & np.isclose(paint[..., :3], rgb(colour)).all(-1)).sum())


# ---- samples, by the scales that vary -----------------------------------------------------------------------------


def test_disagreement_is_the_share_that_differs_from_the_most_frequent_class() -> None:
    maps = np.array(
        [[[0, 1, 255]], [[0, 2, 255]], [[0, 1, 255]], [[1, 0, 255]], [[0, 1, 255]], [[0, 255, 255]]], np.uint8
    )
    share = disagreement_of(maps, 3)[0]
    assert np.allclose(share[:2], [1 / 6, 2 / 5]) and np.isnan(share[2])


def test_a_row_for_each_kind_with_its_disagreement() -> None:
    figure = scale_samples(make_samples())
    assert words(figure) == [
        *("image", "3 raters", "disagreement"),
        *("global $only", "5 samples", "disagreement"),
        *("local only", "8 of 11 samples", "disagreement"),
    ]
    assert len(figure.axes) == 1 + 3 + 1 + 5 + 1 + 8 + 1 + 1  # the last is the colour bar
    varied, constant = picture(figure.axes[10], 0), picture(figure.axes[19], 0)
    assert varied[:, 0].round(3).tolist() == [0.0] * 8 + [0.2] * 2 + [0.4] * 2 + [0.0] * 8
    assert (constant == 0).all() and is_drawn(figure)


def test_maps_of_raters_and_samples_have_their_own_colours() -> None:
    axes = scale_samples(make_samples()).axes
    for panel, colour, rows in ((axes[2], RATER_COLOUR, 6), (axes[6], SAMPLE_COLOUR, 8)):
        paint = picture(panel, 1)
        assert (paint[:rows, :, 3] > 0).all() and (paint[rows:, :, 3] == 0).all()
        assert np.allclose(paint[0, 0, :3], rgb(colour))


@pytest.mark.parametrize(("num_raters", "first"), [(None, ["image"]), (1, ["image", "1 rater"])])
def test_one_rater_or_none_have_nothing_to_disagree_about(num_raters: int | None, first: list[str]) -> None:
    figure = scale_samples(make_samples(num_raters))
    assert words(figure)[: len(first) + 1] == [*first, "global $only"] and is_drawn(figure)


def test_of_many_raters_as_many_are_shown_as_there_is_room_for() -> None:
    figure = scale_samples(make_samples(10))
    assert words(figure)[1] == "7 of 10 raters" and is_drawn(figure)


def test_small_things_are_enlarged_and_framed() -> None:
    content = make_samples(None)
    small = np.zeros((3, HEIGHT, WIDTH), np.uint8)
    small[:, 8:11, 20:24] = 1
    figure = scale_samples(replace(content, kinds={"all": small}))
    assert picture(figure.axes[0], 0).shape[:2] == (HEIGHT, WIDTH)
    assert picture(figure.axes[1], 0).shape[:2] == (5, 8)
    frame = figure.axes[0].patches[0]
    assert (frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()) == (17.5, 6.5, 8, 5)


@pytest.mark.parametrize(("height", "width", "num_scales"), [(24, 96, 1), (96, 24, 5), (512, 512, 4)])
def test_classes_without_background_in_any_shape(height: int, width: int, num_scales: int) -> None:
    content = make_street(height, width, num_scales)
    for figure in (scale_samples(content), coarse_to_fine(content)):
        assert legend(figure)[-8:] == [*STREET, "not judged"] and is_drawn(figure)
    assert max(picture(scale_samples(content).axes[1], 1).shape[:2]) == min(max(height, width), 256)


# ---- what each scale adds -----------------------------------------------------------------------------------------


def test_each_step_marks_what_its_scale_has_changed() -> None:
    figure = coarse_to_fine(make_samples())
    assert words(figure) == [
        *("prior mean", "draw 1", "draw 2", "draw 3", "draw 4", "image"),
        *("+ 1 x 1", "10% changed", "10% changed", "0% changed", "50% changed", "rater 1"),
        *("+ $2 x 2", "5.0% changed", "5.0% changed", "5.0% changed", "5.0% changed", "rater 2"),
    ]
    start, first, second = figure.axes[:4], figure.axes[5:9], figure.axes[10:14]
    assert all((picture(axes, 1)[:10, :, 3] > 0).all() for axes in start)
    assert [marked(axes, ADDED_COLOUR) for axes in first] == [2 * WIDTH, 0, 0, 0]
    assert [marked(axes, REMOVED_COLOUR) for axes in first] == [0, 2 * WIDTH, 0, 10 * WIDTH]
    assert [marked(axes, ADDED_COLOUR) for axes in second] == [WIDTH] * 4
    assert [text.get_text() for text in first[3].texts] == ["empty"]
    assert legend(figure) == ["added by the scale just drawn", "taken away by it"] and is_drawn(figure)


def test_of_many_classes_what_changed_is_vivid() -> None:
    content = make_street(num_scales=1)
    content.steps[1] = content.steps[0]
    content.steps[1, 0, :4] = (content.steps[0, 0, :4] + 1) % len(STREET)
    axes = coarse_to_fine(content).axes[3]
    opacity = picture(axes, -1)[..., 3]
    assert opacity[:4].min() > 0.9 and opacity[4:].max() < 0.4
    assert np.ptp(picture(axes, 0), axis=-1).max() == 0  # the image is grey


def test_background_in_the_place_of_a_class_is_seen() -> None:
    content = replace(make_samples(), class_names=("background", "one", "two"))
    axes = coarse_to_fine(content).axes[6]  # first scale, second draw: rows 8 and 9 vanish
    paint = picture(axes, -1)
    assert (paint[8:10, :, :3] == 1).all() and (paint[8:10, :, 3] > 0.9).all() and (paint[10:, :, 3] == 0).all()


def test_six_draws_are_shown() -> None:
    content = replace(make_samples(), steps=np.stack([bars([5] * 9)] * 3))
    assert [text for text in words(coarse_to_fine(content)) if "draw" in text] == [f"draw {k}" for k in range(1, 7)]


# ---- what rebuilds a rater's map ----------------------------------------------------------------------------------


def make_ladder() -> ReconstructionLadder:
    content, raters = make_samples(), bars([5, 0])
    rebuilt = np.stack([bars([10, 10]), bars([6, 2]), bars([5, 0])])
    iou = np.array([[0.5, 0.0], [5 / 6, 0.0], [1.0, math.nan]])
    return ReconstructionLadder(content.image, raters, rebuilt, iou, SCALES, content.class_names)


def test_a_ladder_has_a_row_for_each_rater_and_a_column_for_each_number_of_scales() -> None:
    figure = reconstruction_ladder(make_ladder())
    assert words(figure)[1:7] == ["no scale", "mean IoU 0.25", "1 x 1", "mean IoU 0.42", "+ $2 x 2", "mean IoU 1.00"]
    assert words(figure)[7:] == [
        *("rater 1", "IoU 0.50", "IoU 0.83", "IoU 1.00"),
        *("rater 2", "IoU 0.00", "IoU 0.00", "no IoU, both empty"),
    ]
    assert legend(figure) == ["the rater's outline", "the reconstruction's"] and is_drawn(figure)
    lowest = []
    for axes in figure.axes[1:4]:
        assert [to_hex(lines.get_edgecolor()[0]).upper() for lines in axes.collections] == [RATER_COLOUR, SAMPLE_COLOUR]
        lowest.append([lines.get_paths()[0].vertices[:, 1].max() for lines in axes.collections])
    assert lowest == [[4.5, 9.5], [4.5, 5.5], [4.5, 4.5]]


def test_an_absent_rater_has_no_iou() -> None:
    ladder = make_ladder()
    absent = np.full_like(ladder.raters, 255)
    figure = reconstruction_ladder(replace(ladder, raters=absent, iou=np.full((3, 2), math.nan)))
    assert words(figure).count("no IoU") == 3 + 6 and figure.axes[0].texts[0].get_text() == "no map"
    assert is_drawn(figure)


def test_a_ladder_of_many_classes_marks_where_it_differs_from_the_rater() -> None:
    content = make_street(num_scales=2)
    assert content.raters is not None
    rebuilt = np.where(content.raters == 255, 0, content.raters)[None].repeat(3, 0).astype(np.uint8)
    rebuilt[0, :, 10:14] = (rebuilt[0, :, 10:14] + 1) % len(STREET)
    ladder = ReconstructionLadder(
        content.image, content.raters, rebuilt, np.full((3, 1), math.nan), content.scale_names, STREET, False
    )
    figure = reconstruction_ladder(ladder)
    first, last = (picture(figure.axes[k], -1)[..., 3] for k in (1, 3))
    assert first[10:14].min() > 0.9 and first[14:].max() < 0.4 and last.max() < 0.4  # what nobody judged is no error
    assert words(figure)[2] == "no IoU" and legend(figure)[0] == "unlike the rater's map" and is_drawn(figure)


# ---- animations ---------------------------------------------------------------------------------------------------


def test_frames_grow_scale_after_scale(tmp_path: Path) -> None:
    frames = coarse_to_fine_frames(make_samples(), 320)
    assert len(frames) == 4 * (len(SCALES) + 2)
    assert {(frame.shape, frame.dtype) for frame in frames} == {((frames[0].shape[0], 320, 3), np.dtype("uint8"))}
    added = [shades(frame[:130, 160:], ADDED_COLOUR) for frame in frames]
    removed = [shades(frame[:130, 160:], REMOVED_COLOUR) for frame in frames]
    assert [count > 0 for count in added] == [False, True, True, False, *[False, False, True, False] * 3]
    assert [count > 0 for count in removed] == [*[False] * 5, True, *[False] * 7, True, False, False]
    path = tmp_path / "new" / "steps.gif"
    save_animation(frames, path, 0.5)
    with Image.open(path) as film:
        assert film.n_frames == len(frames) and film.info["loop"] == 0 and film.size == frames[0].shape[1::-1]
        images = []
        for number, frame in enumerate(frames):
            film.seek(number)
            played = np.asarray(film.convert("RGB"))
            images.append(played[30:120, 10:150].tobytes())
            error = np.abs(played.astype(int) - frame)
            assert film.info["duration"] == 500 and error.mean() < 3 and error.max() < 60
        assert len(set(images)) == 1  # what does not change does not flicker
    assert [child.name for child in path.parent.iterdir()] == ["steps.gif"]
    first = path.read_bytes()
    save_animation(frames, path, 0.5)
    assert path.read_bytes() == first and len(first) < 200_000


def shades(picture: np.ndarray, colour: str) -> int:
    """Pixels close to a colour."""
    return int((np.abs(picture - 255 * np.array(rgb(colour))).max(-1) < 30).sum())


def test_frames_of_kinds_end_with_the_shortest() -> None:
    frames = kind_frames(make_samples(None), 420)
    assert len(frames) == 5 and frames[0].shape[1] == 420
    global_part, local_part = slice(150, 275), slice(285, 410)
    assert (frames[0][30:100, global_part] != frames[1][30:100, global_part]).any()
    assert (frames[0][30:100, local_part] == frames[1][30:100, local_part]).all()
    assert len(kind_frames(make_street(), 400)) == 3


@pytest.mark.parametrize(
    ("frames", "name", "seconds", "message"),
    [
        ([np.zeros((4, 5, 3), np.uint8)], "a.png", 1.0, r"a.png: animations are written as GIF"),
        ([np.zeros((4, 5, 3), np.uint8)], "a.gif", 0.0, r"seconds_per_frame=0.0: give 0.02 or more"),
        ([np.zeros((4, 5, 3), np.uint8)], "a.gif", math.nan, r"seconds_per_frame=nan"),
        ([], "a.gif", 1.0, r"no frames"),
        (
            [np.zeros((4, 5, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)],
            "a.gif",
            1.0,
            r"frame 1 is uint8 of shape \(4, 6",
        ),
        ([np.zeros((4, 5, 3))], "a.gif", 1.0, r"frame 0 is float64"),
    ],
)
def test_what_is_no_animation_is_refused(
    frames: list[np.ndarray], name: str, seconds: float, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        save_animation(frames, tmp_path / name, seconds)
    assert not any(tmp_path.iterdir())


# ---- training -----------------------------------------------------------------------------------------------------


def make_rows(num_levels: int = 2, num: int = 20, geco: bool = True) -> list[dict[str, float]]:
    rows = []
    for step in range(10, 10 * num + 1, 10):
        levels = {f"kl_{level}": 30.0 / 1000**level for level in range(num_levels)}
        rows.append({"step": step, "minutes": step / 100, **levels, "kl": sum(levels.values()), "reconstruction": 90.0})
        if geco:
            rows[-1] |= {"reconstruction_per_pixel": 5 / step, "lambda": float(step)}
    return [*rows, {"step": 10 * num, "val_ged": 0.4}]


def lines_of(axes: Axes) -> list[list[float]]:
    return [np.asarray(line.get_ydata()).tolist() for line in axes.lines]


def test_training_with_a_multiplier() -> None:
    figure = hierarchy_training(make_rows(3), kappa=0.05, scale_names=("1 x 1", "$2 x 2"))
    term, levels, multiplier = figure.axes
    assert term.get_title("left") == "reconstruction, nats per hard pixel"
    assert np.allclose(lines_of(term)[0], [5 / step for step in range(10, 201, 10)])
    assert lines_of(term)[1] == [0.05, 0.05]
    assert [text.get_text() for text in term.get_legend().get_texts()] == ["kappa = 0.05"]
    assert np.allclose(lines_of(levels), [[30.0] * 20, [0.03] * 20, [LEAST_KL] * 20])  # 3e-5 lies at the edge
    assert lines_of(multiplier)[0] == [float(step) for step in range(10, 201, 10)]
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    assert levels.get_ylim()[0] < LEAST_KL and levels.get_ylim()[1] > 30
    assert legend(figure) == ["1 x 1", "$2 x 2", "level 2"] and is_drawn(figure)


def test_training_without_a_multiplier() -> None:
    figure = hierarchy_training(make_rows(geco=False), kappa=0.05)
    assert [axes.get_title("left") for axes in figure.axes] == ["reconstruction, nats", "KL of each level, nats"]
    assert lines_of(figure.axes[0]) == [[90.0] * 20]  # kappa bounds another term
    assert legend(figure) == ["level 0 (coarsest)", "level 1"] and is_drawn(figure)


def test_long_trainings_are_smoothed_and_none_is_said() -> None:
    figure = hierarchy_training(make_rows(num=200))
    assert [len(line) for line in lines_of(figure.axes[1])] == [200, 196] * 2 and is_drawn(figure)
    figure = hierarchy_training([])
    said = [axes.texts[0].get_text() for axes in figure.axes]
    assert said == ["no reconstruction term was recorded", "no KL of levels was recorded"] and is_drawn(figure)


def test_levels_are_in_order_and_only_levels() -> None:
    rows = [{"step": 1.0, "kl_10": 1.0, "kl_2": 1.0, "kl_mean": 1.0, "kl": 3.0, "kl_3": math.nan}]
    assert level_columns(rows) == ["kl_2", "kl_10"]


# ---- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [scale_samples, coarse_to_fine, coarse_to_fine_frames, kind_frames])
def test_wrong_shapes_are_refused(draw: object) -> None:
    assert callable(draw)
    content = make_samples()
    for change, message in (
        ({"image": content.image[0]}, r"image of shape \(20, 30\): expected \(K, H, W\)"),
        ({"raters": content.steps}, r"raters of shape \(3, 4, 20, 30\): expected \(R, 20, 30\)"),
        ({"kinds": {"all": bars([1])[:, 1:]}}, r"samples of kind 'all' of shape \(1, 19, 30\): expected \(N, 20, 30\)"),
        ({"kinds": {"all": bars([])}}, r"samples of kind 'all' of shape \(0, 20, 30\)"),
        ({"scale_names": ("one",)}, r"steps through 1 scales of shape \(3, 4, 20, 30\): expected \(2, M, 20, 30\)"),
        ({"scale_names": ()}, r"scale_names is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            draw(replace(content, **change))


def test_nothing_to_draw_is_refused() -> None:
    for draw in (scale_samples, kind_frames):
        with pytest.raises(ValueError, match="no kinds of samples"):
            draw(replace(make_samples(), kinds={}))
    for draw in (coarse_to_fine_frames, kind_frames):
        with pytest.raises(ValueError, match="size=100: frames are 320 pixels wide or more"):
            draw(make_samples(), 100)
    ladder = make_ladder()
    with pytest.raises(
        ValueError, match=r"reconstructions from 2 scales of shape \(2, 2, 20, 30\): expected \(3, 2, 20"
    ):
        reconstruction_ladder(replace(ladder, reconstructions=ladder.reconstructions[1:]))
    with pytest.raises(ValueError, match="scale_names is empty"):
        reconstruction_ladder(replace(ladder, scale_names=()))
    with pytest.raises(ValueError, match=r"iou of reconstructions from 2 scales of shape \(3, 1\): expected \(3, 2\)"):
        reconstruction_ladder(replace(ladder, iou=ladder.iou[:, 1:]))


def test_a_large_part_is_not_enlarged() -> None:
    content = make_samples()
    assert not View(content.image, [content.steps], content.classes).is_enlarged
