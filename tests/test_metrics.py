"""The figures of face recognition, by hand and against the slow way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knownface.evaluation import metrics

NEVER = -math.inf

# Scores of a coarse grid, so that many are equal.
scored = st.lists(
    st.tuples(st.sampled_from([NEVER, -0.5, 0.0, 0.1, 0.2, 0.3, 0.9]), st.booleans()),
    min_size=2,
    max_size=40,
).filter(lambda pairs: {b for _, b in pairs} == {True, False} and any(s > NEVER for s, _ in pairs))


def arrays(pairs: list[tuple[float, bool]]) -> tuple[metrics.F64, metrics.Bools]:
    return np.array([s for s, _ in pairs], np.float64), np.array([b for _, b in pairs])


def test_the_best_threshold_lies_half_way_between_two_people_s_scores() -> None:
    scores, same = arrays([(0.1, False), (0.2, False), (0.6, True), (0.8, True)])

    assert metrics.best_threshold(scores, same) == pytest.approx(0.4)
    assert metrics.accuracy(scores, same, 0.4) == 1


@given(scored)
def test_no_threshold_does_better_than_the_best(pairs: list[tuple[float, bool]]) -> None:
    scores, same = arrays(pairs)

    best = metrics.accuracy(scores, same, metrics.best_threshold(scores, same))

    tried = [-0.75, -0.25, 0.05, 0.15, 0.25, 0.6, 2.0]
    assert best == max(metrics.accuracy(scores, same, threshold) for threshold in tried)


def test_a_fold_is_judged_by_the_threshold_of_the_others() -> None:
    # By its own threshold the first fold would be all right; by that of the second it is not.
    scores, same = arrays([(0.1, False), (0.2, True), (0.4, False), (0.8, True)])

    folds = metrics.by_fold(scores, same, ["a", "a", "b", "b"])

    assert [(fold.name, fold.count) for fold in folds] == [("a", 2), ("b", 2)]
    assert [fold.accuracy for fold in folds] == [0.5, 0.5]
    assert [fold.threshold for fold in folds] == pytest.approx([0.6, 0.15])


def test_made_folds_have_their_share_of_both_kinds() -> None:
    same = np.array([True] * 20 + [False] * 30)

    folds = np.array(metrics.made_folds(same))

    assert sorted(set(folds.tolist()), key=int) == [str(n) for n in range(1, 11)]
    for name in set(folds.tolist()):
        assert same[folds == name].sum() == 2
        assert (~same[folds == name]).sum() == 3


def test_a_rate_allows_as_many_as_it_says() -> None:
    assert metrics.allowance(1e-3, 3000) == 3
    assert metrics.allowance(1e-2, 100) == 1
    assert metrics.allowance(1e-3, 999) == 0


def test_one_in_ten_strangers_is_let_in_and_three_of_four_others() -> None:
    strangers = np.linspace(0.0, 0.9, 10)
    scores = np.concatenate([strangers, [0.75, 0.85, 0.95, 0.99]])
    same = np.array([False] * 10 + [True] * 4)

    point = metrics.accepted_at(scores, same, 0.1)

    assert point is not None
    assert point.threshold == pytest.approx(0.8)
    assert (point.accepts, point.strangers, point.same) == (1, 10, 4)
    assert point.rate == 0.75


def test_a_rate_that_no_single_stranger_stands_for_has_no_point() -> None:
    scores, same = arrays([(0.1, False)] * 99 + [(0.9, True)])

    assert metrics.accepted_at(scores, same, 0.01) is None


@given(scored, st.sampled_from([0.05, 0.1, 0.3, 0.5]))
def test_a_point_accepts_no_more_strangers_than_allowed(
    pairs: list[tuple[float, bool]], rate: float
) -> None:
    scores, same = arrays(pairs)

    point = metrics.accepted_at(scores, same, rate)

    if point is None:
        assert rate * np.sum(~same) < 1
    else:
        assert np.sum(scores[~same] > point.threshold) == point.accepts <= rate * point.strangers
        assert np.mean(scores[same] > point.threshold) == point.rate
        # No lower threshold would do.
        assert np.sum(scores[~same] >= point.threshold) > rate * point.strangers


def test_equal_errors_meet_between_two_thresholds() -> None:
    # At 0.5 one of four strangers is accepted and one of four others refused.
    strangers, own = [0.1, 0.2, 0.3, 0.6], [0.4, 0.7, 0.8, 0.9]
    scores, same = np.array(strangers + own), np.array([False] * 4 + [True] * 4)

    rate, threshold = metrics.equal_error(scores, same)

    assert rate == pytest.approx(0.25)
    assert 0.4 <= threshold <= 0.6


def test_people_who_are_told_apart_without_a_mistake_have_no_equal_error() -> None:
    scores, same = arrays([(0.1, False), (0.2, False), (0.6, True), (0.8, True)])

    assert metrics.equal_error(scores, same)[0] == 0


def test_faces_that_are_never_found_make_errors_that_no_threshold_mends() -> None:
    scores, same = arrays([(0.1, False), (NEVER, True), (NEVER, True), (0.9, True)])

    rate, threshold = metrics.equal_error(scores, same)

    assert rate == pytest.approx(2 / 3)
    assert math.isfinite(threshold)


@given(scored)
def test_equal_error_lies_where_the_rates_cross(pairs: list[tuple[float, bool]]) -> None:
    scores, same = arrays(pairs)
    thresholds, false_accepts, true_accepts = metrics.rates(scores, same)

    rate, _ = metrics.equal_error(scores, same)

    refused = 1 - true_accepts
    # As many strangers or own must err on one side of it, and on the other.
    assert np.min(np.maximum(false_accepts, refused)) >= rate - 1e-9
    assert 0 <= rate <= 1
    for threshold, accepted in zip(thresholds, false_accepts, strict=True):
        assert accepted == pytest.approx(np.mean(scores[~same] > threshold))


def test_a_thinned_curve_keeps_its_ends_and_its_shape() -> None:
    x = np.logspace(-6, 0, 5000)
    y = np.sqrt(x)

    few_x, few_y = metrics.thinned(x, y, points=100)

    assert len(few_x) <= 101
    assert (few_x[0], few_x[-1], few_y[-1]) == (x[0], x[-1], y[-1])
    assert np.sum(few_x < 1e-4) > 10


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=200), st.sampled_from([0.01, 0.1, 0.5]))
def test_counted_cosines_give_the_thresholds_of_kept_ones(
    cosines: list[float], rate: float
) -> None:
    tally = metrics.Tally()
    half = len(cosines) // 2
    tally.add(np.array(cosines[:half]))
    tally.add(np.array(cosines[half:], np.float32))

    assert len(tally) == len(cosines)
    found = tally.threshold(rate)
    if found is None:
        assert rate * len(cosines) < 1
        return
    threshold, accepts = found
    assert accepts <= rate * len(cosines)
    assert np.sum(np.array(cosines) >= threshold - 1e-5) >= accepts
    assert np.sum(np.array(cosines) >= threshold + 1e-5) <= accepts
    assert tally.above(threshold) == accepts


def test_few_cosines_have_no_threshold_at_a_small_rate() -> None:
    tally = metrics.Tally()
    tally.add(np.linspace(0, 1, 99))

    assert tally.threshold(1e-2) is None
    assert tally.above(0.5) == 50


def test_a_tally_shows_how_its_cosines_are_distributed() -> None:
    tally = metrics.Tally()
    tally.add(np.array([-0.9, 0.9, 0.91, 0.92]))

    middles, shares = tally.histogram(4)

    assert middles.tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert shares.tolist() == [0.25, 0, 0, 0.75]


def test_a_single_fold_is_judged_by_its_own_threshold() -> None:
    scores, same = arrays([(0.1, False), (0.2, True)])

    (fold,) = metrics.by_fold(scores, same, ["1", "1"])

    assert fold.accuracy == 1
    assert fold.threshold == pytest.approx(0.15)
