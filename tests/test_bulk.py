"""Importing and exporting: nothing twice, nothing lost, little in memory."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine, event

import tiny_models
from databases import with_tables
from knownface.app import App, build
from knownface.bulk.enrolment import Enrolment, Filed, Prepared
from knownface.bulk.exporting import Entry, Export, write_folder, write_zip, zip_pieces
from knownface.bulk.importing import Importer, Kind, Outcome
from knownface.bulk.sources import Item, open_source
from knownface.errors import KnownfaceError, ModelMismatch, ServiceNotFound, Unavailable
from knownface.recognition import Options
from knownface.settings import Settings
from knownface.types import Embedding, Service, ServiceType
from test_bulk_sources import ODD

ANN, BOB = tiny_models.portrait(1), tiny_models.portrait(2)
SMALL = tiny_models.encode(tiny_models.picture([tiny_models.Mark(1, 8, 8, 48)], 64, 64))
LIMIT = 5 << 20
OTHER = tiny_models.OTHER_EMBEDDER


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.write_models(folder)
    tiny_models.write_embedder(folder, OTHER, seed=7)
    return folder


@pytest.fixture(params=[True, False], ids=["photographs kept", "embeddings alone"])
def save_images(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def app(tmp_path: Path, models: Path, sqlite_tables: Path) -> Iterator[App]:
    with running(with_tables(tmp_path / "data", sqlite_tables), models) as opened:
        yield opened


def running(data: Path, models: Path, *, save_images: bool = True) -> App:
    return build(
        Settings(
            data=data,
            models_dir=models,
            detector=tiny_models.DETECTOR,
            embedder=tiny_models.EMBEDDER,
            slots=2,
            offline=True,
            save_images_to_db=save_images,
        )
    )


@pytest.fixture
def service(app: App) -> Service:
    return new_service(app)


def new_service(app: App, name: str = "faces") -> Service:
    return app.accounts.create_service("default", name, ServiceType.RECOGNITION)[0]


def enrolment(app: App, service: Service) -> Enrolment:
    return Enrolment(app.recognition, app.store, service, Options())


def importer(app: App, service: Service, **more: bool) -> Importer:
    return Importer(enrolment(app, service), jobs=2, max_file_size=LIMIT, **more)


def bring(app: App, service: Service, source: Path) -> Counter[str]:
    with open_source(source) as opened:
        return counted(list(importer(app, service).run(opened.items())))


def counted(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(outcome.kind.value for outcome in outcomes)


def item(data: bytes, subject: str = "Ann", **more: object) -> Item:
    return Item("x.png", subject, lambda _: data, **more)  # type: ignore[arg-type]  # as given


def numbered(number: int) -> bytes:
    """Return a small picture of one face that differs from all others in its bytes alone."""
    return SMALL + b"%d" % number


def collection(app: App, service: Service) -> dict[str, tuple[str, bytes]]:
    page = app.known_faces.examples(service, None, 0, 2000)
    found = {}
    for one in page.examples:
        photograph = app.known_faces.photograph(service, one.image_id)
        found[str(one.image_id)] = (one.subject, photograph.content if photograph else b"")
    return found


# Nothing twice


def test_what_became_of_each_picture_is_told(app: App, service: Service, tmp_path: Path) -> None:
    pictures = {
        "Ann/good.png": ANN,
        "Ann/again.png": ANN,
        "Bob/nobody.png": tiny_models.blank(),
        "Bob/several.png": tiny_models.group([1, 2]),
        "Bob/broken.png": b"broken",
        "Bob/large.png": bytes(LIMIT + 1),
        "\x07/bell.png": BOB,
        "stray.png": BOB,
    }
    for name, data in pictures.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with open_source(tmp_path / "source") as source:
        outcomes = list(importer(app, service).run(source.items()))
    kinds = {one.item.file: one.kind for one in outcomes}
    assert {kinds.pop("Ann/good.png"), kinds.pop("Ann/again.png")} == {Kind.ADDED, Kind.DUPLICATE}
    assert kinds == {
        "Bob/nobody.png": Kind.NO_FACE,
        "Bob/several.png": Kind.SEVERAL_FACES,
        "Bob/broken.png": Kind.UNREADABLE,
        "Bob/large.png": Kind.TOO_LARGE,
        "\x07/bell.png": Kind.INVALID,
        "stray.png": Kind.INVALID,
    }
    for one in outcomes:
        assert bool(one.message) == one.kind.failed
        assert (one.image_id is not None) == (not one.kind.failed)
    assert [subject for subject, _ in collection(app, service).values()] == ["Ann"]


def test_an_import_that_is_repeated_adds_nothing(
    tmp_path: Path, models: Path, save_images: bool
) -> None:
    items = [item(numbered(n), f"Subject {n % 3}") for n in range(20)]
    with running(tmp_path / "data", models, save_images=save_images) as app:
        service = new_service(app)
        assert counted(list(importer(app, service).run(items))) == {"added": 20}
        before = collection(app, service)
        app.known_faces.rename_subject(service, "Subject 1", "Renamed")
        assert counted(list(importer(app, service).run(items))) == {"duplicate": 20}
        assert collection(app, service).keys() == before.keys()


def test_a_subject_is_the_same_however_it_is_spelt(app: App, service: Service) -> None:
    spellings = ["Zoë", "ZOE\u0308", "zoë"]
    outcomes = list(importer(app, service).run([item(ANN, name) for name in spellings]))
    assert counted(outcomes) == {"added": 1, "duplicate": 2}
    assert len({one.image_id for one in outcomes}) == 1


def test_two_imports_at_once_add_each_picture_once(app: App, service: Service) -> None:
    items = [item(numbered(n)) for n in range(60)]
    totals: Counter[str] = Counter()

    def run() -> None:
        totals.update(counted(list(importer(app, service).run(items))))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == {"added": 60, "duplicate": 60}
    assert len(collection(app, service)) == 60


def test_a_photograph_that_was_added_by_itself_is_a_duplicate(app: App, service: Service) -> None:
    app.recognition.add_example(service, "Ann", ANN, Options())
    app.recognition.add_example(service, "Ann", ANN + b"!", Options())
    same = [item(ANN), item(ANN + b"?"), item(ANN, "Bob")]
    assert counted(list(importer(app, service).run(same))) == {"added": 2, "duplicate": 1}


def test_a_photograph_that_was_deleted_meanwhile_is_no_duplicate(
    app: App, service: Service
) -> None:
    filling = enrolment(app, service)
    added = app.recognition.add_example(service, "Ann", ANN, Options())
    assert filling.examine("Ann", ANN) == Filed(added, added=False)
    app.known_faces.delete_example(service, added.image_id)
    assert isinstance(filling.examine("Ann", ANN), Prepared)


def test_only_some_subjects_are_remembered(app: App, service: Service) -> None:
    filling = enrolment(app, service)
    added = app.recognition.add_example(service, "Subject 0", SMALL, Options())
    for number in range(100):
        filling.examine(f"Subject {number}", numbered(number))
    assert filling.examine("Subject 0", SMALL) == Filed(added, added=False)


def test_an_id_that_somebody_else_took_meanwhile_is_not_needed(app: App, service: Service) -> None:
    other = new_service(app, "other")
    mine, theirs = enrolment(app, service), enrolment(app, other)
    image_id = app.recognition.add_example(service, "Ann", ANN, Options()).image_id
    app.known_faces.delete_example(service, image_id)
    here, there = mine.examine("Ann", ANN, image_id), theirs.examine("Ann", ANN, image_id)
    assert isinstance(here, Prepared)
    assert isinstance(there, Prepared)
    (taken,), (given,) = mine.file([here]), theirs.file([there])
    assert taken.example.image_id == image_id != given.example.image_id
    assert taken.added
    assert given.added


def test_what_was_filed_is_told_with_what_was_there(app: App, service: Service) -> None:
    filling = enrolment(app, service)
    first, second = filling.examine("Ann", ANN), filling.examine("Ann", BOB)
    assert isinstance(first, Prepared)
    assert isinstance(second, Prepared)
    (added,) = filling.file([first])
    assert filling.file([first, second])[0] == Filed(added.example, added=False)
    assert filling.file([]) == []


def test_faces_that_a_change_of_embedder_overtakes_are_embedded_once_more(
    tmp_path: Path, models: Path, save_images: bool
) -> None:
    with running(tmp_path / "data", models, save_images=save_images) as app:
        service = new_service(app)
        filling = enrolment(app, service)
        early = filling.examine("Ann", ANN)
        assert isinstance(early, Prepared)
        app.accounts.change_embedder(service, OTHER)
        app.reembedder.turn()
        (first,) = filling.file([early])
        late, again = filling.examine("Bob", BOB), early
        assert isinstance(late, Prepared)
        assert (late.embedding.model, early.embedding.model) == (OTHER, tiny_models.EMBEDDER)
        assert [one.added for one in filling.file([again, late])] == [False, True]
        with app.store.snapshot() as tx:
            stored = tx.embedding(service.id, first.example.image_id)
        assert stored is not None
        assert stored[1].model == OTHER


def test_embeddings_that_cannot_join_the_others_end_the_import(app: App, service: Service) -> None:
    filling = enrolment(app, service)
    face = filling.examine("Ann", ANN)
    assert isinstance(face, Prepared)
    with app.store.begin() as tx:
        tx.add_example(service.id, "Old", Embedding(face.embedding.vector[:64], "old"), None)
    with pytest.raises(ModelMismatch):
        filling.file([face])
    app.accounts.delete_service("default", "faces")
    with pytest.raises(ServiceNotFound):
        filling.file([face])


# How it goes


@pytest.mark.no_cover
def test_few_pictures_are_in_memory_however_many_there_are(app: App, service: Service) -> None:
    many, alive = 400, Alive()
    told = 0
    for outcome in importer(app, service).run(alive.items(many)):
        assert outcome.kind is Kind.ADDED
        told += 1
    assert told == many
    assert alive.drawn == many
    # One batch, the queue, and what each thread holds.
    assert 0 < alive.most <= 32 + 3 * 4 + 2


class Alive:
    """Counts how many of its pictures there are at one time."""

    def __init__(self) -> None:
        self.drawn = 0
        self.now = 0
        self.most = 0
        self._lock = threading.Lock()

    def items(self, count: int) -> Iterator[Item]:
        for number in range(count):
            self.drawn += 1
            yield Item("x", f"Subject {number % 100}", self._reader(number))

    def _reader(self, number: int) -> Callable[[int], bytes]:
        return lambda _: _Counted(numbered(number)).of(self)

    def change(self, by: int) -> None:
        with self._lock:
            self.now += by
            self.most = max(self.most, self.now)


class _Counted(bytes):
    """A picture that says when nobody holds it any more."""

    owner: ClassVar[Alive | None] = None

    def of(self, owner: Alive) -> _Counted:
        self.__dict__["owner"] = owner
        owner.change(1)
        return self

    def __del__(self) -> None:
        if self.owner:
            self.owner.change(-1)


def test_many_faces_share_a_transaction(app: App, service: Service) -> None:
    begun = 0

    def count(*arguments: object) -> None:
        nonlocal begun
        begun += "BEGIN IMMEDIATE" in str(arguments[2])

    event.listen(Engine, "before_cursor_execute", count)
    try:
        outcomes = list(importer(app, service).run([item(numbered(n)) for n in range(320)]))
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert counted(outcomes) == {"added": 320}
    assert 10 <= begun <= 320 / 4


def test_what_is_told_as_added_can_be_found(app: App, service: Service) -> None:
    for outcome in importer(app, service).run([item(numbered(n)) for n in range(50)]):
        assert outcome.image_id is not None
        assert app.known_faces.photograph(service, outcome.image_id) is not None


def test_an_import_that_is_stopped_keeps_what_it_began_and_goes_on_the_next_time(
    app: App, service: Service
) -> None:
    items = [item(numbered(n)) for n in range(300)]
    stopped = importer(app, service)
    outcomes = []
    for outcome in stopped.run(items):
        outcomes.append(outcome)
        stopped.stop()
    assert stopped.stopped
    assert 1 <= len(outcomes) < 150
    assert len(collection(app, service)) == len(outcomes)
    going_on = importer(app, service)
    again = counted(list(going_on.run(items)))
    assert not going_on.stopped
    assert again == {"added": 300 - len(outcomes), "duplicate": len(outcomes)}


def test_nobody_has_to_take_all_outcomes(app: App, service: Service) -> None:
    before = threading.active_count()
    outcomes = importer(app, service).run(item(numbered(n)) for n in range(1000))
    next(outcomes)
    outcomes.close()
    assert threading.active_count() == before


def test_a_dry_run_stores_nothing(app: App, service: Service) -> None:
    items = [item(ANN), item(tiny_models.blank()), item(BOB)]
    outcomes = list(importer(app, service, dry_run=True).run(items))
    assert counted(outcomes) == {"added": 2, "no face": 1}
    assert collection(app, service) == {}


def test_what_concerns_all_pictures_ends_the_import_and_keeps_the_rest(
    app: App, service: Service
) -> None:
    def items() -> Iterator[Item]:
        for number in range(40):
            yield item(numbered(number))
        raise Unavailable("The source is gone.")

    outcomes: list[Outcome] = []
    with pytest.raises(Unavailable, match="source"):
        outcomes.extend(importer(app, service).run(items()))
    assert len(outcomes) == len(collection(app, service)) == 40


def test_an_error_that_nobody_foresaw_is_raised(app: App, service: Service) -> None:
    def read(_: int) -> bytes:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(importer(app, service).run([Item("x", "Ann", read)]))


def test_a_service_that_is_deleted_meanwhile_ends_the_import(app: App, service: Service) -> None:
    app.accounts.delete_service("default", "faces")
    with pytest.raises(ServiceNotFound):
        list(importer(app, service).run([item(ANN)]))


def test_a_model_that_fails_is_no_picture_s_fault(app: App, service: Service) -> None:
    filling = importer(app, service)
    app.scheduler.close()
    with pytest.raises(KnownfaceError):
        list(filling.run([item(ANN)]))


def test_a_file_that_is_not_the_listed_one_is_refused(app: App, service: Service) -> None:
    (outcome,) = importer(app, service).run([item(ANN, sha256="0" * 64)])
    assert outcome.kind is Kind.UNREADABLE
    assert "SHA-256" in outcome.message


# There and back


def fill(app: App, service: Service) -> None:
    """Store what is hard to write into files: odd names, and one picture several times."""
    for number, subject in enumerate(ODD):
        if subject not in {".", ".."}:  # which nobody may be called any more
            portrait = tiny_models.portrait(number)
            app.recognition.add_example(service, subject, portrait, Options())
    for subject in ("Ann", "Ann", "Bob"):
        app.recognition.add_example(service, subject, ANN, Options())
    app.known_faces.create_subject(service, "Without a face")


def exported(
    app: App, service: Service, target: Path, kind: str, *, embeddings: bool = False
) -> Export:
    export = Export(app.store, service, embeddings=embeddings)
    if kind == "folder":
        assert list(write_folder(export.entries(), target)) is not None
    elif kind == "archive":
        with target.open("wb") as stream:
            assert list(write_zip(export.entries(), stream)) is not None
    else:
        target.write_bytes(b"".join(zip_pieces(export.entries())))
    return export


@pytest.mark.parametrize("kind", ["folder", "archive", "pieces"])
def test_an_import_of_an_export_is_the_same_collection(
    app: App, service: Service, tmp_path: Path, models: Path, kind: str
) -> None:
    fill(app, service)
    before = collection(app, service)
    exported(app, service, tmp_path / "exported", kind)
    with running(tmp_path / "elsewhere", models) as other:
        copy = new_service(other)
        assert bring(other, copy, tmp_path / "exported") == {"added": len(before)}
        assert collection(other, copy) == before
        assert bring(other, copy, tmp_path / "exported") == {"duplicate": len(before)}
        for image_id in before:
            with app.store.snapshot() as mine, other.store.snapshot() as theirs:
                one = mine.embedding(service.id, UUID(image_id))
                two = theirs.embedding(copy.id, UUID(image_id))
            assert one is not None
            assert two is not None
            np.testing.assert_allclose(one[1].vector, two[1].vector, atol=1e-6)


def test_an_import_beside_the_original_gets_ids_of_its_own(
    app: App, service: Service, tmp_path: Path
) -> None:
    app.recognition.add_example(service, "Ann", ANN, Options())
    app.recognition.add_example(service, "Bob", BOB, Options())
    exported(app, service, tmp_path / "exported", "folder")
    assert bring(app, service, tmp_path / "exported") == {"duplicate": 2}
    copy = new_service(app, "copy")
    assert bring(app, copy, tmp_path / "exported") == {"added": 2}
    assert bring(app, copy, tmp_path / "exported") == {"duplicate": 2}
    mine, theirs = collection(app, service), collection(app, copy)
    assert not mine.keys() & theirs.keys()
    assert sorted(mine.values()) == sorted(theirs.values())


def test_embeddings_are_exported_as_they_are_stored(
    app: App, service: Service, tmp_path: Path
) -> None:
    fill(app, service)
    exported(app, service, tmp_path / "out", "folder", embeddings=True)
    lines = (tmp_path / "out" / "embeddings.jsonl").read_bytes().splitlines()
    assert len(lines) == len(collection(app, service))
    for line in map(json.loads, lines):
        with app.store.snapshot() as tx:
            stored = tx.embedding(service.id, UUID(line["image_id"]))
        assert stored is not None
        assert (stored[0].subject, stored[1].model) == (line["subject"], line["model"])
        np.testing.assert_allclose(stored[1].vector, line["embedding"], rtol=1e-6)


def test_examples_without_photographs_are_listed(tmp_path: Path, models: Path) -> None:
    with running(tmp_path / "data", models, save_images=False) as app:
        service = new_service(app)
        app.recognition.add_example(service, "Ann", ANN, Options())
        export = exported(app, service, tmp_path / "out", "folder", embeddings=True)
        assert (export.examples, export.photographs) == (1, 0)
        assert bring(app, service, tmp_path / "out") == {"invalid": 1}


def test_what_is_deleted_while_an_export_runs_is_left_out(app: App, service: Service) -> None:
    for number in range(3):
        app.recognition.add_example(service, "Ann", numbered(number), Options())
    export = Export(app.store, service, embeddings=True)
    entries = export.entries()
    kept = [next(entries)]
    for image_id in list(collection(app, service))[1:]:
        app.known_faces.delete_example(service, UUID(image_id))
    written = {entry.name: b"".join(entry.content) for entry in [*kept, *entries]}
    assert len(written) == 3
    assert written["embeddings.jsonl"].count(b"\n") == 1
    assert written["manifest.csv"].count(b"\n") == 2
    assert export.examples == 1


def test_an_export_of_a_service_that_is_gone_fails(app: App, service: Service) -> None:
    app.accounts.delete_service("default", "faces")
    with pytest.raises(ServiceNotFound):
        next(Export(app.store, service, embeddings=False).entries())


def test_an_archive_can_be_made_without_holding_it() -> None:
    noise = np.random.default_rng(1)
    entries = (Entry(f"Ann/{n}", (noise.bytes(100_000),)) for n in range(20))
    sizes = [len(piece) for piece in zip_pieces(entries)]
    assert len(sizes) == 21
    assert max(sizes) < 250_000


def test_an_archive_is_for_its_owner_alone_and_tells_the_age_of_photographs(
    app: App, service: Service, tmp_path: Path
) -> None:
    app.recognition.add_example(service, "Ann", ANN, Options())
    exported(app, service, tmp_path / "a.zip", "archive")
    with zipfile.ZipFile(io.BytesIO((tmp_path / "a.zip").read_bytes())) as archive:
        photograph, manifest = archive.infolist()
    assert photograph.external_attr >> 16 == 0o600
    assert photograph.date_time > (2020, 1, 1, 0, 0, 0)
    assert manifest.filename == "manifest.csv"


def test_a_folder_holds_no_file_by_its_name_before_it_is_complete(tmp_path: Path) -> None:
    writing = write_folder([Entry("Ann/a.png", (b"first", b"second"))], tmp_path)
    next(writing)
    assert not (tmp_path / "Ann" / "a.png").exists()
    assert list(writing) == [None]
    assert (tmp_path / "Ann" / "a.png").read_bytes() == b"firstsecond"
    assert [path.name for path in (tmp_path / "Ann").iterdir()] == ["a.png"]
