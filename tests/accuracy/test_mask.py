"""The mask plugin on photographs that its network was neither trained nor chosen by."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accuracy.protocol import default_judge, default_pipeline, evaluation_folder, show
from knownface.evaluation import mask
from knownface.evaluation.judging import Judge

pytestmark = pytest.mark.accuracy

PARTS = Path(__file__).parents[2] / "training" / "mask" / "parts.csv"


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with default_pipeline() as opened:
        yield default_judge(opened)


def test_masks_are_told_from_faces_and_from_masks_worn_wrongly(
    judge: Judge, tmp_path: Path
) -> None:
    folder = evaluation_folder("mask-dev")

    found = mask.evaluate(validation(folder, tmp_path / "labels.csv"), folder / "images", judge)

    show(found)
    told: Any = found.figures
    assert found.problems == ()
    # What holds now. Aimed at are 96, 93 and 98.5 %; see docs/models/mask.md.
    assert told["accuracy"] >= 0.955
    assert told["balanced_accuracy"] >= 0.87
    assert told["mask_vs_none"] >= 0.98


def validation(folder: Path, target: Path) -> Path:
    """Write the labels of the pictures that are kept for validation, and return their file."""
    with PARTS.open(encoding="utf-8", newline="") as stream:
        kept = {row["picture"] for row in csv.DictReader(stream) if row["part"] == "validation"}
    columns, *rows = (folder / "labels.csv").read_text("utf-8").splitlines()
    mine = [row for row in rows if photograph(row.partition(",")[0]) in kept]
    target.write_text("\n".join([columns, *mine]) + "\n", "utf-8")
    return target


def photograph(file: str) -> str:
    """Return the photograph that a face was cut from: the part goes by it."""
    match = re.match(r"(maksssksksss\d+)_\d+\.\w+$", file)
    return match[1] if match else file
