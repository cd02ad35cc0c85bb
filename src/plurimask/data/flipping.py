"""Any data set with one annotator becomes ambiguous in a known way: some of its classes flip to a twin at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from plurimask.data.example import DataDescription, DataSource, Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.errors import InputError, unknown_name
from plurimask.flips import MAX_FLIPS, Flip
from plurimask.sets.unjudged import IGNORE

NONE = "none"

LAWS: dict[str, tuple[tuple[tuple[str, ...], float], ...]] = {
    "street": (
        (("sidewalk", "pavement"), 8 / 17),
        (("person", "pedestrian"), 7 / 17),
        (("car",), 6 / 17),
        (("vegetation", "tree"), 5 / 17),
        (("road",), 4 / 17),
    ),
}
"""Published laws: the names that a class may have, in lower case, and its probability. "street": Kohl et al. 2018."""


class FlippedSet(ExampleSet):
    """The examples of another set, of one annotator each, with flips."""

    def __init__(self, base: ExampleSet, flips: tuple[Flip, ...]) -> None:
        self.base, self.flips = base, flips
        self.names, self.groups = base.names, base.groups

    def __getitem__(self, index: int) -> Example:
        return replace(self.base[index], flips=self.flips)

    def shape(self, index: int) -> tuple[int, ...]:
        return self.base.shape(index)

    def pixel_size(self, index: int) -> PixelSize | None:
        return self.base.pixel_size(index)

    def files(self, index: int) -> tuple[Path, ...]:
        return self.base.files(index)


def with_flips(source: DataSource, law: Mapping[str, float]) -> DataSource:
    """The same data of one annotator with classes that flip to a twin class `NAME_2`, added behind the others.

    The classes that flip and their twins are what metrics count then. The law is class name to the probability of its
    flip; an empty one changes nothing.

    Raises:
        InputError: the law names an unknown class, a probability is not between 0 and 1, or more than one rater
            annotated the data.
    """
    if not law:
        return source
    about = source.description
    if len(about.rater_names) != 1:
        raise InputError(
            f"the data have {len(about.rater_names)} raters ({', '.join(about.rater_names)}), and classes can be "
            "flipped only in the maps of a single one: leave --flips out, or give data of one rater"
        )
    _check_law(law, about)
    flips = tuple(
        Flip(about.class_names.index(name), about.num_classes + number, probability)
        for number, (name, probability) in enumerate(law.items())
    )
    names, values = (*about.class_names, *map(_twin, law)), (*about.class_values, *_unused_values(about, len(law)))
    description = about.model_copy(update={"class_names": names, "class_values": values, "flips": flips})
    splits = {split: FlippedSet(examples, flips) for split, examples in source.splits.items()}
    return replace(source, description=description, splits=splits)


def without_flips(description: DataDescription) -> DataDescription:
    """The description of the data as they are stored: without flips and twin classes."""
    kept = description.num_classes - len(description.flips)
    names, values = description.class_names[:kept], description.class_values[:kept]
    return description.model_copy(update={"class_names": names, "class_values": values, "flips": ()})


def law_of(description: DataDescription) -> dict[str, float]:
    """Class name to the probability of its flip, as `with_flips` takes it."""
    return {description.class_names[flip.source]: flip.probability for flip in description.flips}


def parse_flips(words: Sequence[str], class_names: Sequence[str]) -> dict[str, float]:
    """The law that words on the command line mean: `car=6/17 Tree=0.3`, or one known law (`street`), or `none`.

    The case of class names does not matter unless two differ in it alone.

    Raises:
        InputError: a word is malformed, names an unknown class, or one that another word named.
    """
    if len(words) == 1 and "=" not in words[0]:
        return {} if words[0].lower() == NONE else _known_law(words[0], class_names)
    law: dict[str, float] = {}
    for word in words:
        name, equals, value = word.rpartition("=")
        if not equals:
            raise InputError(
                f"--flips {word}: expected CLASS=PROBABILITY such as car=6/17, or only one of {', '.join(LAWS)}, {NONE}"
            )
        found = _find_class(name, class_names)
        if found is None:
            raise unknown_name("class in --flips", name, class_names)
        if found in law:
            raise InputError(f"--flips: the class {found} is there twice: keep one of them")
        law[found] = _probability(word, value)
    if not law:
        raise InputError(f"--flips: no class given, expected CLASS=PROBABILITY, or one of {', '.join(LAWS)}, {NONE}")
    return law


def refuse_other_law(words: Sequence[str], description: DataDescription) -> None:
    """Raise InputError if `words` mean another law than the flips of `description`, with which a run was begun."""
    known = law_of(description)
    if parse_flips(words, without_flips(description).class_names) != known:
        begun = ", ".join(f"{name}={probability:.4g}" for name, probability in known.items()) or NONE
        raise InputError(
            f"a resumed run keeps its flips ({begun}), and --flips {' '.join(words)} are others: leave --flips out, or "
            "start a new run with another --out"
        )


def _check_law(law: Mapping[str, float], about: DataDescription) -> None:
    for name, probability in law.items():
        if name not in about.class_names:
            raise unknown_name("class to flip", name, about.class_names)
        if not 0 < probability < 1:
            raise InputError(f"the class {name} flips with the probability {probability:g}: give one between 0 and 1")
        if _twin(name) in about.class_names:
            raise InputError(
                f"the data have a class {_twin(name)} already, the name of the twin of {name}: rename that class"
            )
    if len(law) > MAX_FLIPS:
        raise InputError(
            f"{len(law)} classes are to flip, and all 2^{len(law)} modes are enumerated: at most {MAX_FLIPS}"
        )
    if about.num_classes + len(law) > IGNORE:
        raise InputError(
            f"{about.num_classes} classes and {len(law)} twins are more than {IGNORE}: let fewer classes flip"
        )


def _unused_values(about: DataDescription, count: int) -> list[int]:
    """Mask values from 0 to 254 that mean nothing yet: the next ones after the largest in use, then smaller ones."""
    used = {*about.class_values, about.ignore_value}
    largest = max((value for value in about.class_values if value < IGNORE), default=-1)
    free = [value for value in (*range(largest + 1, IGNORE), *range(largest)) if value not in used]
    if len(free) < count:
        raise InputError(f"only {len(free)} mask values of 0 to 254 are free for {count} twins: let fewer classes flip")
    return free[:count]


def _known_law(word: str, class_names: Sequence[str]) -> dict[str, float]:
    if word.lower() not in LAWS:
        raise unknown_name("law of flips", word, [*LAWS, NONE, "CLASS=PROBABILITY"])
    law: dict[str, float] = {}
    for names, probability in LAWS[word.lower()]:
        found = next((match for name in names if (match := _find_class(name, class_names)) is not None), None)
        if found is None:
            raise InputError(
                f"--flips {word} needs a class {' or '.join(names)}, the data have {', '.join(class_names)}: "
                "name the classes by CLASS=PROBABILITY"
            )
        law[found] = probability
    return law


def _find_class(name: str, class_names: Sequence[str]) -> str | None:
    """The class of this name; if there is none, the only one whose name differs from it in case alone."""
    if name in class_names:
        return name
    near = [each for each in class_names if each.casefold() == name.casefold()]
    return near[0] if len(near) == 1 else None


def _probability(word: str, value: str) -> float:
    try:
        if len(value) > 40 or "e" in value.lower():  # of 1e999999999 a fraction would write all digits
            raise ValueError(value)
        return float(Fraction(value))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(f"--flips {word}: {value!r} is no number: write a fraction such as 6/17 or 0.35") from error


def _twin(name: str) -> str:
    return f"{name}_2"
