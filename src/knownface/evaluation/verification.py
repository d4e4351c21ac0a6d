"""Pairs of pictures: does each show one person, or two?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from knownface.evaluation import metrics
from knownface.evaluation.judging import Judge
from knownface.evaluation.metrics import Fold, OperatingPoint
from knownface.evaluation.pairs import Compared, all_pairs, compare
from knownface.evaluation.portraits import crop, similarities
from knownface.evaluation.results import Chart, Curve, Evaluation, Histogram, Mistake, Table
from knownface.evaluation.strangers import Counted
from knownface.evaluation.wording import counted, exponent, percent
from knownface.types import Calibration

# False accept rates, as far as there are pairs enough for them.
RATES: Final = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
# The rate at whose threshold groups are compared.
SHARED_RATE: Final = 1e-3
WORST: Final = 12


def evaluate(
    labels: Path, images: Path, judge: Judge, *, by: str | None = None, padding: float = 0.0
) -> Evaluation:
    """Measure how well same and different people are told apart.

    `by` names a column of groups; `padding` is the share of its sides that every picture gets in
    black on each.
    """
    compared = compare(labels, images, judge, by=by, padding=padding)
    return summary(compared, all_pairs(compared, images), judge, by=by)


def summary(
    compared: Compared, crowd: tuple[Counted, str], judge: Judge, *, by: str | None = None
) -> Evaluation:
    """Return the figures of pairs that were compared, and of all pairs of their pictures."""
    return _Report(compared, crowd, judge, by).evaluation()


class _Report:
    """The figures of compared pairs, in every form."""

    def __init__(
        self, compared: Compared, crowd: tuple[Counted, str], judge: Judge, by: str | None
    ) -> None:
        self.compared = compared
        self.crowd, self.known_by = crowd
        self.judge = judge
        self.by = by
        self.calibration: Calibration = judge.pipeline.calibration
        scores, same = compared.scores, compared.same
        given = [pair.fold for pair in compared.pairs]
        # A single fold leaves nothing to choose its threshold on.
        self.given_folds = len(set(given)) > 1
        folds = given if self.given_folds else metrics.made_folds(same)
        self.folds: list[Fold] = metrics.by_fold(scores, same, folds)
        self.threshold = metrics.best_threshold(scores, same)
        self.points = [p for rate in RATES if (p := metrics.accepted_at(scores, same, rate))]
        self.eer, self.eer_threshold = metrics.equal_error(scores, same)

    @property
    def accuracy(self) -> float:
        return float(np.mean([fold.accuracy for fold in self.folds]))

    @property
    def spread(self) -> float:
        return float(np.std([fold.accuracy for fold in self.folds]))

    @property
    def accuracy_found(self) -> float:
        """The accuracy of the pairs with two faces, at the thresholds of their folds."""
        c = self.compared
        names = [pair.fold for pair in c.pairs] if self.given_folds else metrics.made_folds(c.same)
        thresholds = {fold.name: fold.threshold for fold in self.folds}
        limits = np.array([thresholds[name] for name in names])
        return float(np.mean(((c.scores > limits) == c.same)[c.found]))

    def evaluation(self) -> Evaluation:
        groups = self._groups()
        tables = [self._headline(), self._accepted(), self._all_pairs()]
        if groups:
            tables.append(self._group_table(groups))
        return Evaluation(
            "verification",
            self._figures(groups),
            tuple(tables),
            self._charts(),
            self._mistakes(),
            self.compared.problems,
        )

    def _similarity(self, cosine: float) -> float:
        return float(similarities(self.calibration, np.array([cosine]))[0])

    def _data(self) -> dict[str, int]:
        c = self.compared
        return {
            "pairs": len(c.pairs),
            "same": int(c.same.sum()),
            "different": int((~c.same).sum()),
            "pictures": c.pictures,
            "pairs_without_two_faces": int((~c.found).sum()),
            "bad_rows": sum(problem.line > 0 for problem in c.problems),
        }

    def _figures(self, groups: Sequence[Mapping[str, object]]) -> dict[str, object]:
        pipeline = self.judge.pipeline
        return {
            "model": pipeline.embedder.name,
            "detector": pipeline.detector.name,
            "runtime": self.judge.runtime,
            "data": self._data(),
            "accuracy": self.accuracy,
            "accuracy_std": self.spread,
            "accuracy_found": self.accuracy_found,
            "folds": [
                {"fold": f.name, "accuracy": f.accuracy, "threshold": f.threshold, "pairs": f.count}
                for f in self.folds
            ],
            "tar_at_far": {exponent(point.wanted): point.rate for point in self.points},
            "tar_at_far_detail": [self._point(point) for point in self.points],
            "eer": self.eer,
            "not_detected": self.compared.not_detected,
            "threshold": {
                "cosine": self.threshold,
                "similarity": self._similarity(self.threshold),
            },
            "all_pairs": self._all_pairs_figures(),
            **({"groups": {"by": self.by, "values": list(groups)}} if groups else {}),
        }

    def _point(self, point: OperatingPoint) -> dict[str, object]:
        return {
            "far": point.wanted,
            "tar": point.rate,
            "cosine": point.threshold,
            "similarity": self._similarity(point.threshold),
            "false_accepts": point.accepts,
            "different_pairs": point.strangers,
        }

    def _all_pairs_figures(self) -> dict[str, object]:
        crowd = self.crowd
        thresholds = []
        for rate in RATES:
            found = crowd.strangers.threshold(rate)
            if found:
                cosine, accepts = found
                own = crowd.own.above(cosine) / len(crowd.own) if len(crowd.own) else None
                row = {"far": rate, "cosine": cosine, "similarity": self._similarity(cosine)}
                thresholds.append({**row, "tar": own, "false_accepts": accepts})
        return {
            "known_by": self.known_by,
            "different_pairs": len(crowd.strangers),
            "same_pairs": len(crowd.own),
            "thresholds": thresholds,
        }

    def _headline(self) -> Table:
        c, data = self.compared, self._data()
        folds = f"{counted(len(self.folds), 'fold')}{'' if self.given_folds else ', made here'}"
        rows: list[tuple[object, ...]] = [
            ("Accuracy", f"{percent(self.accuracy)} ± {100 * self.spread:.2f}", folds),
        ]
        if data["pairs_without_two_faces"]:
            left = counted(int(c.found.sum()), "pair")
            rows.append(("Accuracy where both faces are found", percent(self.accuracy_found), left))
        at = f"at similarity {self._similarity(self.eer_threshold):.3f}"
        rows += [
            (f"Same people accepted (TAR) at FAR {exponent(p.wanted)}", percent(p.rate), _basis(p))
            for p in self.points
        ]
        best = self._similarity(self.threshold)
        rows += [
            ("Equal error rate", percent(self.eer), at),
            ("Best threshold", f"similarity {best:.3f}", f"cosine {self.threshold:.3f}"),
            ("Pictures without a face", f"{c.not_detected:,}", f"of {c.pictures:,}"),
            ("Pairs", f"{data['pairs']:,}", f"{data['same']:,} same, {data['different']:,} not"),
        ]
        return Table("Verification", ("figure", "value", "on"), tuple(rows))

    def _accepted(self) -> Table:
        rows = []
        for rate in RATES:
            point = next((p for p in self.points if p.wanted == rate), None)
            if point is None:
                different = int((~self.compared.same).sum())
                too_few = f"needs {round(1 / rate):,} different pairs, there are {different:,}"
                rows.append((exponent(rate), "–", "–", "–", too_few))
            else:
                similarity = f"{self._similarity(point.threshold):.3f}"
                cells = (percent(point.rate), similarity, f"{point.threshold:.3f}", _basis(point))
                rows.append((exponent(rate), *cells))
        columns = ("FAR", "TAR", "similarity", "cosine", "stands on")
        return Table("Same people accepted, by how many strangers are", columns, tuple(rows))

    def _all_pairs(self) -> Table:
        crowd = self.crowd
        rows = []
        for rate in RATES:
            found = crowd.strangers.threshold(rate)
            if found is None:
                rows.append((exponent(rate), "–", "–", "–", "too few pairs"))
                continue
            cosine, accepts = found
            own = crowd.own.above(cosine) / len(crowd.own) if len(crowd.own) else None
            similarity = f"{self._similarity(cosine):.3f}"
            basis = counted(accepts, "false accept")
            rows.append((exponent(rate), percent(own), similarity, f"{cosine:.3f}", basis))
        title = (
            f"All {counted(len(crowd.strangers), 'pair')} of different people "
            f"and {len(crowd.own):,} of the same, as {self.known_by} tell"
        )
        return Table(title, ("FAR", "TAR", "similarity", "cosine", "stands on"), tuple(rows))

    def _groups(self) -> list[dict[str, object]]:
        """Return each group's figures, at the thresholds that all groups share."""
        if not self.by:
            return []
        c = self.compared
        names = np.array([pair.group for pair in c.pairs])
        shared = next((p.threshold for p in self.points if p.wanted == SHARED_RATE), None)
        limit = self.threshold if shared is None else shared
        groups = []
        for name in sorted(set(names.tolist())):
            scores, same = c.scores[names == name], c.same[names == name]
            accepted = scores > limit
            groups.append(
                {
                    "group": name,
                    "same": int(same.sum()),
                    "different": int((~same).sum()),
                    "accuracy": metrics.accuracy(scores, same, self.threshold),
                    "tar": float(np.mean(accepted[same])) if same.any() else None,
                    "far": float(np.mean(accepted[~same])) if not same.all() else None,
                    "false_accepts": int(accepted[~same].sum()),
                    "pairs_without_two_faces": int((~np.isfinite(scores)).sum()),
                    "threshold": limit,
                }
            )
        return groups

    def _group_table(self, groups: Sequence[Mapping[str, object]]) -> Table:
        columns = ("same", "different", "accuracy", "tar", "far", "false_accepts")
        rows = tuple(
            (
                group["group"],
                *(
                    percent(value) if isinstance(value := group[name], float | None) else value
                    for name in columns
                ),
            )
            for group in groups
        )
        similarity = self._similarity(float(str(groups[0]["threshold"])))
        title = f"By {self.by}: TAR and FAR at similarity {similarity:.3f}, the same for all"
        heads = ("same", "different", "accuracy", "TAR", "FAR", "false accepts")
        return Table(title, (str(self.by), *heads), rows)

    def _charts(self) -> tuple[Chart, ...]:
        c = self.compared
        thresholds, far, tar = metrics.rates(c.scores, c.same)
        x, y, _ = metrics.thinned(far, tar, thresholds)
        shown = (x > 0) & (y < 1)
        found = similarities(self.calibration, c.scores[c.found])
        same = c.same[c.found]
        middles, strangers = self.crowd.strangers.histogram(128)
        _, own = self.crowd.own.histogram(128)
        crowd = [("same person", middles, own)] if len(self.crowd.own) else []
        crowd.append(("different people", middles, strangers))
        accepted, refused = "false accept rate", "true accept rate"
        return (
            Curve("ROC: same people accepted, by strangers accepted", accepted, refused,
                  (("listed pairs", x, y),), log_x=True),
            Curve("DET: same people refused, by strangers accepted", accepted,
                  "false reject rate", (("listed pairs", x[shown], 1 - y[shown]),),
                  log_x=True, log_y=True),
            Histogram("Similarities of the listed pairs", "similarity",
                      (("same person", found[same]), ("different people", found[~same])),
                      self._similarity(self.threshold)),
            Curve("Cosines of all pairs", "cosine", "share of the pairs", tuple(crowd)),
        )  # fmt: skip

    def _mistakes(self) -> tuple[Mistake, ...]:
        """Show the pairs that are worst: alike though different, or the other way round."""
        c = self.compared
        wrong = np.where(c.same, self.threshold - c.scores, c.scores - self.threshold)
        wrong[~c.found] = -np.inf
        chosen: list[int] = []
        for kind in (True, False):
            rows = np.flatnonzero((c.same == kind) & c.found)
            chosen += rows[np.argsort(-wrong[rows], kind="stable")][:WORST].tolist()
        chosen.sort(key=lambda row: -wrong[row])
        return tuple(
            self.judge.map("drawing the worst pairs", chosen, lambda row: self._mistake(row))
        )

    def _mistake(self, row: int) -> Mistake:
        c = self.compared
        pair = c.pairs[row]
        accepted = c.scores[row] > self.threshold
        said = "taken for the same" if accepted else "taken for different"
        verdict = said if bool(accepted) != pair.same else "rightly told, but nearly not"
        similarity = self._similarity(float(c.scores[row]))
        whom = "the same person" if pair.same else "different people"
        names = f"{pair.a.name}, {pair.b.name}"
        crops = tuple(crop(self.judge, c.faces[path]) for path in (pair.a, pair.b))
        return Mistake(f"{whom}, similarity {similarity:.3f}: {verdict} ({names})", crops)


def _basis(point: OperatingPoint) -> str:
    return f"{counted(point.accepts, 'false accept')} of {point.strangers:,}"
