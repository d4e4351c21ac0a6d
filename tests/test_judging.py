"""What a judge sees in a picture: which face is meant, and what becomes of the unreadable."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from judges import tiny_judge
from knownface.errors import UnreadableImage
from knownface.evaluation.judging import Judge, overlap
from knownface.types import Box, Image
from tiny_models import Mark, picture, portrait


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    with tiny_judge(tmp_path_factory.mktemp("models")) as opened:
        yield opened


def test_the_face_in_the_middle_is_meant_though_others_are_larger(judge: Judge) -> None:
    image = Image(picture([Mark(1, 8, 8, 160), Mark(2, 280, 200, 64)], 640, 480))

    face = judge.central_face(image)

    assert face is not None
    assert face.box.x_min == pytest.approx(280, abs=2)


def test_a_label_means_the_face_that_it_overlaps_best(judge: Judge) -> None:
    image = Image(picture([Mark(1, 8, 8, 160), Mark(2, 280, 200, 64)], 640, 480))

    face, found = judge.face_at(image, Box(0, 0, 150, 150, 1))

    assert found
    assert face.box.x_max == pytest.approx(168, abs=2)
    assert face.landmarks is not None


def test_a_label_without_a_detected_face_is_the_face(judge: Judge) -> None:
    image = Image(picture([Mark(2, 280, 200, 64)], 640, 480))

    face, found = judge.face_at(image, Box(0, 0, 100, 100, 1))

    assert not found
    assert (face.box.x_max, face.landmarks) == (100, None)


def test_without_a_label_the_central_face_is_meant_or_the_whole_picture(judge: Judge) -> None:
    image = Image(picture([Mark(2, 280, 200, 64)], 640, 480))
    empty = Image(picture([], 640, 480))

    assert judge.face_at(image, None)[1]
    face, found = judge.face_at(empty, None)
    assert (face.box.width, face.box.height, found) == (640, 480, False)


def test_a_face_is_described_by_plugins(judge: Judge) -> None:
    image = Image(picture([Mark(2, 280, 200, 64)], 640, 480))
    face, _ = judge.face_at(image, None)

    assert judge.describe(image, face, ("calculator",)).embedding is not None


def test_a_file_that_is_no_picture_is_unreadable(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "sound.png").write_bytes(portrait(1))
    (tmp_path / "broken.png").write_bytes(b"no picture")

    assert judge.image(tmp_path / "sound.png").width == 256
    for name in ("broken.png", "absent.png", "."):
        with pytest.raises(UnreadableImage):
            judge.image(tmp_path / name)


def test_work_is_shared_and_its_order_kept(judge: Judge) -> None:
    told: list[tuple[str, int, int]] = []
    both = threading.Barrier(2, timeout=10)
    judge = Judge(judge.pipeline, judge._decoder, lambda *a: told.append(a), 2)

    def double(number: int) -> int:
        both.wait()  # two are at work, or this fails
        return 2 * number

    assert judge.map("doubling", [1, 2, 3, 4], double) == [2, 4, 6, 8]
    assert told == [("doubling", done, 4) for done in range(5)]


def test_what_goes_wrong_ends_the_whole(judge: Judge) -> None:
    with pytest.raises(ZeroDivisionError):
        judge.map("dividing", [1, 0, 2], lambda number: 1 // number)


def test_overlap_is_the_shared_part_of_both() -> None:
    one = Box(0, 0, 2, 2, 1)

    assert overlap(one, one) == 1
    assert overlap(one, Box(1, 0, 3, 2, 1)) == pytest.approx(1 / 3)
    assert overlap(one, Box(5, 5, 6, 6, 1)) == 0
    assert overlap(Box(0, 0, 0, 0, 1), Box(0, 0, 0, 0, 1)) == 0
    assert np.isfinite(overlap(one, Box(0, 0, 0, 0, 1)))
