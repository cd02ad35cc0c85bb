"""The verdict: what is said of good models and bad ones, of few raters and many, and where the bars end."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from plurimask.report.verdict import Bar, Scores, Training, Verdict, bars, judge, scores_of

ENOUGH = Training(900, 500, False)
GOOD = Scores(
    num_images=23,
    num_all=23,
    sample_dice=0.84,
    dice=0.88,
    empty_dice=0.04,
    empty_samples=0.03,
    empty_raters=0.04,
    ged=0.22,
    empty_ged=1.5,
    rater_dice=0.86,
    ged_oracle=0.2,
    rater_diversity=0.3,
    diversity=0.28,
)
ONE = replace(GOOD, rater_dice=None, ged_oracle=None, rater_diversity=None)


def said(verdict: Verdict) -> str:
    return " ".join((verdict.headline, *verdict.sentences))


def test_a_good_model() -> None:
    verdict = judge(GOOD, ENOUGH)
    assert verdict.tone == "good"
    assert verdict.headline == "Its masks are as good as the raters', and as sets they differ as the raters' do."
    assert verdict.sentences == (
        "The raters agree with each other at Dice 0.86; a sample of the model agrees with a rater at 0.84, its most "
        "likely mask at 0.88, empty masks at 0.04.",
        "As sets, GED is 1.1 times the oracle's 0.200 (what the raters' own set would score).",
    )


@pytest.mark.parametrize(
    ("steps", "start"),
    [
        (3, "Not trained: 3 steps of the 500 that this method needs."),
        (1, "Not trained: 1 step of the 500"),
        (50, "Undertrained: 50 steps of the 500"),
        (None, "Undertrained: fewer than the 500 steps"),
    ],
)
def test_a_short_training_comes_first(steps: int | None, start: str) -> None:
    verdict = judge(GOOD, Training(steps, 500, True))
    assert verdict.headline.startswith(start) and verdict.tone == "bad"
    assert verdict.sentences[0] == "What follows tells of that, not of the method."
    assert verdict.sentences[1:] == (judge(GOOD, ENOUGH).headline, *judge(GOOD, ENOUGH).sentences)


@pytest.mark.parametrize(
    ("dice", "headline", "tone"),
    [
        (0.11, "It is no better than empty masks.", "bad"),
        (0.13, "It is far from the raters.", "bad"),
        (0.44, "It is far from the raters.", "bad"),
        (0.46, "It is below the raters.", "fair"),
        (0.69, "It is below the raters.", "fair"),
        (0.71, "Its masks are as good as the raters', and as sets they differ as the raters' do.", "good"),
    ],
)
def test_the_way_from_empty_masks_to_the_raters(dice: float, headline: str, tone: str) -> None:
    verdict = judge(replace(GOOD, sample_dice=dice), ENOUGH)
    assert (verdict.headline, verdict.tone) == (headline, tone)


def test_empty_masks_are_called_so_unless_the_raters_marked_nothing_either() -> None:
    empty = replace(GOOD, empty_samples=1.0, sample_dice=0.04, dice=0.04, ged=1.5, diversity=0.0)
    verdict = judge(empty, ENOUGH)
    assert verdict.headline == "It marks nothing: its masks are empty." and verdict.tone == "bad"
    assert "Of the samples 100% mark nothing, of the raters' maps 4%." in verdict.sentences
    both = replace(empty, empty_raters=1.0, empty_dice=1.0, rater_dice=1.0, sample_dice=1.0, dice=1.0, ged_oracle=0.0)
    assert judge(both, ENOUGH).headline.startswith(
        "Overlap tells nothing here: empty masks would agree with the raters"
    )


def test_one_rater_cannot_tell_of_disagreement() -> None:
    verdict = judge(ONE, ENOUGH)
    assert "There is one rater of each image: whether samples differ as people would cannot be judged." in said(verdict)
    assert verdict.headline == "Its masks are close to those of the rater." and "GED" not in said(verdict)
    assert verdict.sentences[0].startswith("A sample of the model agrees with the rater at Dice 0.84, its most likely")
    assert judge(replace(ONE, sample_dice=0.6), ENOUGH).headline == "It is below the rater."


def test_raters_who_agree_leave_nothing_to_learn() -> None:
    agreed = replace(GOOD, rater_dice=0.99, ged_oracle=0.01, ged=0.5, rater_diversity=0.01, sample_dice=0.9)
    verdict = judge(agreed, ENOUGH)
    assert verdict.headline == "Its masks are close to those of the raters."
    assert "The raters agree: there is no disagreement to learn." in verdict.sentences
    assert "times the oracle" not in said(verdict) and "too different" not in said(verdict)


@pytest.mark.parametrize(
    ("ged", "words", "tone"),
    [(0.31, "nearly differ as the raters' do", "good"), (0.4, "but they do not differ as the raters' do", "fair")],
)
def test_sets_are_judged_by_the_ratio(ged: float, words: str, tone: str) -> None:
    verdict = judge(replace(GOOD, ged=ged), ENOUGH)
    assert words in verdict.headline and verdict.tone == tone
    unclear = replace(GOOD, ged=ged, empty_dice=0.83)
    assert judge(unclear, ENOUGH).headline.startswith("As sets, its masks")


def test_samples_that_are_alike_or_too_different_are_said() -> None:
    alike = said(judge(replace(GOOD, diversity=0.1), ENOUGH))
    assert "Samples are too much alike: they lie 0.10 apart (1 - IoU), the raters 0.30." in alike
    assert "Samples are too different" in said(judge(replace(GOOD, diversity=0.6), ENOUGH))
    single = replace(GOOD, dice=0.84, diversity=0.0)
    verdict = judge(single, ENOUGH)
    assert "All samples of an image are the same mask" in said(verdict)
    assert verdict.sentences[0] == (
        "The raters agree with each other at Dice 0.86; the model's mask agrees with a rater at 0.84, "
        "empty masks at 0.04."
    )
    assert "All samples" not in said(judge(replace(single, diversity=None), ENOUGH))


def test_classes_that_are_hardly_found_are_named() -> None:
    classes = {"sky": 0.9, "pole": 0.02, "car": 0.5, **{f"sign {number}": 0.01 for number in range(7)}}
    words = said(judge(replace(GOOD, class_dice=classes, nothing="one class everywhere"), ENOUGH))
    assert "Dice of a class runs from 0.01 (sign 0) to 0.90 (sky)." in words
    assert "Hardly found (Dice below 0.1): pole, sign 0, sign 1, sign 2, sign 3, sign 4 and 2 more." in words
    assert "one class everywhere at 0.04" in words and "empty masks" not in words


def make_row(name: str, raters: int, dice: float) -> dict[str, object]:
    missing = math.nan if raters < 2 else 0.5
    keys = ("dice", "empty_dice", "empty_samples", "empty_raters", "ged", "empty_ged", "diversity")
    of_raters = ("rater_dice", "ged_oracle", "rater_diversity")
    row = {"name": name, **dict.fromkeys(keys, dice), **dict.fromkeys(of_raters, missing), "sample_dice": dice}
    return row if raters else {**dict.fromkeys(row, math.nan), "name": name}


def test_all_numbers_are_of_the_same_images() -> None:
    rows = [make_row("a", 2, 0.25), make_row("b", 1, 0.75), make_row("c", 3, 0.5), make_row("d", 0, 0.0)]
    scores = scores_of(rows, None)
    assert scores is not None and (scores.num_images, scores.num_all) == (2, 4)
    assert scores.sample_dice == scores.ged == 0.375 and scores.rater_dice == 0.5
    words = said(judge(scores, ENOUGH))
    assert "These numbers are of the 2 of 4 images that were judged by at least two raters." in words
    assert "With 2 images, all numbers are rough." in words
    alone = scores_of([rows[1], rows[3]], None, has_background=False)
    assert alone is not None and alone.rater_dice is alone.ged_oracle is alone.ged_ratio is None
    assert (alone.num_images, alone.sample_dice, alone.nothing) == (1, 0.75, "one class everywhere")
    assert scores_of([rows[3]], None) is None
    assert judge(None, ENOUGH).headline == "There is nothing to judge."


def test_bars_reach_from_empty_masks_to_the_raters() -> None:
    sample, likely, ged = bars(GOOD)
    assert (sample.value, sample.empty, sample.raters, sample.better) == ("0.84", "0.04", "0.86", "higher")
    assert sample.place == pytest.approx(100 * 0.8 / 0.82) and (sample.empty_place, sample.raters_place) == (0, 100)
    assert likely.place == 100 and likely.raters_place == pytest.approx(100 * 0.82 / 0.84)  # beyond the raters
    assert (ged.value, ged.empty, ged.raters, ged.better) == ("0.220", "1.500", "0.200", "lower")
    assert ged.place == pytest.approx(100 * 1.28 / 1.3) and ged.note == "1.1 times the raters'"
    (worse,) = [bar for bar in bars(replace(GOOD, ged=1.8)) if bar.better == "lower"]
    assert worse.place == 0 and worse.empty_place == pytest.approx(100 * 0.3 / 1.6)


def test_bars_show_only_what_is_measured() -> None:
    of_one: list[Bar] = bars(ONE)
    assert [bar.far_end for bar in of_one] == ["the rater's own mask"] * 2 and of_one[0].raters == "1.00"
    assert len(bars(replace(ONE, dice=0.84, diversity=0.0))) == 1
