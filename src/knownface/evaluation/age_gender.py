"""How old faces look, and how male: the answers beside what the labels say of people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from knownface.evaluation.judging import Judge, padded
from knownface.evaluation.labelled import (
    MOST_MISTAKES,
    Wrong,
    attributes,
    judged,
    labelled_box,
    mistakes,
    origin,
    ready,
)
from knownface.evaluation.results import Chart, Evaluation, Histogram, Matrix, Scatter, Table
from knownface.evaluation.tables import number, picture, read_rows
from knownface.evaluation.wording import percent
from knownface.imaging import surroundings
from knownface.types import Box, Face, Image
from knownface.vision.plugins.age import OLDEST

SLUGS: Final = ("age", "gender")
# Faces of children tell a network that learned from adults little; figures are given apart.
ADULT: Final = 15
AGES: Final = (0, 3, 10, 15, 20, 30, 40, 50, 60, 70, 80, 131)
GENDERS: Final = ("female", "male")
SYNONYMS: Final = {"f": "female", "woman": "female", "w": "female", "m": "male", "man": "male"}
# A picture without a face may be a crop that ends at it, and detectors want to see what is around:
# it is looked at again with so much of its sides in black on each.
PADDING: Final = 0.4
# A labelled box that no detected face fits is looked at with this much around it.
_REACH: Final = 1.2
_CROP: Final = 200


@dataclass(frozen=True, slots=True)
class Person:
    """What a row says of a face; what it does not say is None, or an empty group."""

    path: Path
    age: float | None
    gender: str | None
    race: str
    box: Box | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, about which box of the picture, and whether the detector found it."""

    low: int
    high: int
    probability: float
    gender: str
    gender_probability: float
    box: Box | None
    found: bool

    @property
    def age(self) -> float:
        """The middle of the range, which is compared with the label."""
        return (self.low + self.high) / 2

    def holds(self, age: float) -> bool:
        """Tell whether the range holds this age; its end stands for all that is older."""
        return self.low <= min(round(age), OLDEST) <= self.high


@dataclass(frozen=True, slots=True)
class Scores:
    """The figures of some people; None where nothing is labelled that could tell.

    `age_bias` is how much older than labelled they look, `age_range` how many years the ranges
    span, `age_said_to_hold` the mean of the probabilities that they state.
    """

    faces: int
    age_mae: float | None
    age_bias: float | None
    age_range: float | None
    age_said_to_hold: float | None
    age_in_range: float | None
    gender_accuracy: float | None


Judged = tuple[Person, Answer]


def evaluate(labels: Path, images: Path, judge: Judge, *, padding: float = 0.0) -> Evaluation:
    """Measure on rows of file, age and gender, optionally race and x_min, y_min, x_max, y_max.

    With `padding` every picture without a labelled box gets black of that share of its sides on
    each before a face is looked for in it.
    """
    ready(judge, SLUGS)
    read = read_rows(labels, ("file",), partial(_person, images))
    work = partial(_answer, judge, padding)
    people, problems = judged(judge, labels, read, work)
    pictures = len({person.path for person, _ in people})
    counts = {"faces": len(people), "pictures": pictures, "bad_rows": len(problems)}
    return Evaluation(
        kind="age-gender",
        figures={**_figures(people), "padding": padding} | origin(judge, SLUGS, **counts),
        tables=_tables(people),
        charts=_charts(people),
        mistakes=mistakes(judge, _wrong(people)),
        problems=problems,
    )


def gender_of(label: str) -> str:
    """Return the value that a label means; ValueError for one that means none, or either."""
    word = label.strip().lower()
    word = SYNONYMS.get(word, word)
    if word in ("0", "1"):
        raise ValueError(
            f"gender is {label!r}, which means male in some data and female in other: "
            "write male or female"
        )
    if word not in GENDERS:
        raise ValueError(f"gender is {label!r}, neither male nor female")
    return word


def scores(people: Sequence[Judged]) -> Scores:
    """Return the figures of some people."""
    aged = [(person.age, answer) for person, answer in people if person.age is not None]
    off = [answer.age - age for age, answer in aged]
    right = [person.gender == answer.gender for person, answer in people if person.gender]
    return Scores(
        faces=len(people),
        age_mae=_mean([abs(years) for years in off]),
        age_bias=_mean(off),
        age_range=_mean([answer.high - answer.low for _, answer in aged]),
        age_said_to_hold=_mean([answer.probability for _, answer in aged]),
        age_in_range=_mean([answer.holds(age) for age, answer in aged]),
        gender_accuracy=_mean(right),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _person(images: Path, cells: dict[str, str]) -> Person:
    age = number(cells, "age") if cells.get("age") else None
    if age is not None and not 0 <= age < AGES[-1]:
        raise ValueError(f"age is {cells['age']!r}, and nobody is that old")
    gender = gender_of(cells["gender"]) if cells.get("gender") else None
    if age is None and gender is None:
        raise ValueError("neither age nor gender is given")
    path = picture(images, cells["file"])
    return Person(path, age, gender, cells.get("race", ""), labelled_box(cells))


def _answer(judge: Judge, padding: float, image: Image, person: Person) -> Answer:
    view, face, box, found = _face(judge, image, person.box, padding)
    said = attributes(judge, view, face, SLUGS)
    return Answer(
        **said["age"],
        gender=said["gender"]["value"],
        gender_probability=said["gender"]["probability"],
        box=box,
        found=found,
    )


def _face(
    judge: Judge, image: Image, label: Box | None, padding: float
) -> tuple[Image, Face, Box | None, bool]:
    """Return the face, the picture that it is in, its box in the labelled one, and if it is found.

    Where it is not, the labelled box, or else the whole picture, becomes a picture of a face.
    """
    if label is not None:
        face, found = judge.face_at(image, label)
        if found:
            return image, face, face.box, True
        crop = Image(surroundings(image, label, _REACH, _CROP))
        return crop, Face(_whole(crop)), label, False
    for share in (padding, max(padding, PADDING)):
        view, (x, y) = padded(image, share)
        inside = judge.central_face(view)
        if inside is not None:
            box = inside.box
            corners = (box.x_min - x, box.y_min - y, box.x_max - x, box.y_max - y)
            return view, inside, Box(*corners, box.probability), True
    return image, Face(_whole(image)), None, False


def _whole(image: Image) -> Box:
    return Box(0.0, 0.0, float(image.width), float(image.height), 0.0)


def _adults(people: Sequence[Judged]) -> list[Judged]:
    return [(p, answer) for p, answer in people if p.age is not None and p.age >= ADULT]


def _groups(people: Sequence[Judged]) -> dict[str, dict[str, list[Judged]]]:
    """Sort everybody by age, and those of 15 or more by what else the labels say of them."""
    adults = _adults(people) or list(people)

    def split(of: Callable[[Person], str | None]) -> dict[str, list[Judged]]:
        names = sorted({of(person) or "" for person, _ in adults} - {""})
        return {name: [p for p in adults if of(p[0]) == name] for name in names}

    ages = {
        f"{first}-{after - 1}" if after < AGES[-1] else f"{first} or more": [
            p for p in people if p[0].age is not None and first <= p[0].age < after
        ]
        for first, after in pairwise(AGES)
    }
    return {
        "ages": {name: group for name, group in ages.items() if group},
        "genders": split(lambda person: person.gender),
        "races": split(lambda person: person.race),
    }


def _figures(people: Sequence[Judged]) -> dict[str, object]:
    adults = {f"{name}_{ADULT}": value for name, value in asdict(scores(_adults(people))).items()}
    groups = {
        kind: {name: asdict(scores(group)) for name, group in those.items()}
        for kind, those in _groups(people).items()
    }
    missed = sum(not answer.found for _, answer in people)
    return {**asdict(scores(people)), **adults, "not_detected": missed, **groups}


def _tables(people: Sequence[Judged]) -> tuple[Table, ...]:
    adults, everybody = scores(_adults(people)), scores(people)
    missed = sum(not answer.found for _, answer in people)
    older = f"{ADULT} or more"
    some, all_ = f"{adults.faces:,} of {older}", f"{everybody.faces:,} of any age"
    short = (
        ("Age off by", _years(adults.age_mae), some),
        ("Gender right", percent(adults.gender_accuracy), some),
        ("Age off by", _years(everybody.age_mae), all_),
        ("Gender right", percent(everybody.gender_accuracy), all_),
        ("Age in the answered range", percent(everybody.age_in_range), all_),
        ("Not detected", f"{missed:,}", "judged on the labelled box or picture"),
    )
    columns = ("", "faces", "age off by", "mean", "range", "said to hold", "holds", "gender right")
    titles = {
        "ages": "By age",
        "genders": f"By gender, {older}",
        "races": f"By race as labelled, {older}",
    }
    tables = [
        Table(
            titles[kind],
            columns,
            tuple(_row(name, group) for name, group in those.items()),
        )
        for kind, those in _groups(people).items()
        if those
    ]
    return (Table("Age and gender", ("figure", "value", "on"), short), *tables)


def _row(name: str, people: Sequence[Judged]) -> tuple[object, ...]:
    found = scores(people)
    bias = "–" if found.age_bias is None else f"{found.age_bias:+.1f}".replace("-", "−")
    shares = map(percent, (found.age_said_to_hold, found.age_in_range, found.gender_accuracy))
    return (name, found.faces, _years(found.age_mae), bias, _years(found.age_range), *shares)


def _years(years: float | None) -> str:
    return "–" if years is None else f"{years:.2f} years"


def _charts(people: Sequence[Judged]) -> tuple[Chart, ...]:
    aged = [(p.age, answer.age) for p, answer in people if p.age is not None]
    charts: list[Chart] = []
    if aged:
        true, said = np.array(aged, float).T
        charts.append(Scatter("Age", "labelled age", "middle of the answered range", true, said))
        error = Histogram("By how much the age is off", "years too old", (("", said - true),))
        charts.append(error)
    for title, group in ((f"Gender, {ADULT} or more", _adults(people)), ("Gender", people)):
        pairs = [(p.gender, answer.gender) for p, answer in group]
        counts = tuple(tuple(pairs.count((true, said)) for said in GENDERS) for true in GENDERS)
        if any(map(sum, counts)):
            charts.append(Matrix(title, GENDERS, GENDERS, counts))
    return tuple(charts)


def _wrong(people: Sequence[Judged]) -> list[Wrong]:
    """Return the ages that are furthest off, then the surest wrong genders."""
    ages = [(p, p.age, a) for p, a in people if p.age is not None and not a.holds(p.age)]
    ages.sort(key=lambda one: -abs(one[2].age - one[1]))
    genders = [(p, a) for p, a in people if p.gender and p.gender != a.gender]
    genders.sort(key=lambda one: -one[1].gender_probability)
    half = MOST_MISTAKES // 2
    return [
        Wrong(p.path, a.box, f"{p.path.name}: {age:g} years, answered {a.low}–{a.high}")
        for p, age, a in ages[: max(half, MOST_MISTAKES - len(genders))]
    ] + [
        Wrong(p.path, a.box, f"{p.path.name}: {p.gender}, answered {a.gender}, {_sure(a)}")
        for p, a in genders
    ]


def _sure(answer: Answer) -> str:
    return f"{answer.gender_probability:.0%} sure"
