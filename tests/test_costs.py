"""What a request costs, in counts that no clock and no other program on the machine can change.

Whoever makes a request dearer has to change a number here, and to know why.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, event

import tiny_models
from databases import with_tables
from indexes import Stored
from knownface.app import App, build
from knownface.imaging import Decoder
from knownface.index.exact import ExactIndex
from knownface.recognition import Options
from knownface.settings import Settings
from knownface.types import Image, Service, ServiceType
from tiny_models import DETECTOR, EMBEDDER

FACES, DIMENSION = 60_000, 128
MATRIX_BYTES = FACES * DIMENSION  # of the codes alone; the float32 vectors have four times as many
SUBJECTS = 20


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
        detector=DETECTOR,
        embedder=EMBEDDER,
        slots=2,
        offline=True,
    )
    with build(settings) as opened:
        yield opened


@pytest.fixture
def service(app: App) -> Service:
    """A service with faces, whose index has been built."""
    made, _ = app.accounts.create_service("default", "faces", ServiceType.RECOGNITION)
    for number in range(SUBJECTS):
        app.recognition.add_example(made, f"s{number}", tiny_models.portrait(number), Options())
    app.recognition.recognize(made, tiny_models.portrait(1), Options())
    return made


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements that are sent to any database."""
    sent: list[str] = []

    def hear(*heard: object) -> None:
        sent.append(" ".join(str(heard[2]).split()))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


@contextmanager
def model_runs(app: App) -> Iterator[Counter[str]]:
    """Count the runs of each model."""
    runs: Counter[str] = Counter()
    app.scheduler.on_run = lambda name, batch, *_: runs.update({name: batch})
    try:
        yield runs
    finally:
        app.scheduler.on_run = None


def crowd(count: int) -> bytes:
    marks = [
        tiny_models.Mark(number, 16 + 152 * (number % 4), 16 + 152 * (number // 4), 128)
        for number in range(count)
    ]
    return tiny_models.encode(tiny_models.picture(marks, 640, 480), "PNG")


@pytest.mark.parametrize("faces", [1, 8])
def test_recognizing_runs_the_detector_once_and_the_embedder_once_a_face(
    app: App, service: Service, faces: int
) -> None:
    with model_runs(app) as runs:
        found = app.recognition.recognize(service, crowd(faces), Options())
    assert len(found) == faces
    assert runs == {DETECTOR: 1, EMBEDDER: faces}


def test_a_limit_spares_the_embedder_the_other_faces(app: App, service: Service) -> None:
    with model_runs(app) as runs:
        app.recognition.recognize(service, crowd(8), Options(limit=2))
    assert runs == {DETECTOR: 1, EMBEDDER: 2}


def test_a_picture_is_decoded_once(
    app: App, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = Decoder.decode

    def counted(self: Decoder, data: bytes, least: int = 0) -> Image:
        decoded.append(len(data))
        return decode(self, data, least)

    monkeypatch.setattr(Decoder, "decode", counted)
    app.recognition.recognize(service, crowd(8), Options())
    assert len(decoded) == 1


@pytest.mark.parametrize("faces", [1, 8])
def test_recognizing_asks_the_database_for_no_embedding(
    app: App, service: Service, faces: int
) -> None:
    with statements() as sent:
        app.recognition.recognize(service, crowd(faces), Options())
    queries = [text for text in sent if not text.startswith(("BEGIN", "PRAGMA", "COMMIT"))]
    assert not [text for text in queries if "embedding." in text or "photograph" in text]
    # The service's state, and the names of the hits that were not known yet, however many faces.
    assert len(queries) <= 3, queries


def outgrow(app: App, service: Service) -> None:
    """Let an index do as one does that is too large to hold vectors."""
    index = app.collections.get(service.id)._follower.index
    assert isinstance(index, ExactIndex)
    index._originals = None


@pytest.mark.parametrize("faces", [1, 8])
def test_recognizing_among_many_reads_the_few_embeddings_that_matter_in_one_statement(
    app: App, service: Service, faces: int
) -> None:
    outgrow(app, service)
    with statements() as sent:
        app.recognition.recognize(service, crowd(faces), Options())
    queries = [text for text in sent if not text.startswith(("BEGIN", "PRAGMA", "COMMIT"))]
    assert len([text for text in queries if "embedding.vector" in text]) == 1
    assert len([text for text in sent if text.startswith("BEGIN")]) <= 2
    assert len(queries) <= 4, queries


def test_a_request_on_an_unchanged_database_runs_no_statement(app: App) -> None:
    made, key = app.accounts.create_service("default", "faces", ServiceType.RECOGNITION)
    app.recognition.add_example(made, "Ada", tiny_models.portrait(1), Options())

    def request() -> str:
        service = app.accounts.authorize(key, ServiceType.RECOGNITION)
        found = app.recognition.recognize(service, tiny_models.portrait(1), Options())
        return found[0].matches[0].subject

    assert request() == "Ada"
    with statements() as sent:
        assert request() == "Ada"
        assert app.accounts.authorize_at_once(key, ServiceType.RECOGNITION) == made
    assert sent == []
    app.known_faces.rename_subject(made, "Ada", "Grace")
    with statements() as sent:
        assert request() == "Grace"
    assert sent


def test_adding_a_face_leads_the_next_search_to_read_that_face_alone(
    app: App, service: Service
) -> None:
    app.recognition.add_example(service, "one more", tiny_models.portrait(40), Options())
    collection = app.collections.get(service.id)
    before = len(collection)
    with statements() as sent:
        app.recognition.recognize(service, tiny_models.portrait(40), Options())
    read = [number for number, text in enumerate(sent) if "embedding.vector" in text]
    assert len(collection) == before + 1
    assert len(read) == 1
    assert " IN (" in sent[read[0]]


def allocated(work: Callable[[], object]) -> int:
    """Return how many bytes more than before were allocated at some moment of the work."""
    work()  # what is made once is not of interest
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def index() -> Stored[ExactIndex]:
    vectors = np.random.default_rng(3).standard_normal((FACES, DIMENSION), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = Stored(ExactIndex(DIMENSION))
    made.add(np.arange(FACES), np.arange(FACES) // 2, vectors)
    return made


def test_a_search_copies_no_collection(index: Stored[ExactIndex]) -> None:
    queries = np.eye(DIMENSION, dtype=np.float32)[:10]
    assert allocated(lambda: index.search(queries[:1], 5)) < MATRIX_BYTES / 4
    assert allocated(lambda: index.search(queries, 5)) < MATRIX_BYTES


def test_adding_and_removing_a_face_copies_no_collection(index: Stored[ExactIndex]) -> None:
    face = np.random.default_rng(4).standard_normal((1, DIMENSION), np.float32)
    face /= np.linalg.norm(face)
    keys = iter(range(FACES, FACES + 100))

    def come_and_go() -> None:
        key = np.array([next(keys)])
        index.add(key, key, face)
        index.remove(key)

    assert allocated(come_and_go) < MATRIX_BYTES / 10
