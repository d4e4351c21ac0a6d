"""From pairs to similarities: the fit, the table, and what is written into a model's folder."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models
from judges import put, tiny_judge, write_csv
from knownface.errors import ConfigurationError, InvalidRequest
from knownface.evaluation import calibration, descriptions
from knownface.evaluation.judging import Judge
from knownface.evaluation.metrics import F64, Tally
from knownface.types import Calibration
from knownface.vision.catalog import Catalog

NEW = Calibration(1.2, 5.5)
ROWS = ((0.1, 0.4), (0.5, 1e-2))
OWN = """\
# of my own
name = "mine"  # as in the settings
task = "embedder"
family = "sface"
file = "mine.onnx"
input = "data"
size = [112, 112]
dimension = 8
calibration = { c0 = 1.0, c1 = 6 }  # guessed
fmr = [[0.3, 5e-2], [0.5, 5e-3]]  # of somebody else
licence = "MIT"
"""


def cosines(distances: F64) -> F64:
    return np.asarray(1 - distances**2 / 2, np.float64)


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    with tiny_judge(tmp_path / "models") as opened:
        yield opened


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Return pairs of 16 people, a third of whom resemble number 20."""
    rows = []
    for n in range(16):
        share = 0.3 if n % 3 else 0.5
        put(tmp_path / "images", f"p{n}/a.png", n, like=(20, share))
        put(tmp_path / "images", f"p{n}/b.png", n)
        rows.append(f"p{n}/a.png,p{n}/b.png,1")
        rows.append(f"p{n}/a.png,p{(n + 1) % 16}/b.png,0")
    return write_csv(tmp_path / "pairs.csv", "file_a,file_b,same", rows)


def test_the_fit_finds_the_curve_that_chances_were_drawn_from() -> None:
    rng = np.random.default_rng(3)
    true = Calibration(1.15, 9.0)
    distances = rng.uniform(0.6, 1.5, 40_000)
    same = rng.random(40_000) < 1 / (1 + np.exp(-2 * true.c1 * (true.c0 - distances)))

    found = calibration.fit(cosines(distances), same)

    assert found.c1 == pytest.approx(true.c1, rel=0.05)
    # Each kind weighs the same, so the middle moves a little where there are more of one.
    assert found.c0 == pytest.approx(true.c0, abs=0.03)


def test_more_strangers_do_not_move_the_middle() -> None:
    rng = np.random.default_rng(4)
    own, strangers = rng.normal(0.9, 0.15, 300), rng.normal(1.35, 0.1, 300)
    once = np.array([True] * 300 + [False] * 300)
    often = np.array([True] * 300 + [False] * 3000)

    few = calibration.fit(cosines(np.concatenate([own, strangers])), once)
    many = calibration.fit(cosines(np.concatenate([own, np.tile(strangers, 10)])), often)

    assert many.c0 == pytest.approx(few.c0, abs=1e-6)
    assert many.c1 == pytest.approx(few.c1, rel=1e-4)


def test_people_who_are_told_apart_without_a_mistake_are_parted_in_the_middle() -> None:
    distances = np.array([0.8, 0.9, 1.3, 1.4])

    found = calibration.fit(cosines(distances), np.array([True, True, False, False]))

    assert found.c0 == pytest.approx(1.1, abs=1e-3)
    assert 5 < found.c1 < 1000


def test_labels_that_are_the_wrong_way_round_are_noticed() -> None:
    with pytest.raises(InvalidRequest, match="Are the labels right"):
        calibration.fit(cosines(np.array([0.8, 1.4])), np.array([False, True]))


def test_a_row_of_the_table_stands_on_enough_strangers() -> None:
    strangers = Tally()
    curve = Calibration(1.16, 6.6)
    # 1,000 who are nothing alike, 20 at similarity 0.65, 4 at 0.92.
    for count, similarity in ((1000, 0.02), (20, 0.65), (4, 0.92)):
        strangers.add(np.full(count, calibration.cosine_of(curve, similarity)))

    rows = calibration.rates_of(strangers, curve)

    # What 0.1 to 0.6 say is the same, and then nothing changes until too few are left.
    assert [(row.similarity, row.matches) for row in rows] == [(0.05, 24)]
    assert rows[0].rate == pytest.approx(24 / 1024, rel=0.01)


def test_rates_fall_from_row_to_row() -> None:
    strangers = Tally()
    rng = np.random.default_rng(5)
    strangers.add(np.clip(rng.normal(0.05, 0.1, 200_000), -1, 1))

    rows = calibration.rates_of(strangers, Calibration(1.16, 6.6))

    assert len(rows) >= 6
    assert all(a.rate > b.rate for a, b in pairwise(rows))
    assert rows[-1].matches >= calibration.LEAST_MATCHES


@pytest.mark.parametrize("similarity", [0.01, 0.3, 0.5, 0.95])
def test_a_cosine_and_its_similarity_belong_together(similarity: float) -> None:
    curve = Calibration(1.16, 6.6)

    cosine = calibration.cosine_of(curve, similarity)

    assert curve.similarity(cosine) == pytest.approx(similarity)
    assert calibration.cosine_of(Calibration(0.1, 1.0), 0.999999) == 1


def test_pairs_give_the_calibration_of_a_model(judge: Judge, pairs: Path) -> None:
    derived = calibration.derive(pairs, pairs.parent / "images", judge)

    told: Any = derived.evaluation.figures
    assert told["previous"] == {"c0": 1.16, "c1": 6.6}
    assert derived.calibration.c1 == 6.6
    assert 0.5 < derived.calibration.c0 < 1.414
    assert told["calibration"]["c0"] == derived.calibration.c0
    assert derived.fmr
    assert told["data"]["all_different_pairs"] == 32 * 31 // 2 - 16
    # What the table calls a similarity is one of the new curve.
    row = derived.rates[0]
    assert derived.calibration.similarity(row.cosine) == pytest.approx(row.similarity)
    assert [table.columns[0] for table in derived.evaluation.tables] == [
        "curve",
        "similarity",
        "until now",
    ]


def test_the_steepness_can_be_chosen(judge: Judge, pairs: Path) -> None:
    derived = calibration.derive(pairs, pairs.parent / "images", judge, steepness=12)

    assert derived.calibration.c1 == 12


def test_too_few_strangers_make_no_table(judge: Judge, tmp_path: Path) -> None:
    for n in range(2):
        put(tmp_path / "images", f"p{n}/a.png", n)
        put(tmp_path / "images", f"p{n}/b.png", n)
    rows = ["p0/a.png,p0/b.png,1", "p0/a.png,p1/a.png,0"]
    labels = write_csv(tmp_path / "few.csv", "file_a,file_b,same", rows)

    derived = calibration.derive(labels, tmp_path / "images", judge)

    assert derived.fmr == ()
    assert "too few for a table" in str(derived.evaluation.problems[0])


def test_a_description_keeps_everything_else() -> None:
    text = descriptions.changed(OWN, "mine", NEW, ROWS)

    read = tomllib.loads(text)
    assert read["calibration"] == {"c0": 1.2, "c1": 5.5}
    assert read["fmr"] == [list(row) for row in ROWS]
    before = tomllib.loads(OWN)
    assert {k: v for k, v in read.items() if k not in ("calibration", "fmr")} == {
        k: v for k, v in before.items() if k not in ("calibration", "fmr")
    }
    for comment in ("# of my own", "# as in the settings", "# guessed", "# of somebody else"):
        assert comment in text


@pytest.mark.parametrize(
    "written",
    [
        "[calibration]\nc0 = 1.0  # guessed\nc1 = 6\n",
        "calibration.c0 = 1.0\ncalibration.c1 = 6\n",
        "",
    ],
    ids=["table", "dotted", "none"],
)
def test_a_calibration_is_found_however_it_is_written(written: str) -> None:
    text = descriptions.changed(f'name = "mine"\n{written}', "mine", NEW, ROWS)

    assert tomllib.loads(text) == {
        "name": "mine",
        "calibration": {"c0": 1.2, "c1": 5.5},
        "fmr": [list(row) for row in ROWS],
    }


def test_one_model_of_several_is_changed() -> None:
    several = 'licence = "MIT"\n' + "".join(
        f'[[model]]\nname = "{name}"\ncalibration = {{ c0 = 1.0, c1 = 6.0 }}\n' for name in "abc"
    )

    models = tomllib.loads(descriptions.changed(several, "b", NEW, ROWS))["model"]

    assert [model["calibration"]["c0"] for model in models] == [1.0, 1.2, 1.0]
    assert ["fmr" in model for model in models] == [False, True, False]


def test_rates_of_another_calibration_do_not_stay() -> None:
    assert "fmr" not in tomllib.loads(descriptions.changed(OWN, "mine", NEW, ()))


def test_what_is_no_description_is_left_alone() -> None:
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        descriptions.changed("name = ", "mine", NEW, ROWS)
    with pytest.raises(ConfigurationError, match="does not describe other"):
        descriptions.changed(OWN, "other", NEW, ROWS)


def test_a_model_of_ones_own_is_calibrated_in_its_file(tmp_path: Path) -> None:
    tiny_models.write_models(tmp_path)
    catalog = Catalog.load(tmp_path)
    spec = catalog.spec(tiny_models.EMBEDDER)
    file = tmp_path / tiny_models.EMBEDDER / "model.toml"
    file.chmod(0o640)

    path = descriptions.write(catalog, spec, NEW, ROWS, "measured")

    assert path == file
    assert path.stat().st_mode & 0o777 == 0o640
    after = Catalog.load(tmp_path).spec(spec.name)
    assert (after.calibration, after.fmr) == (NEW, ROWS)
    assert sorted(os.listdir(path.parent)) == ["model.toml", f"{spec.file}"]


@pytest.fixture
def shipped(tmp_path: Path) -> Catalog:
    """Return a catalogue whose only model is as if it had come with the program."""
    tiny_models.write_models(tmp_path / "made")
    spec = Catalog.load(tmp_path / "made").spec(tiny_models.EMBEDDER)
    models = tmp_path / "models"
    models.mkdir()
    (models / spec.file).write_bytes((tmp_path / "made" / spec.name / spec.file).read_bytes())
    return Catalog([spec], models, own_folders={}, bundle=None)


def test_a_shipped_model_gets_a_folder_that_replaces_it(shipped: Catalog) -> None:
    spec = shipped.spec(tiny_models.EMBEDDER)

    path = descriptions.write(shipped, spec, NEW, ROWS, "measured on pairs.csv")

    assert path == shipped.models_dir / spec.name / "model.toml"
    text = path.read_text("utf-8")
    assert "measured on pairs.csv" in text
    loaded = Catalog.load(shipped.models_dir)
    after = loaded.spec(spec.name)
    assert (after.calibration, after.fmr) == (NEW, ROWS)
    for name in ("version", "file", "sha256", "bytes", "input", "size", "dimension", "licence"):
        assert getattr(after, name) == getattr(spec, name), name
    assert loaded.state(after) == "installed"
    # The weights are there once, under two names.
    assert path.with_name(spec.file).stat().st_nlink == 2


def test_a_second_calibration_changes_the_folder_of_the_first(shipped: Catalog) -> None:
    spec = shipped.spec(tiny_models.EMBEDDER)
    descriptions.write(shipped, spec, NEW, ROWS, "measured")

    descriptions.write(shipped, spec, Calibration(1.3, 7.0), (), "measured")

    after = Catalog.load(shipped.models_dir).spec(spec.name)
    assert (after.calibration, after.fmr) == (Calibration(1.3, 7.0), ())


def test_weights_that_are_not_there_cannot_be_replaced(shipped: Catalog) -> None:
    spec = shipped.spec(tiny_models.EMBEDDER)
    (shipped.models_dir / spec.file).unlink()

    with pytest.raises(ConfigurationError, match="is not installed"):
        descriptions.write(shipped, spec, NEW, ROWS, "measured")
    assert not (shipped.models_dir / spec.name / "model.toml").exists()


def test_a_folder_that_cannot_be_written_is_told(shipped: Catalog) -> None:
    spec = shipped.spec(tiny_models.EMBEDDER)
    (shipped.models_dir / spec.name).write_text("a file where the folder should be")

    with pytest.raises(ConfigurationError, match="Cannot write"):
        descriptions.write(shipped, spec, NEW, ROWS, "measured")
