"""A gallery of known people and probes, some of them unknown: who is found, and who wrongly?

The gallery is searched through the index that the server uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from knownface.errors import InvalidRequest
from knownface.evaluation import metrics
from knownface.evaluation.judging import Judge
from knownface.evaluation.metrics import F64
from knownface.evaluation.people import Labelled, problem, read_people
from knownface.evaluation.portraits import Portrait, crop, portraits, similarities
from knownface.evaluation.results import (
    Chart,
    Curve,
    Evaluation,
    Histogram,
    Mistake,
    Problem,
    Table,
)
from knownface.evaluation.wording import counted, exponent, percent
from knownface.index import Hit, open_index

BACKEND: Final = "exact"
# False positive identification rates, as far as there are unknown people enough for them.
RATES: Final = (1e-1, 1e-2, 1e-3)
# The rate that is told of even where there are too few unknown people for it.
USUAL_RATE: Final = 1e-2
RANKS: Final = (1, 5, 10)
WORST: Final = 12
NOBODY: Final = (
    "nobody in it is in the gallery, so finding people cannot be measured: name each person alike "
    "in both"
)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the gallery said of a probe: the nearest subjects, none where there is no face."""

    probe: Labelled
    face: Portrait
    known: bool
    hits: tuple[Hit, ...]
    rank: int | None  # of the right subject, from 1

    @property
    def score(self) -> float:
        return self.hits[0].cosine if self.hits else -np.inf


@dataclass(frozen=True, slots=True)
class OpenSet:
    """A threshold that few unknown people pass, and how many known ones are missed by it."""

    wanted: float
    threshold: float
    missed: float
    positives: int
    unknown: int


def evaluate(
    gallery: Path,
    probes: Path,
    judge: Judge,
    *,
    images: Path | None = None,
    padding: float = 0.0,
) -> Evaluation:
    """Measure how well probes are found in a gallery.

    `images` is where CSV files look; `padding` is the share of its sides that every picture gets
    in black on each.
    """
    known, problems = read_people(gallery, images, unknown=False)
    asked, more = read_people(probes, images, unknown=True)
    enrolled = {one.path.resolve() for one in known}
    both = [one for one in asked if one.path.resolve() in enrolled]
    problems += [*more, *(problem(probes, p, "it is in the gallery, too") for p in both)]
    asked = [one for one in asked if one.path.resolve() not in enrolled]
    faces = portraits(judge, [one.path for one in (*known, *asked)], padding)
    known = _readable(gallery, known, faces, problems)
    asked = _readable(probes, asked, faces, problems)
    if not asked:
        why = f" The first of {len(problems)} problems: {problems[0]}." if problems else ""
        raise InvalidRequest(f"Nothing can be measured: no probe is left.{why}")
    answers = _search(known, asked, faces, judge)
    if not any(answer.known for answer in answers):
        problems.append(Problem(str(probes), 0, NOBODY))
    return _Report(answers, known, faces, judge, problems).evaluation()


def _readable(
    place: Path,
    found: Sequence[Labelled],
    faces: Mapping[Path, Portrait],
    problems: list[Problem],
) -> list[Labelled]:
    for one in found:
        if faces[one.path].trouble:
            problems.append(problem(place, one, faces[one.path].trouble))
    return [one for one in found if not faces[one.path].trouble]


def _search(
    known: Sequence[Labelled],
    asked: Sequence[Labelled],
    faces: Mapping[Path, Portrait],
    judge: Judge,
) -> list[Answer]:
    """Put the gallery into an index and look every probe up."""
    with_face = [one for one in known if faces[one.path].vector is not None]
    subjects = {name: i for i, name in enumerate(dict.fromkeys(one.subject for one in known))}
    if not with_face:
        raise InvalidRequest("Nothing can be measured: no picture of the gallery has a face.")
    index = open_index(BACKEND, judge.pipeline.embedder.dimension or 0)
    vectors = np.stack([v for one in with_face if (v := faces[one.path].vector) is not None])
    numbers = np.array([subjects[one.subject] for one in with_face], np.int64)
    index.add(np.arange(len(with_face), dtype=np.int64), numbers, vectors)

    def look(probe: Labelled) -> Answer:
        face, own = faces[probe.path], subjects.get(probe.subject)
        hits: Sequence[Hit] = ()
        if face.vector is not None:
            hits = index.search(face.vector[None], max(RANKS), vectors.__getitem__)[0]
        rank = next((i for i, hit in enumerate(hits, 1) if hit.subject == own), None)
        return Answer(probe, face, own is not None, tuple(hits), rank)

    return judge.map("searching", asked, look)


class _Report:
    """The figures of an identification, in every form."""

    def __init__(
        self,
        answers: Sequence[Answer],
        gallery: Sequence[Labelled],
        faces: Mapping[Path, Portrait],
        judge: Judge,
        problems: Sequence[Problem],
    ) -> None:
        self.answers = answers
        self.gallery = gallery
        self.faces = faces
        self.judge = judge
        self.problems = tuple(problems)
        self.known = [answer for answer in answers if answer.known]
        self.unknown = [answer for answer in answers if not answer.known]
        self.subjects = list(dict.fromkeys(one.subject for one in gallery))
        # By the number of its key.
        self.examples = [one for one in gallery if faces[one.path].vector is not None]
        self.points = [p for rate in RATES if (p := self._open_set(rate))]

    def evaluation(self) -> Evaluation:
        tables = [self._headline()]
        if self.points:
            tables.append(self._open_set_table())
        return Evaluation(
            "identification",
            self._figures(),
            tuple(tables),
            self._charts(),
            self._mistakes(),
            self.problems,
        )

    @property
    def not_detected(self) -> int:
        pictures = {one.path for one in self.gallery} | {a.probe.path for a in self.answers}
        return sum(self.faces[path].vector is None for path in pictures)

    def _rank(self, rank: int) -> float | None:
        """Return the share of known probes whose subject is among the first so many."""
        if not self.known:
            return None
        return float(np.mean([a.rank is not None and a.rank <= rank for a in self.known]))

    def _rank1_found(self) -> float | None:
        seen = [answer for answer in self.known if answer.hits]
        return float(np.mean([answer.rank == 1 for answer in seen])) if seen else None

    def _open_set(self, rate: float) -> OpenSet | None:
        """Return the point at which at most this share of unknown probes is named.

        With too few of them for even one, only the usual rate has a point: no unknown passes it.
        """
        scores = np.sort(np.array([a.score for a in self.unknown], np.float64))[::-1]
        allowed = metrics.allowance(rate, len(scores))
        if not self.known or not len(scores) or (not allowed and rate != USUAL_RATE):
            return None
        threshold = float(scores[allowed]) if np.isfinite(scores[allowed]) else -1.0
        found = [answer.rank == 1 and answer.score > threshold for answer in self.known]
        positives = int(np.count_nonzero(scores > threshold))
        missed = 1 - float(np.mean(found))
        return OpenSet(rate, threshold, missed, positives, len(scores))

    def _similarity(self, cosine: float) -> float:
        return float(similarities(self.judge.pipeline.calibration, np.array([cosine]))[0])

    def _figures(self) -> dict[str, object]:
        pipeline = self.judge.pipeline
        missing = [a for a in self.answers if not a.hits]
        return {
            "model": pipeline.embedder.name,
            "detector": pipeline.detector.name,
            "runtime": self.judge.runtime,
            "data": {
                "subjects": len(self.subjects),
                "gallery": len(self.gallery),
                "probes": len(self.answers),
                "known": len(self.known),
                "unknown": len(self.unknown),
                "gallery_not_detected": len(self.gallery) - len(self.examples),
                "probes_not_detected": len(missing),
                "left_out": len(self.problems),
            },
            "rank1": self._rank(1),
            "rank1_found": self._rank1_found(),
            "rank5": self._rank(5),
            "rank10": self._rank(10),
            "fnir_at_fpir": {exponent(point.wanted): point.missed for point in self.points},
            "fnir_at_fpir_detail": [
                {
                    "fpir": point.wanted,
                    "fnir": point.missed,
                    "cosine": point.threshold,
                    "similarity": self._similarity(point.threshold),
                    "false_positives": point.positives,
                    "unknown": point.unknown,
                }
                for point in self.points
            ],
            "not_detected": self.not_detected,
        }

    def _headline(self) -> Table:
        known, unknown = len(self.known), len(self.unknown)
        rows: list[tuple[object, ...]] = [
            (f"Right subject among the first {rank}", percent(self._rank(rank)), f"{known:,} known")
            for rank in RANKS
        ]
        rows[0] = ("Right subject first (rank-1)", *rows[0][1:])
        if any(not answer.hits for answer in self.known):
            rows.insert(1, ("The same, where a face is found", percent(self._rank1_found()), ""))
        for point in self.points:
            name = f"Known people missed (FNIR) at FPIR {exponent(point.wanted)}"
            rows.append((name, percent(point.missed), _basis(point)))
        rows += [
            ("Pictures without a face", f"{self.not_detected:,}", ""),
            ("Gallery", counted(len(self.subjects), "subject"),
             counted(len(self.gallery), "picture")),
            ("Probes", counted(len(self.answers), "picture"), f"{unknown:,} of unknown people"),
        ]  # fmt: skip
        return Table("Identification", ("figure", "value", "on"), tuple(rows))

    def _open_set_table(self) -> Table:
        rows = tuple(
            (
                exponent(point.wanted),
                percent(point.missed),
                f"{self._similarity(point.threshold):.3f}",
                f"{point.threshold:.3f}",
                _basis(point),
            )
            for point in self.points
        )
        title = "Known people missed, by how many unknown ones are named"
        return Table(title, ("FPIR", "FNIR", "similarity", "cosine", "stands on"), rows)

    def _charts(self) -> tuple[Chart, ...]:
        charts: list[Chart] = []
        if self.known:
            ranks = np.arange(1, max(RANKS) + 1, dtype=np.float64)
            shares = np.array([self._rank(int(rank)) for rank in ranks], np.float64)
            title = "Right subject among the first"
            charts.append(Curve(title, "rank", "share of known probes", (("CMC", ranks, shares),)))
        if self.known and self.unknown:
            fpir, fnir = self._trade()
            charts.append(
                Curve("Known people missed, by unknown people named", "FPIR", "FNIR",
                      (("probes", fpir, fnir),), log_x=True)
            )  # fmt: skip
        groups = (
            ("right subject", [a for a in self.known if a.rank == 1]),
            ("wrong subject", [a for a in self.known if a.rank != 1]),
            ("unknown person", self.unknown),
        )
        calibration = self.judge.pipeline.calibration
        series = [
            (name, similarities(calibration, np.array([a.score for a in members], np.float64)))
            for name, members in groups
            if members
        ]
        marker = next((p.threshold for p in self.points if p.wanted == USUAL_RATE), None)
        limit = None if marker is None else self._similarity(marker)
        title = "Similarity of the nearest subject"
        return (*charts, Histogram(title, "similarity", tuple(series), limit))

    def _trade(self) -> tuple[F64, F64]:
        """Return FPIR and FNIR at every threshold that changes one of them."""
        right = np.array([a.score if a.rank == 1 else -np.inf for a in self.known], np.float64)
        others = np.array([a.score for a in self.unknown], np.float64)
        labels = np.array([True] * len(right) + [False] * len(others))
        _, fpir, found = metrics.rates(np.concatenate([right, others]), labels)
        x, y = metrics.thinned(fpir, found)
        return x[x > 0], 1 - y[x > 0]

    def _mistakes(self) -> tuple[Mistake, ...]:
        """Show probes beside the example that they were taken for."""
        wrong = [a for a in self.answers if a.hits and a.rank != 1]
        wrong.sort(key=lambda answer: -answer.score)
        return tuple(self.judge.map("drawing the worst answers", wrong[: 2 * WORST], self._mistake))

    def _mistake(self, answer: Answer) -> Mistake:
        hit = answer.hits[0]
        example = self.examples[hit.key]
        who = answer.probe.subject or "somebody unknown"
        told = f"{who} (not in the gallery)" if answer.probe.subject and not answer.known else who
        similarity = self._similarity(hit.cosine)
        caption = (
            f"{told} is nearest to {example.subject}, similarity {similarity:.3f} "
            f"({answer.probe.path.name}, {example.path.name})"
        )
        pictures = (crop(self.judge, answer.face), crop(self.judge, self.faces[example.path]))
        return Mistake(caption, pictures)


def _basis(point: OpenSet) -> str:
    if not point.positives:
        return f"none of {point.unknown:,} unknown passes: too few for this rate"
    return f"{counted(point.positives, 'false positive')} of {point.unknown:,} unknown"
