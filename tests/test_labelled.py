"""What all measurements of attributes share: boxes of rows, groups of sizes, excerpts, failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tiny_attributes
import tiny_models
from judges import put, tiny_judge, write_csv
from knownface.errors import InvalidRequest
from knownface.evaluation import pose
from knownface.evaluation.judging import Judge
from knownface.evaluation.labelled import (
    MOST_MISTAKES,
    Wrong,
    by_size,
    excerpt,
    labelled_box,
    mistakes,
    sizes,
)
from knownface.imaging import Decoder
from knownface.types import Box, Image
from knownface.vision.catalog import Catalog
from pipelines import tiny_pipeline


def cells(*values: str) -> dict[str, str]:
    return dict(zip(("x_min", "y_min", "x_max", "y_max"), values, strict=True))


def test_a_row_has_a_box_or_none() -> None:
    assert labelled_box(cells("1", "2.5", "30", "40")) == Box(1, 2.5, 30, 40, 1.0)
    assert labelled_box(cells("", "", "", "")) is None
    assert labelled_box({}) is None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (("1", "2", "", "4"), "x_max is missing"),
        (("1", "2", "1", "4"), "the box is empty"),
        (("1", "2", "3", "x"), "y_max is 'x'"),
    ],
)
def test_a_bad_box_is_told(values: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        labelled_box(cells(*values))


@pytest.mark.parametrize(
    ("side", "group"), [(19, "under 20 px"), (20, "20 to 40 px"), (40, "from 40 px")]
)
def test_faces_are_grouped_by_their_shorter_side(side: float, group: str) -> None:
    assert by_size(Box(0, 0, 200, side, 1.0), (20, 40)) == group
    assert group in sizes((20, 40))


@pytest.mark.parametrize(
    ("box", "shape", "corner"),
    [
        (Box(40, 40, 60, 60, 1.0), (40, 40), (30, 30)),
        (Box(0, 0, 20, 10, 1.0), (25, 30), (0, 0)),
        (Box(500, 500, 520, 520, 1.0), (1, 1), (99, 99)),
    ],
    ids=["inside", "at the edge", "outside"],
)
def test_an_excerpt_shows_only_what_the_picture_has(
    box: Box, shape: tuple[int, int], corner: tuple[int, int]
) -> None:
    picture = Image(np.zeros((100, 100, 3), np.uint8))

    shown, place = excerpt(picture, box, 2.0)

    assert (shown.height, shown.width) == shape
    assert place == corner


def test_so_many_mistakes_are_shown_and_those_whose_picture_is_gone_without_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / put(tmp_path, "1.png", 1)
    wrong = [Wrong(tmp_path / "gone.png", None, "gone")]
    wrong += [Wrong(path, None, str(n)) for n in range(MOST_MISTAKES)]
    with tiny_judge(tmp_path / "models") as judge:
        shown = mistakes(judge, wrong)

    assert len(shown) == MOST_MISTAKES
    assert (shown[0].caption, shown[0].pictures) == ("gone", ())
    assert shown[1].pictures[0][:2] == b"\xff\xd8"


def test_a_face_on_which_a_plugin_fails_is_left_out(tmp_path: Path) -> None:
    models = tmp_path / "models"
    tiny_models.write_models(models)
    broken = tiny_attributes.mesh(np.zeros((10, 3)))
    tiny_models.write_model(models, "mesh", broken, tiny_attributes.mesh_lines())
    put(tmp_path, "1.png", 1)
    labels = write_csv(tmp_path / "l.csv", "file,pitch,yaw,roll", ["1.png,0,0,0"])

    with tiny_pipeline(Catalog.load(models)) as pipeline:
        judge = Judge(pipeline, Decoder(), lambda *_: None, 1)
        with pytest.raises(InvalidRequest, match=r"line 2: 1\.png: pose: no answer for this face"):
            pose.evaluate(labels, tmp_path, judge)
