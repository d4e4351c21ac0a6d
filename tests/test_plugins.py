"""The built-in attributes: what their numbers mean, and in which direction a head turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import tiny_attributes
import tiny_models
from knownface.types import Image
from knownface.vision.catalog import Catalog
from knownface.vision.pipeline import Pipeline
from knownface.vision.plugins.age import age_range
from pipelines import tiny_pipeline
from tiny_attributes import F64
from tiny_models import Mark, picture

Open = Callable[[Path], Pipeline]
FACE = Mark(1, 200, 160, 144)


@pytest.fixture
def open_pipeline() -> Iterator[Open]:
    with ExitStack() as opened:
        yield lambda folder: opened.enter_context(tiny_pipeline(Catalog.load(folder), slots=1))


@pytest.fixture
def seen(tmp_path: Path, open_pipeline: Open) -> Callable[..., dict[str, object]]:
    """Return what plugins say of one face whose mesh is the given one, in the crop's pixels."""

    def describe(points: F64, *plugins: str) -> dict[str, object]:
        tiny_models.write_models(tmp_path)
        lines = tiny_attributes.mesh_lines()
        tiny_models.write_model(tmp_path, "mesh", tiny_attributes.mesh(points), lines)
        image = Image(picture([FACE], 640, 480))
        (face,) = open_pipeline(tmp_path).analyze(image, plugins=plugins)
        return dict(face.attributes)

    return describe


# Age


def year(*years: int) -> np.ndarray:
    """Return the probabilities of a network that knows it is one of these years."""
    row = np.zeros(81, np.float32)
    row[list(years)] = 1 / len(years)
    return row


def test_an_age_that_is_certain_is_a_range_of_one_year() -> None:
    assert age_range(year(30)) == {"probability": pytest.approx(1), "low": 30, "high": 30}
    assert age_range(year(0)) == {"probability": pytest.approx(1), "low": 0, "high": 0}
    assert age_range(year(80)) == {"probability": pytest.approx(1), "low": 80, "high": 80}


def test_an_age_that_is_not_is_one_standard_deviation_around_the_mean() -> None:
    found = age_range(year(*range(20, 41)))
    assert (found["low"], found["high"]) == (24, 36)
    assert found["probability"] == pytest.approx(13 / 21)


def test_a_range_of_ages_stays_within_those_there_are() -> None:
    young, old = age_range(year(0, 0, 10)), age_range(year(60, 80, 80))
    assert young["low"] >= 0
    assert old["high"] <= 80


def test_what_the_network_is_sure_of_is_believed_less_than_it_says() -> None:
    row = year(30)
    row[[10, 30, 50]] = (0.04, 0.92, 0.04)
    assert 0.5 < age_range(row)["probability"] < 0.92


def test_an_age_says_whole_years(seen: Callable[..., dict[str, object]]) -> None:
    age = seen(tiny_attributes.in_crop(tiny_attributes.frontal_mesh()), "age")["age"]
    assert isinstance(age, dict)
    assert {name: type(value) for name, value in age.items()} == {
        "probability": float,
        "high": int,
        "low": int,
    }
    assert 0 <= age["low"] <= age["high"] <= 80
    assert 0 < age["probability"] <= 1


# Gender


def test_gender_is_the_likelier_of_two_values(seen: Callable[..., dict[str, object]]) -> None:
    gender = seen(tiny_attributes.in_crop(tiny_attributes.frontal_mesh()), "gender")["gender"]
    assert isinstance(gender, dict)
    assert gender["value"] in ("male", "female")
    assert 0.5 <= gender["probability"] <= 1


@pytest.mark.parametrize(("row", "value"), [((0.8, 0.2), "female"), ((0.3, 0.7), "male")])
def test_the_first_answer_is_female_and_the_second_male(
    tmp_path: Path, open_pipeline: Open, row: tuple[float, float], value: str
) -> None:
    tiny_models.write_models(tmp_path)
    content, lines = tiny_attributes.models()["dlib-gender"]
    content = tiny_attributes.gender(row)
    tiny_models.write_model(tmp_path, "dlib-gender", content, lines)
    image = Image(picture([FACE], 640, 480))
    (face,) = open_pipeline(tmp_path).analyze(image, plugins=("gender",))
    assert face.attributes["gender"] == {"probability": pytest.approx(max(row)), "value": value}


# Pose


def turned(axis: int, degrees: float) -> F64:
    """Return the frontal mesh turned about an axis (x right, y down, z away), in the crop."""
    angle = np.radians(degrees)
    rotation = np.eye(3)
    one, two = (axis + 1) % 3, (axis + 2) % 3
    rotation[[one, two], [one, two]] = np.cos(angle)
    rotation[two, one], rotation[one, two] = np.sin(angle), -np.sin(angle)
    # As the network does, which flattens faces.
    points = tiny_attributes.frontal_mesh() @ rotation.T * (1, 1, 1 / 1.2)
    return tiny_attributes.in_crop(points)


def angles(described: dict[str, object]) -> tuple[float, float, float]:
    pose = described["pose"]
    assert isinstance(pose, dict)
    assert all(type(value) is float for value in pose.values())
    return (pose["pitch"], pose["yaw"], pose["roll"])


STRAIGHT_PITCH = 3.5


def test_a_face_that_looks_at_the_camera_has_next_to_no_angles(
    seen: Callable[..., dict[str, object]],
) -> None:
    found = angles(seen(turned(0, 0), "pose"))
    np.testing.assert_allclose(found, (STRAIGHT_PITCH, 0, 0), atol=2)


@pytest.mark.parametrize("degrees", [-40, -15, 15, 40])
def test_yaw_is_positive_when_the_nose_points_to_the_left_of_the_picture(
    seen: Callable[..., dict[str, object]], degrees: float
) -> None:
    mesh = turned(1, degrees)
    nose = mesh[1, 0] - mesh[:, 0].mean()
    pitch, yaw, roll = angles(seen(mesh, "pose"))
    assert np.sign(yaw) == -np.sign(nose)
    assert abs(yaw) == pytest.approx(abs(degrees), abs=2)
    np.testing.assert_allclose((pitch, roll), (STRAIGHT_PITCH, 0), atol=2)


@pytest.mark.parametrize("degrees", [-30, 30])
def test_pitch_is_positive_when_the_nose_points_up(
    seen: Callable[..., dict[str, object]], degrees: float
) -> None:
    mesh = turned(0, degrees)
    nose = mesh[1, 1] - turned(0, 0)[1, 1]
    pitch, yaw, roll = angles(seen(mesh, "pose"))
    assert np.sign(pitch - STRAIGHT_PITCH) == -np.sign(nose)
    assert abs(pitch - STRAIGHT_PITCH) == pytest.approx(30, abs=2)
    np.testing.assert_allclose((yaw, roll), (0, 0), atol=2)


@pytest.mark.parametrize("degrees", [-25, 25])
def test_roll_is_positive_when_the_head_is_turned_counter_clockwise(
    seen: Callable[..., dict[str, object]], degrees: float
) -> None:
    mesh = turned(2, degrees)
    # The chin swings to the right of the picture when the head turns counter-clockwise.
    chin = mesh[152, 0] - mesh[:, 0].mean()
    pitch, yaw, roll = angles(seen(mesh, "pose"))
    assert np.sign(roll) == np.sign(chin)
    assert abs(roll) == pytest.approx(25, abs=2)
    np.testing.assert_allclose((pitch, yaw), (STRAIGHT_PITCH, 0), atol=2)


# Landmarks


def test_landmarks_of_the_mesh_lie_where_the_face_is(
    seen: Callable[..., dict[str, object]],
) -> None:
    mesh = tiny_attributes.in_crop(tiny_attributes.frontal_mesh())
    points = seen(mesh, "landmarks2d106")["landmarks2d106"]
    assert isinstance(points, list)
    assert len(points) == 106
    assert all(type(value) is int for point in points for value in point)
    # The crop is 1.35 times the box, around its middle.
    scale = 1.35 * FACE.side / 192
    middle = np.array([FACE.x, FACE.y]) + FACE.side / 2
    nose, chin = (middle + (mesh[v, :2] - 96) * scale for v in (4, 152))
    np.testing.assert_allclose(points[86], nose, atol=4)
    np.testing.assert_allclose(points[0], chin, atol=4)


def test_landmarks_of_the_mesh_never_leave_the_picture(
    seen: Callable[..., dict[str, object]],
) -> None:
    mesh = tiny_attributes.in_crop(tiny_attributes.frontal_mesh() * 20)
    points = np.array(seen(mesh, "landmarks2d106")["landmarks2d106"])
    assert points.min() == 0
    assert points[:, 0].max() == 639
    assert points[:, 1].max() == 479
