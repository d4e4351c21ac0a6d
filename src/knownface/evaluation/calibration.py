"""From pairs of pictures to what a model's similarities mean: c0, c1 and false match rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from knownface.errors import InvalidRequest
from knownface.evaluation.judging import Judge
from knownface.evaluation.metrics import F64, Bools, Tally
from knownface.evaluation.pairs import all_pairs, compare
from knownface.evaluation.portraits import similarities
from knownface.evaluation.results import Chart, Curve, Evaluation, Histogram, Problem, Table
from knownface.evaluation.strangers import Counted
from knownface.evaluation.wording import counted, percent
from knownface.types import Calibration, FalseMatchRates

# The similarities that the table of a model has rows for, as far as strangers reach them.
SIMILARITIES: Final = (
    *(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99),
)
# A row that fewer false matches stand on would be chance.
LEAST_MATCHES: Final = 5
# Keeps the steepness of the fit finite where the two kinds do not overlap.
RIDGE: Final = 1e-6
STEPS: Final = 100


@dataclass(frozen=True, slots=True)
class Rate:
    """A row of the table: how many strangers reach a similarity, and how many that stands on."""

    similarity: float
    cosine: float
    rate: float
    matches: int


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """What pairs say about a model; `fitted` is the curve of chances, which is often too steep."""

    calibration: Calibration
    fitted: Calibration
    rates: tuple[Rate, ...]
    evaluation: Evaluation

    @property
    def fmr(self) -> tuple[tuple[float, float], ...]:
        return tuple((row.similarity, row.rate) for row in self.rates)


def derive(
    labels: Path,
    images: Path,
    judge: Judge,
    *,
    steepness: float | None = None,
    padding: float = 0.0,
) -> Derived:
    """Measure what the similarities of the embedder should be.

    `steepness` is c1; without it the model keeps its own. c0 is where the fitted chances of same
    and different are even. `padding` is that of a verification. Raises InvalidRequest when the
    pairs do not tell the two apart.
    """
    compared = compare(labels, images, judge, padding=padding)
    crowd, known_by = all_pairs(compared, images)
    scores, same = compared.scores[compared.found], compared.same[compared.found]
    fitted = fit(scores, same)
    old = judge.pipeline.calibration
    new = Calibration(round(fitted.c0, 4), round(old.c1 if steepness is None else steepness, 4))
    rates = rates_of(crowd.strangers, new)
    evaluation = Evaluation(
        "calibration",
        {
            "model": judge.pipeline.embedder.name,
            "detector": judge.pipeline.detector.name,
            "runtime": judge.runtime,
            "calibration": {"c0": new.c0, "c1": new.c1},
            "previous": {"c0": old.c0, "c1": old.c1},
            "fitted": {"c0": fitted.c0, "c1": fitted.c1},
            "fmr": [[row.similarity, row.rate] for row in rates],
            "false_matches": [row.matches for row in rates],
            "not_detected": compared.not_detected,
            "data": {
                "pairs": len(compared.pairs),
                "pictures": compared.pictures,
                "all_pairs_known_by": known_by,
                "all_different_pairs": len(crowd.strangers),
                "all_same_pairs": len(crowd.own),
            },
        },
        _tables(new, old, fitted, rates, crowd),
        _charts(new, scores, same, rates),
        problems=(*compared.problems, *_doubts(labels, crowd.strangers, rates)),
    )
    return Derived(new, fitted, rates, evaluation)


def fit(scores: F64, same: Bools) -> Calibration:
    """Fit the chance that two faces are of one person to their distance (logistic regression).

    Both kinds weigh the same, however many pairs there are of each. A little is taken off the
    steepness, which had no end where the two kinds do not overlap.
    """
    distances = np.sqrt(np.maximum(0.0, 2 - 2 * scores))
    weights = np.where(same, 0.5 / max(1, same.sum()), 0.5 / max(1, (~same).sum()))
    middle = (distances[same].mean() + distances[~same].mean()) / 2
    # (tanh(x) + 1) / 2 is the logistic function of 2 x.
    design = np.column_stack([np.ones_like(distances), -2 * (distances - middle)])
    ridge = np.diag([0.0, RIDGE])
    found = np.zeros(2)
    for _ in range(STEPS):
        chances = 1 / (1 + np.exp(-np.clip(design @ found, -500, 500)))
        slope = design.T @ (weights * (same - chances)) - ridge @ found
        spread = weights * np.maximum(chances * (1 - chances), 1e-9)
        curve = design.T @ (design * spread[:, None]) + ridge
        step = np.linalg.solve(curve, slope)
        found = found + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-9:
            break
    offset, steepness = found.tolist()
    if steepness <= 0:
        raise InvalidRequest(
            "Nothing can be calibrated: pairs of the same person are no more alike than others. "
            "Are the labels right?"
        )
    return Calibration(float(middle + offset / (2 * steepness)), float(steepness))


def rates_of(strangers: Tally, calibration: Calibration) -> tuple[Rate, ...]:
    """Return the rows of the table of false match rates that strangers are enough for."""
    rows: list[Rate] = []
    for similarity in SIMILARITIES:
        cosine = cosine_of(calibration, similarity)
        matches = strangers.above(cosine)
        rate = float(f"{matches / max(1, len(strangers)):.2e}")
        if matches >= LEAST_MATCHES and rate < (rows[-1].rate if rows else 1.0):
            rows.append(Rate(similarity, cosine, rate, matches))
    if rows:
        FalseMatchRates(tuple((row.similarity, row.rate) for row in rows))  # as a start reads it
    return tuple(rows)


def cosine_of(calibration: Calibration, similarity: float) -> float:
    """Return the cosine that has this similarity; beyond what cosines can be, their end."""
    distance = calibration.c0 - float(np.arctanh(2 * similarity - 1)) / calibration.c1
    return 1 - min(2.0, max(0.0, distance)) ** 2 / 2


def _doubts(labels: Path, strangers: Tally, rates: Sequence[Rate]) -> list[Problem]:
    if rates:
        return []
    reason = (
        f"{counted(len(strangers), 'pair')} of different people are too few for a table of false "
        f"match rates: each row needs {LEAST_MATCHES} that are alike"
    )
    return [Problem(str(labels), 0, reason)]


def _tables(
    new: Calibration,
    old: Calibration,
    fitted: Calibration,
    rates: Sequence[Rate],
    crowd: Counted,
) -> tuple[Table, ...]:
    curves = Table(
        "Similarity = (tanh((c0 - d) c1) + 1) / 2, d the distance of unit vectors",
        ("curve", "c0", "c1"),
        tuple(
            (name, f"{one.c0:.4f}", f"{one.c1:.4f}")
            for name, one in (("until now", old), ("new", new), ("fitted chances", fitted))
        ),
    )
    rows = []
    for row in rates:
        refused = 1 - crowd.own.above(row.cosine) / len(crowd.own) if len(crowd.own) else None
        one_in = f"1 in {1 / row.rate:,.0f}" if row.rate < 0.5 else "most"
        rows.append(
            (f"{row.similarity:.2f}", f"{row.cosine:.3f}", f"{row.rate:.2e}", one_in,
             f"{row.matches:,}", percent(refused))
        )  # fmt: skip
    heads = ("similarity", "cosine", "false match rate", "strangers", "stands on", "same refused")
    title = f"What a similarity means, by {counted(len(crowd.strangers), 'pair')} of strangers"
    moved = []
    for similarity in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        cosine = cosine_of(old, similarity)
        moved.append((f"{similarity:.2f}", f"{new.similarity(cosine):.3f}", f"{cosine:.3f}"))
    change = Table("What similarities become", ("until now", "new", "cosine"), tuple(moved))
    return curves, Table(title, heads, tuple(rows)), change


def _charts(new: Calibration, scores: F64, same: Bools, rates: Sequence[Rate]) -> tuple[Chart, ...]:
    found = similarities(new, scores)
    series = (("same person", found[same]), ("different people", found[~same]))
    charts: list[Chart] = [Histogram("New similarities of the listed pairs", "similarity", series)]
    if rates:
        x = np.array([row.similarity for row in rates], np.float64)
        y = np.array([row.rate for row in rates], np.float64)
        title = "False match rate by similarity"
        curve = Curve(title, "similarity", "rate", (("strangers", x, y),), log_y=True)
        charts.append(curve)
    return tuple(charts)
