"""What a person can take from an evaluation: one judgement in plain words, the sentences behind it, and its numbers on
bars between masks that mark nothing and the raters themselves. All rules are the thresholds below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

NOT_TRAINED = 0.1
"""Of the steps that a method needs: below, it is not called undertrained but not trained."""
NO_BETTER, FAR, BELOW = 0.1, 0.5, 0.8
"""How far the Dice of a sample is on the way from empty masks (0) to raters (1): below these it is no better than
empty masks, far from the raters, below them."""
LEAST_SPAN = 0.05
"""Where the Dice of empty masks is nearer than this to the raters', overlap tells nothing."""
SAME_SET, NEAR_SET = 1.15, 1.6
"""GED over the oracle's: up to these, samples match the raters' disagreement, or nearly so."""
TOO_ALIKE, TOO_VARIED = 0.5, 1.5
"""Diversity of the samples over that of the raters."""
AGREED = 0.98
"""Dice between raters from which on there is no disagreement to learn."""
ALL_EMPTY, EMPTY_GAP = 0.99, 0.1
"""Share of empty samples that counts as marking nothing; a difference to the raters' share that is worth saying."""
NOT_FOUND = 0.1
"""Dice of a class, pooled, below which it is hardly found."""
FEW_IMAGES = 10
"""Fewer make numbers rough."""
_MOST_NAMES = 6

Tone = Literal["good", "fair", "bad"]


@dataclass(frozen=True)
class Scores:
    """Means over the same images: those that several raters marked, if there are any, else all that one rater did."""

    num_images: int
    num_all: int
    """Of the split."""
    sample_dice: float
    dice: float
    empty_dice: float
    empty_samples: float
    empty_raters: float
    ged: float
    empty_ged: float
    rater_dice: float | None = None
    """None where no image has two raters; so too the next two."""
    ged_oracle: float | None = None
    rater_diversity: float | None = None
    diversity: float | None = None
    """None for one sample."""
    class_dice: Mapping[str, float] | None = None
    """Of each class that counts and is somewhere, pooled, by its name; None if one class counts."""
    nothing: str = "empty masks"
    """What `empty_dice` and `empty_ged` are of, in words."""

    @property
    def ged_ratio(self) -> float | None:
        """GED over the oracle's; None where raters are of one opinion, or there is one."""
        return self.ged / self.ged_oracle if self.ged_oracle else None

    @property
    def is_single(self) -> bool:
        """Whether there is one mask for an image, however many samples were drawn."""
        return not self.diversity and abs(self.sample_dice - self.dice) < 1e-9

    @property
    def way(self) -> float | None:
        """How far a sample is on the way from empty masks to raters; None where both score the same."""
        span = (1.0 if self.rater_dice is None else self.rater_dice) - self.empty_dice
        return (self.sample_dice - self.empty_dice) / span if span >= LEAST_SPAN else None


class Training(NamedTuple):
    """How long it was."""

    steps: int | None
    """None if that is not known."""
    needed: int
    is_short: bool


class Verdict(NamedTuple):
    """In plain words."""

    headline: str
    sentences: tuple[str, ...]
    tone: Tone


class Bar(NamedTuple):
    """One number between what empty masks and what the raters themselves score; places are in percent of the bar."""

    title: str
    value: str
    empty: str
    raters: str
    place: float
    empty_place: float
    raters_place: float
    better: Literal["higher", "lower"]
    far_end: str
    """What `raters` is the score of, in words."""
    note: str = ""


def scores_of(
    rows: Sequence[Mapping[str, Any]], class_dice: Mapping[str, float] | None, has_background: bool = True
) -> Scores | None:
    """From the figures of each image (`plurimask.metrics.table`); None where no image was judged.

    Without a background nothing is empty: `empty_dice` and `empty_ged` are of one class everywhere.
    """
    judged = [row for row in rows if not math.isnan(row["sample_dice"])]
    several = [row for row in judged if not math.isnan(row["rater_dice"])]
    if not judged:
        return None
    of = several or judged

    def mean(key: str) -> float:
        return math.fsum(row[key] for row in of) / len(of)

    def known(key: str) -> float | None:
        return None if math.isnan(value := mean(key)) else value

    return Scores(
        num_images=len(of),
        num_all=len(rows),
        sample_dice=mean("sample_dice"),
        dice=mean("dice"),
        empty_dice=mean("empty_dice"),
        empty_samples=mean("empty_samples"),
        empty_raters=mean("empty_raters"),
        ged=mean("ged"),
        empty_ged=mean("empty_ged"),
        rater_dice=known("rater_dice"),
        ged_oracle=known("ged_oracle"),
        rater_diversity=known("rater_diversity"),
        diversity=known("diversity"),
        class_dice=class_dice,
        nothing="empty masks" if has_background else "one class everywhere",
    )


# ---- in words -----------------------------------------------------------------------------------------------------


def judge(scores: Scores | None, training: Training) -> Verdict:
    """The verdict on one run and split."""
    short = _training(training)
    if scores is None:
        told = ("No image of this split has a pixel that its raters judged, so nothing can be measured.",)
        return Verdict(short or "There is nothing to judge.", told, "bad")
    headline, tone = _headline(scores)
    sentences = tuple(_sentences(scores))
    if short:
        return Verdict(short, ("What follows tells of that, not of the method.", headline, *sentences), "bad")
    return Verdict(headline, sentences, tone)


def _training(training: Training) -> str:
    steps, needed, is_short = training
    if not is_short:
        return ""
    if steps is None:
        return f"Undertrained: fewer than the {needed:,} steps that this method needs."
    word = "Not trained" if steps < NOT_TRAINED * needed else "Undertrained"
    return f"{word}: {steps:,} step{'s' * (steps != 1)} of the {needed:,} that this method needs."


def _headline(scores: Scores) -> tuple[str, Tone]:
    way, raters = scores.way, "the rater" if scores.rater_dice is None else "the raters"
    if scores.empty_samples >= ALL_EMPTY > scores.empty_raters:
        return "It marks nothing: its masks are empty.", "bad"
    if way is None and scores.ged_ratio is None:
        return f"Overlap tells nothing here: {scores.nothing} would agree with {raters} as well.", "fair"
    if way is not None and way < BELOW:
        if way < NO_BETTER:
            return f"It is no better than {scores.nothing}.", "bad"
        return (f"It is far from {raters}.", "bad") if way < FAR else (f"It is below {raters}.", "fair")
    if scores.rater_dice is None or scores.ged_ratio is None or scores.rater_dice >= AGREED:
        return f"Its masks are close to those of {raters}.", "good"
    subject = "As sets, its masks" if way is None else "Its masks are as good as the raters', and as sets they"
    if scores.ged_ratio <= SAME_SET:
        return f"{subject} differ as the raters' do.", "good"
    if scores.ged_ratio <= NEAR_SET:
        return f"{subject} nearly differ as the raters' do.", "good"
    if way is None:
        return "As sets, its masks do not differ as the raters' do.", "fair"
    return "Its masks are as good as the raters', but they do not differ as the raters' do.", "fair"


def _sentences(scores: Scores) -> Iterator[str]:
    yield _overlap(scores)
    ratio, oracle = scores.ged_ratio, scores.ged_oracle
    if scores.rater_dice is None:
        yield "There is one rater of each image: whether samples differ as people would cannot be judged."
    elif scores.rater_dice >= AGREED:
        yield "The raters agree: there is no disagreement to learn."
    elif ratio is not None:
        yield f"As sets, GED is {ratio:.1f} times the oracle's {oracle:.3f} (what the raters' own set would score)."
    yield from _spread(scores)
    if scores.rater_dice is not None and abs(scores.empty_samples - scores.empty_raters) > EMPTY_GAP:
        yield f"Of the samples {scores.empty_samples:.0%} mark nothing, of the raters' maps {scores.empty_raters:.0%}."
    if scores.class_dice:
        yield from _classes(scores.class_dice)
    if scores.num_images < scores.num_all:
        judged = "judged" if scores.rater_dice is None else "judged by at least two raters"
        yield f"These numbers are of the {scores.num_images} of {scores.num_all} images that were {judged}."
    if scores.num_images < FEW_IMAGES:
        yield f"With {scores.num_images} image{'s' * (scores.num_images != 1)}, all numbers are rough."


def _overlap(scores: Scores) -> str:
    several = scores.rater_dice is not None
    rater = "a rater" if several else "the rater"
    start = f"The raters agree with each other at Dice {scores.rater_dice:.2f}; a" if several else "A"
    if scores.is_single:
        model = f"{'the' if several else 'The'} model's mask agrees with {rater} at {'' if several else 'Dice '}"
        lead = start[:-1] if several else ""
        return f"{lead}{model}{scores.dice:.2f}, {scores.nothing} at {scores.empty_dice:.2f}."
    return (
        f"{start} sample of the model agrees with {rater} at {'' if several else 'Dice '}{scores.sample_dice:.2f}, its "
        f"most likely mask at {scores.dice:.2f}, {scores.nothing} at {scores.empty_dice:.2f}."
    )


def _spread(scores: Scores) -> Iterator[str]:
    if scores.is_single and scores.diversity is not None:
        yield "All samples of an image are the same mask: the method says nothing of other opinions."
    elif scores.rater_diversity and scores.diversity is not None and (scores.rater_dice or 0.0) < AGREED:
        ratio = scores.diversity / scores.rater_diversity
        if not TOO_ALIKE <= ratio <= TOO_VARIED:
            words = "too much alike" if ratio < TOO_ALIKE else "too different"
            yield (
                f"Samples are {words}: they lie {scores.diversity:.2f} apart (1 - IoU), the raters "
                f"{scores.rater_diversity:.2f}."
            )


def _classes(class_dice: Mapping[str, float]) -> Iterator[str]:
    worst, best = (choose(class_dice, key=lambda name: class_dice[name]) for choose in (min, max))
    yield f"Dice of a class runs from {class_dice[worst]:.2f} ({worst}) to {class_dice[best]:.2f} ({best})."
    lost = [name for name, value in class_dice.items() if value < NOT_FOUND]
    if lost:
        more = f" and {len(lost) - _MOST_NAMES} more" if len(lost) > _MOST_NAMES else ""
        yield f"Hardly found (Dice below {NOT_FOUND:g}): {', '.join(lost[:_MOST_NAMES])}{more}."


# ---- on bars ------------------------------------------------------------------------------------------------------


def bars(scores: Scores) -> list[Bar]:
    """The headline numbers. With one rater the far end of Dice is that rater's own mask, and sets have no bar."""
    one = scores.rater_dice is None
    rater, far_end = ("the rater", "the rater's own mask") if one else ("a rater", "the raters themselves")
    empty, end = scores.empty_dice, 1.0 if scores.rater_dice is None else scores.rater_dice
    drawn = (
        [] if scores.is_single else [_bar(f"Dice of a sample with {rater}", (scores.sample_dice, empty, end), far_end)]
    )
    drawn.append(_bar(f"Dice of the most likely mask with {rater}", (scores.dice, empty, end), far_end))
    if scores.ged_oracle is not None:
        bar = _bar("GED of the samples", (scores.ged, scores.empty_ged, scores.ged_oracle), far_end, digits=3)
        ratio = scores.ged_ratio
        drawn.append(bar if ratio is None else bar._replace(note=f"{ratio:.1f} times the raters'"))
    return drawn


def _bar(title: str, scores: tuple[float, float, float], far_end: str, digits: int = 2) -> Bar:
    """A bar from the scores of the model, of empty masks and of raters, over all three, empty masks at the left."""
    value, empty, raters = scores
    sign = 1 if raters >= empty else -1
    low, high = min(sign * one for one in scores), max(sign * one for one in scores)

    def place(one: float) -> float:
        return 100 * (sign * one - low) / (high - low) if high > low else 50.0

    value_words, empty_words, rater_words = (f"{one:.{digits}f}" for one in scores)
    return Bar(
        title=title,
        value=value_words,
        empty=empty_words,
        raters=rater_words,
        place=place(value),
        empty_place=place(empty),
        raters_place=place(raters),
        better="higher" if sign > 0 else "lower",
        far_end=far_end,
    )
