"""The table of false match rates: monotone, its own inverse, and never bolder than measured."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownface.errors import ConfigurationError, InvalidRequest
from knownface.types import FalseMatchRates, Threshold
from knownface.vision.catalog import Catalog, ModelSpec

ROWS = ((0.3, 4e-2), (0.5, 4e-3), (0.9, 2e-6))
TABLE = FalseMatchRates(ROWS)
SIMILARITIES = st.floats(0, 1)


@st.composite
def tables(draw: st.DrawFn) -> FalseMatchRates:
    count = draw(st.integers(1, 6))
    steps = st.lists(st.integers(1, 999), min_size=count, max_size=count, unique=True)
    similarities = sorted(step / 1000 for step in draw(steps))
    rates = sorted((10 ** -(step / 100) for step in draw(steps)), reverse=True)
    return FalseMatchRates(tuple(zip(similarities, rates, strict=True)))


@given(tables(), SIMILARITIES, SIMILARITIES)
def test_a_larger_similarity_never_has_a_larger_rate(
    table: FalseMatchRates, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert table.least <= table.rate(high) <= table.rate(low) * (1 + 1e-12) <= 1 + 1e-11


@given(tables(), st.floats(0, 1))
def test_rate_and_similarity_undo_each_other(table: FalseMatchRates, share: float) -> None:
    similarity = share * table.rows[-1][0]
    assert table.similarity(table.rate(similarity)) == pytest.approx(similarity, abs=1e-9)
    rate = table.least**share
    assert table.rate(table.similarity(rate)) == pytest.approx(rate, rel=1e-9)


@given(tables())
def test_the_rows_themselves_are_exact(table: FalseMatchRates) -> None:
    for similarity, rate in table.rows:
        assert table.rate(similarity) == rate
        assert table.similarity(rate) == similarity
    assert (table.rate(0), table.similarity(1)) == (1, 0)


@given(tables(), SIMILARITIES)
def test_no_smaller_rate_is_claimed_than_was_measured(
    table: FalseMatchRates, similarity: float
) -> None:
    assert table.rate(similarity) >= table.rows[-1][1] == table.least
    assert table.rate(1.0) == table.least
    with pytest.raises(ValueError, match="so few"):
        table.similarity(math.nextafter(table.least, 0))


def test_between_two_rows_the_logarithm_is_linear() -> None:
    assert TABLE.rate(0.4) == pytest.approx(math.sqrt(4e-2 * 4e-3))
    assert TABLE.rate(0.15) == pytest.approx(math.sqrt(4e-2))
    assert TABLE.similarity(math.sqrt(4e-3 * 2e-6)) == pytest.approx(0.7)


@pytest.mark.parametrize(
    "rows",
    [
        (),
        ((0.0, 0.5),),
        ((0.5, 1.0),),
        ((0.5, 0.0),),
        ((1.1, 0.1),),
        ((0.5, 0.1), (0.5, 0.01)),
        ((0.5, 0.1), (0.6, 0.1)),
        ((0.5, 0.1), (0.4, 0.01)),
        ((0.5, math.nan),),
        ((math.nan, 0.5),),
    ],
)
def test_rows_that_do_not_part_people_are_refused(rows: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        FalseMatchRates(rows)


@pytest.mark.parametrize(
    "values",
    [
        (None, None),
        (0.5, 0.5),
        (-0.1, None),
        (1.1, None),
        (math.nan, None),
        (None, 0.0),
        (None, 1.1),
        (None, math.nan),
    ],
)
def test_a_threshold_is_one_number_in_its_range(values: tuple[float | None, float | None]) -> None:
    with pytest.raises(ValueError, match=r"similarity|rate"):
        Threshold(*values)


# The table of a model


def model(fmr: tuple[tuple[float, float], ...] = ()) -> ModelSpec:
    return ModelSpec(name="some", task="detector", family="x", file="x", input="x", fmr=fmr)


def test_a_model_translates_a_rate_as_far_as_its_table_goes() -> None:
    spec = model(ROWS)
    assert spec.similarity_at(4e-3) == 0.5
    assert spec.similarity_at(2e-6) == 0.9
    with pytest.raises(InvalidRequest, match=r"max_fmr is 1e-06.* model some supports is 2e-06"):
        spec.similarity_at(1e-6)


def test_a_model_without_a_table_says_what_to_do() -> None:
    assert model().false_matches is None
    with pytest.raises(InvalidRequest, match=r"no table.*similarity_threshold.*model.toml"):
        model().similarity_at(1e-4)


def test_a_table_that_does_not_fall_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.toml").write_text(
        'name = "mine"\ntask = "embedder"\nfamily = "sface"\nfile = "m.onnx"\ninput = "data"\n'
        "size = [112, 112]\ndimension = 4\ncalibration = { c0 = 1.2, c1 = 6.0 }\n"
        "fmr = [[0.3, 0.01], [0.5, 0.02]]\n",
        "utf-8",
    )
    with pytest.raises(ConfigurationError, match=r"model.toml: fmr: similarities must rise"):
        Catalog.load(tmp_path, bundle="a_package_that_is_not_there")
