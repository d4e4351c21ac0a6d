"""The use cases, on small real networks and a real database."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tiny_models
from databases import with_tables
from knownface.app import App, build
from knownface.collection import MOST_PREDICTIONS
from knownface.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NoFaceFound,
    SubjectNotFound,
    TooManyFaces,
)
from knownface.recognition import Options
from knownface.settings import Settings
from knownface.types import Service, ServiceType

ANN, BOB = tiny_models.portrait(1), tiny_models.portrait(2)
ANY = Options()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.write_models(folder)
    return folder


@pytest.fixture
def app(tmp_path: Path, models: Path, sqlite_tables: Path) -> Iterator[App]:
    settings = Settings(
        data=with_tables(tmp_path / "data", sqlite_tables),
        models_dir=models,
        detector=tiny_models.DETECTOR,
        embedder=tiny_models.EMBEDDER,
        slots=2,
        offline=True,
    )
    with build(settings) as opened:
        yield opened


@pytest.fixture
def service(app: App) -> Service:
    made, _ = app.accounts.create_service("default", "faces", ServiceType.RECOGNITION)
    return made


def names(app: App, service: Service, data: bytes) -> list[str]:
    return [m.subject for m in app.recognition.recognize(service, data, ANY)[0].matches]


def test_an_enrolled_person_is_recognized(app: App, service: Service) -> None:
    app.recognition.add_example(service, "Ann", ANN, ANY)
    app.recognition.add_example(service, "Bob", BOB, ANY)

    (found,) = app.recognition.recognize(
        service, tiny_models.portrait(1, like=(3, 0.1)), Options(prediction_count=5)
    )

    assert [match.subject for match in found.matches] == ["Ann", "Bob"]
    assert found.matches[0].similarity > 0.9 > 0.1 > found.matches[1].similarity


def test_erasing_takes_the_vector_out_of_memory_without_waiting_for_a_search(
    app: App, service: Service
) -> None:
    example = app.recognition.add_example(service, "Ann", ANN, ANY)
    app.recognition.add_example(service, "Bob", BOB, ANY)
    assert names(app, service, ANN) == ["Ann"]

    app.known_faces.delete_example(service, example.image_id)

    assert app.collections.sizes() == {service.id: 1}


def test_several_faces_cannot_be_enrolled_as_one(app: App, service: Service) -> None:
    with pytest.raises(TooManyFaces):
        app.recognition.add_example(service, "Both", tiny_models.group([1, 2]), ANY)
    with pytest.raises(NoFaceFound):
        app.recognition.add_example(service, "None", tiny_models.blank(), ANY)

    assert app.known_faces.subject_names(service) == []


def test_verification_takes_the_largest_source_face_only_with_a_limit_of_one(app: App) -> None:
    group = tiny_models.group([1, 2])
    with pytest.raises(TooManyFaces):
        app.recognition.verify(group, ANN, ANY)

    _, compared = app.recognition.verify(group, ANN, Options(limit=1))

    assert compared[0].similarity > 0.9


def test_photographs_are_kept_only_if_the_settings_say_so(tmp_path: Path, models: Path) -> None:
    settings = Settings(
        data=tmp_path / "data",
        models_dir=models,
        detector=tiny_models.DETECTOR,
        embedder=tiny_models.EMBEDDER,
        save_images_to_db=False,
        offline=True,
    )
    with build(settings) as app:
        service, _ = app.accounts.create_service("default", "faces", ServiceType.RECOGNITION)
        example = app.recognition.add_example(service, "Ann", ANN, ANY)
        assert app.known_faces.photograph(service, example.image_id) is None
        assert names(app, service, ANN) == ["Ann"]


@pytest.mark.parametrize("factor", [1e-300, 1e-3, 1, 1e30, 1e300])
def test_embeddings_of_any_length_are_compared_by_direction(app: App, factor: float) -> None:
    vector = (np.random.default_rng(1).standard_normal(tiny_models.DIMENSION) * factor).tolist()

    ((position, similarity),) = app.recognition.verify_embeddings(vector, [vector])

    assert position == 0
    assert similarity == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("embedding", "complaint"),
    [
        ([1.0] * 3, "128 finite numbers.* 3 was sent"),
        ([0.0] * 128, "all zero"),
        ([math.nan] * 128, "not finite"),
        ([math.inf] + [1.0] * 127, "not finite"),
    ],
)
def test_an_embedding_that_is_none_is_refused_with_what_is_expected(
    app: App, service: Service, embedding: list[float], complaint: str
) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        app.recognition.recognize_embeddings(service, [embedding], ANY)


def test_an_unknown_subject_cannot_be_renamed(app: App, service: Service) -> None:
    with pytest.raises(SubjectNotFound):
        app.known_faces.rename_subject(service, "Nobody", "Somebody")


def test_more_predictions_than_an_answer_can_hold_are_refused(app: App, service: Service) -> None:
    app.recognition.add_example(service, "Ann", ANN, ANY)
    app.recognition.add_example(service, "Bob", BOB, ANY)
    many = [[1.0] * tiny_models.DIMENSION] * (MOST_PREDICTIONS // 2 + 1)

    with pytest.raises(InvalidRequest, match="prediction_count"):
        app.recognition.recognize_embeddings(service, many, Options(prediction_count=2**31 - 1))

    few = app.recognition.recognize_embeddings(
        service, many[:10], Options(prediction_count=2**31 - 1)
    )
    assert [len(matches) for matches in few] == [2] * 10


def test_a_long_search_is_given_up_at_its_deadline(app: App, service: Service) -> None:
    app.recognition.add_example(service, "Ann", ANN, ANY)

    with pytest.raises(DeadlineExceeded):
        app.recognition.recognize_embeddings(
            service, [[1.0] * tiny_models.DIMENSION], Options(deadline=time.monotonic() - 1)
        )
