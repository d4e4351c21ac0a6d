"""InsightFace's networks behind the plugins: which numbers become which answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

import tiny_insightface
from knownface.errors import ConfigurationError
from knownface.types import F32, Image
from knownface.vision.catalog import Catalog
from knownface.vision.pipeline import Pipeline
from pipelines import pipeline_of
from tiny_models import Mark, picture

FACE = Mark(1, 200, 160, 144)
CHOICE = dict.fromkeys(("age", "gender", "landmarks2d106", "mask"), "insight")
Described = Callable[..., dict[str, object]]


@pytest.fixture
def open_pipeline(tmp_path: Path) -> Iterator[Callable[..., Pipeline]]:
    """Open pipelines on a pack in which some files are replaced."""
    with ExitStack() as opened:

        def open_one(
            files: Mapping[str, bytes] | None = None,
            models: Mapping[str, str] = CHOICE,
            replaced: tuple[str, str] = ("", ""),
        ) -> Pipeline:
            tiny_insightface.write_pack(tmp_path)
            for name, content in (files or {}).items():
                (tmp_path / "insight" / name).write_bytes(content)
            description = tmp_path / "insight" / "model.toml"
            description.write_text(description.read_text("utf-8").replace(*replaced), "utf-8")
            catalog = Catalog.load(tmp_path)
            return opened.enter_context(
                pipeline_of(catalog, "insight", "insight", models=models, slots=1)
            )

        yield open_one


@pytest.fixture
def seen(open_pipeline: Callable[..., Pipeline]) -> Described:
    """Return what plugins say of one face, some files of the pack being replaced."""

    def describe(*plugins: str, **how: object) -> dict[str, object]:
        image = Image(picture([FACE], 640, 480))
        (face,) = open_pipeline(**how).analyze(image, plugins=plugins)
        return dict(face.attributes)

    return describe


# Age and gender


@pytest.mark.parametrize(
    ("numbers", "year", "value"),
    [
        ((2.0, 0.0, 0.314), 31, "female"),
        ((-1.0, 1.0, 0.0), 0, "male"),
        ((0.5, 0.4, 1.023), 102, "female"),
        ((0.0, 0.1, -0.2), 0, "male"),
    ],
)
@pytest.mark.parametrize("normalises", [True, False])
def test_three_numbers_are_female_male_and_a_hundredth_of_the_age(
    seen: Described,
    numbers: tuple[float, float, float],
    year: int,
    value: str,
    normalises: bool,
) -> None:
    content = tiny_insightface.genderage(always=numbers, normalises=normalises)
    found = seen("age", "gender", files={"genderage.onnx": content})
    assert found["age"] == {"probability": 1.0, "low": year, "high": year}
    sure = float(np.exp(max(numbers[:2])) / np.exp(numbers[:2]).sum())
    assert found["gender"] == {"probability": pytest.approx(sure), "value": value}


def test_one_run_serves_both(open_pipeline: Callable[..., Pipeline]) -> None:
    pipeline = open_pipeline()
    runs: list[tuple[str, int]] = []
    pipeline.scheduler.on_run = lambda name, batch, *_: runs.append((name, batch))
    marks = [FACE, Mark(2, 400, 60, 96)]
    pipeline.analyze(Image(picture(marks, 640, 480)), plugins=("gender", "age"))
    assert [name for name, _ in runs].count("insight-genderage") == 2  # once a face


def test_the_network_sees_the_box_and_half_as_much_again(
    open_pipeline: Callable[..., Pipeline],
) -> None:
    pipeline = open_pipeline()
    pixels = np.random.default_rng(5).integers(0, 255, (480, 640, 3), np.uint8)
    fed: list[F32] = []

    class Spy:
        def __call__(self, model: str, items: list[F32]) -> list[tuple[F32, ...]]:
            assert model == "insight-genderage"
            fed.extend(items)
            return [(np.zeros(3, np.float32),) for _ in items]

        def once(self, name: str, faces: object, compute: Callable[..., object]) -> object:
            del name
            return compute(faces)

    (face,) = pipeline.detect(Image(picture([Mark(1, 20, 300, 160)], 640, 480)))
    pipeline.plugins["age"](Image(pixels), [face], Spy())  # type: ignore[arg-type] # spies
    # Laid out by hand: the square of 240 around (100, 380) leaves the picture on two sides.
    padded = cv2.copyMakeBorder(pixels, 200, 200, 200, 200, cv2.BORDER_CONSTANT)
    square = padded[200 + 260 : 200 + 500, 200 - 20 : 200 + 220]
    scale = 96 / 240
    expected = cv2.warpAffine(square, np.array([[scale, 0, 0], [0, scale, 0]]), (96, 96))
    np.testing.assert_allclose(fed[0], expected.transpose(2, 0, 1), atol=1)


# Landmarks


def test_points_of_the_crop_become_points_of_the_picture(seen: Described) -> None:
    points = np.random.default_rng(1).uniform(-1, 1, (106, 2))
    content = tiny_insightface.landmarks(points)
    found = seen("landmarks2d106", files={"2d106det.onnx": content})["landmarks2d106"]
    # v + 1 half crops, and a crop is 1.5 times the box around its middle.
    middle = np.array([FACE.x, FACE.y]) + FACE.side / 2
    expected = middle + points * 1.5 * FACE.side / 2
    np.testing.assert_allclose(np.array(found), expected, atol=1.001)


def test_points_beyond_the_picture_lie_on_its_edge(seen: Described) -> None:
    content = tiny_insightface.landmarks(np.tile([-9.0, 9.0], (106, 1)))
    found = seen("landmarks2d106", files={"2d106det.onnx": content})["landmarks2d106"]
    assert found == [[0, 479]] * 106


# Masks


@pytest.mark.parametrize(
    ("answers", "value"),
    [
        ('["mask_weared_incorrect", "without_mask", "with_mask"]', "without_mask"),
        ('["without_mask", "with_mask", "mask_weared_incorrect"]', "with_mask"),
        ('["without_mask", "mask_weared_incorrect", "with_mask"]', "mask_weared_incorrect"),
        ('["without_mask", "with_mask"]', "with_mask"),
    ],
)
def test_a_description_says_what_the_outputs_of_a_mask_network_stand_for(
    seen: Described, answers: str, value: str
) -> None:
    sure = (0.2, 0.7, 0.1)[: answers.count(",") + 1]
    found = seen(
        "mask",
        files={"mask.onnx": tiny_insightface.mask(sure)},
        replaced=(
            "size = [48, 48]\nmean = 127.5\nscale = 0.0078125\nanswers = "
            '["mask_weared_incorrect", "without_mask", "with_mask"]',
            f"size = [64, 64]\nanswers = {answers}",
        ),
    )
    assert found["mask"] == {"probability": pytest.approx(0.7), "value": value}


@pytest.mark.parametrize(
    "answers", ['["with_mask"]', '["with_mask", "with_mask"]', '["with_mask", "masked"]']
)
def test_answers_that_nobody_knows_are_refused(
    open_pipeline: Callable[..., Pipeline], answers: str
) -> None:
    usual = '["mask_weared_incorrect", "without_mask", "with_mask"]'
    with pytest.raises(ConfigurationError, match="answers has to name"):
        open_pipeline(replaced=(usual, answers))


# The choice


@pytest.mark.parametrize(
    ("slug", "model", "families"),
    [
        ("age", "mesh", "dlib-age, genderage"),
        ("gender", "dlib-age", "dlib-gender, genderage"),
        ("mask", "insight-genderage", "mask"),
        ("landmarks2d106", "nosuch", "2d106det, mesh"),
    ],
)
def test_a_model_that_a_plugin_cannot_read_is_refused_with_its_setting(
    open_pipeline: Callable[..., Pipeline], slug: str, model: str, families: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_pipeline(models={slug: model})
    assert caught.value.message.startswith(f"KNOWNFACE_{slug.upper()}_MODEL: ")
    assert families in caught.value.message


def test_answers_say_which_model_they_come_from(open_pipeline: Callable[..., Pipeline]) -> None:
    pipeline = open_pipeline(models={"age": "insight-genderage"})
    assert pipeline.versions(("age", "gender")) == {
        "detector": "insight-detector",
        "age": "insight-genderage",
        "gender": "dlib-gender-v1",
    }


# Embedders


@pytest.mark.parametrize("normalises", [True, False])
@pytest.mark.parametrize("dimension", [128, 192, 512, 1024])
def test_an_embedding_has_as_many_numbers_as_the_model_says(
    open_pipeline: Callable[..., Pipeline], dimension: int, normalises: bool
) -> None:
    content = tiny_insightface.embedder(dimension, normalises=normalises)
    pipeline = open_pipeline(
        {"w600k_r50.onnx": content}, replaced=("dimension = 512", f"dimension = {dimension}")
    )
    vectors = []
    for mark in (FACE, Mark(1, 40, 40, 96), Mark(2, 200, 160, 144)):
        image = Image(picture([mark], 640, 480))
        (face,) = pipeline.analyze(image, plugins=("calculator",))
        assert face.embedding is not None
        vectors.append(face.embedding.vector)
    assert vectors[0].shape == (dimension,)
    assert np.linalg.norm(vectors[0]) == pytest.approx(1)
    assert vectors[0] @ vectors[1] > 0.95  # one face, painted in two sizes
    assert abs(vectors[0] @ vectors[2]) < 0.2  # another


def test_both_exports_of_one_network_give_one_embedding(
    tmp_path: Path,
) -> None:
    found = []
    for normalises in (True, False):
        folder = tmp_path / str(normalises)
        tiny_insightface.write_pack(folder)
        content = tiny_insightface.embedder(normalises=normalises)
        (folder / "insight" / "w600k_r50.onnx").write_bytes(content)
        with pipeline_of(Catalog.load(folder), "insight", "insight") as pipeline:
            image = Image(picture([FACE], 640, 480))
            (face,) = pipeline.analyze(image, plugins=("calculator",))
            assert face.embedding is not None
            found.append(face.embedding.vector)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_a_crowd_is_found_and_described(open_pipeline: Callable[..., Pipeline]) -> None:
    pipeline = open_pipeline()
    marks = [Mark(i, 16 + 152 * (i % 4), 16 + 168 * (i // 4), 144 - 8 * i) for i in range(8)]
    image = Image(picture(marks, 640, 360))
    plugins = ("age", "gender", "mask", "landmarks2d106", "calculator")
    faces = pipeline.analyze(image, plugins=plugins)
    assert [face.box.x_min for face in faces] == pytest.approx([m.x for m in marks], abs=0.01)
    assert all(set(face.attributes) == set(plugins) for face in faces)
    assert pipeline.analyze(Image(picture([], 640, 360)), plugins=plugins) == []
