"""Nothing of a deleted face is left in any file of a SQLite database."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databases import with_tables
from knownface.store import Store
from knownface.store.erasure import MOST_HEAD, joined, laid_out_by, padding_length
from knownface.types import Service
from stored import face, make_service, picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(folder: Path, sqlite_tables: Path) -> Iterator[Store]:
    with_tables(folder, sqlite_tables, "faces.db")
    with closing(Store.open(f"sqlite:///{folder}/faces.db")) as opened:
        yield opened


@pytest.fixture
def service(store: Store) -> Service:
    return make_service(store)


def marks(number: int, length: int) -> dict[str, bytes]:
    """Pieces of a photograph and of a vector by which either is known anywhere."""
    content, vector = picture(number, length).content, face(number, dimension=128).vector.tobytes()
    return {
        "photograph": content[:24],
        "middle of the photograph": content[length // 2 :][:24],
        "end of the photograph": content[-24:],
        "vector": vector[MOST_HEAD:][:24],
        "end of the vector": vector[-24:],
    }


def found(folder: Path, pieces: dict[str, bytes]) -> set[str]:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {
        f"{what} in {name}"
        for name, content in files.items()
        for what, piece in pieces.items()
        if piece in content
    }


def add(store: Store, service: Service, number: int, length: int, subject: str = "Ada") -> None:
    with store.begin() as tx:
        tx.add_example(service.id, subject, face(number, dimension=128), picture(number, length))


@pytest.mark.parametrize("length", [50, 900, 20_000, 300_000])
@pytest.mark.parametrize("way", ["example", "subject", "subjects", "service"])
def test_a_deleted_face_is_in_no_file(
    store: Store, service: Service, folder: Path, length: int, way: str
) -> None:
    add(store, service, 1, length)
    assert {what.partition(" in ")[0] for what in found(folder, marks(1, length))} == set(
        marks(1, length)
    )
    with store.begin() as tx:
        example = tx.examples(service.id, subject=None, page=0, size=1).examples[0]
        match way:
            case "example":
                tx.delete_examples(service.id, [example.image_id])
            case "subject":
                tx.delete_subject(service.id, "Ada")
            case "subjects":
                tx.delete_subjects(service.id)
            case "service":
                tx.delete_service(service.id)
    assert found(folder, marks(1, length)) == set()


@pytest.mark.parametrize("way", ["example", "subject", "subjects", "service"])
@pytest.mark.parametrize("switched", [False, True])
def test_a_face_deleted_while_its_service_changes_its_model_is_in_no_file(
    store: Store, service: Service, folder: Path, way: str, switched: bool
) -> None:
    """Neither the embedding that is compared nor the one that waits, or is left over."""
    add(store, service, 1, 900)
    vectors = [face(n, dimension=128, model=m) for n, m in ((1, "tiny"), (2, "x" * 300))]
    pieces = {f"vector of {one.model}": one.vector.tobytes()[-24:] for one in vectors}
    with store.begin() as tx:
        tx.queue_reembedding(service.id, vectors[1].model)
        tx.claim(service.id, "worker")
        (key,) = tx.lacking(service.id, vectors[1].model)
        tx.record(service.id, "worker", {key: vectors[1]}, {})
        assert not switched or tx.switch(service.id, "worker", after_key=0)
    assert len(found(folder, pieces)) >= 2
    with store.begin() as tx:
        example = tx.examples(service.id, subject=None, page=0, size=1).examples[0]
        match way:
            case "example":
                tx.delete_examples(service.id, [example.image_id])
            case "subject":
                tx.delete_subject(service.id, "Ada")
            case "subjects":
                tx.delete_subjects(service.id)
            case "service":
                tx.delete_service(service.id)
    assert found(folder, pieces | marks(1, 900)) == set()


def test_what_a_change_of_model_leaves_over_is_in_no_file_when_it_is_cleaned(
    store: Store, service: Service, folder: Path
) -> None:
    for number in range(1, 60):
        add(store, service, number, 30)
    new = {number: face(1000 + number, dimension=128, model="new") for number in range(1, 60)}
    with store.begin() as tx:
        tx.queue_reembedding(service.id, "new")
        tx.claim(service.id, "worker")
    for some in (range(1, 30), range(30, 60)):
        with store.begin() as tx:
            keys = tx.lacking(service.id, "new", limit=len(some))
            tx.record(
                service.id, "worker", {k: new[n] for k, n in zip(keys, some, strict=True)}, {}
            )
    with store.begin() as tx:
        assert tx.switch(service.id, "worker", after_key=0)
    last: int | None = 0
    while last is not None:
        with store.begin() as tx:
            last = tx.clean(service.id, "worker", after_key=last, limit=7)
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    old = [face(number, dimension=128).vector.tobytes() for number in range(1, 60)]
    assert [vector for vector in old if vector[9:33] in content or vector[-24:] in content] == []
    assert all(one.vector.tobytes()[-24:] in content for one in new.values())


@pytest.mark.no_cover
@pytest.mark.parametrize(("seed", "dimension"), [(1, 16), (2, 16), (3, 128), (4, 256)])
def test_no_copy_is_left_by_the_moving_of_rows(
    store: Store, service: Service, folder: Path, seed: int, dimension: int
) -> None:
    """Without padding about one deletion in a thousand leaves a piece behind, and so do these."""
    chance = random.Random(seed)
    ids: dict[int, UUID] = {}
    erased: list[int] = []
    for first in range(1, 500, 50):
        with store.begin() as tx:
            for number in range(first, first + 50):
                subject = f"P{chance.randrange(30)}"
                photograph = picture(number, chance.choice([30, 100, 300, 900]))
                embedding = face(number, dimension=dimension)
                added = tx.add_example(service.id, subject, embedding, photograph)
                ids[number] = added.image_id
            for number in chance.sample(sorted(ids), 35):
                tx.delete_examples(service.id, [ids.pop(number)])
                erased.append(number)
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    vectors = {n: face(n, dimension=dimension).vector.tobytes() for n in erased}
    assert [number for number in erased if picture(number, 30).content in content] == []
    assert [number for number, vector in vectors.items() if vector[:24] in content] == []
    assert [number for number, vector in vectors.items() if vector[9:33] in content] == []
    assert [number for number, vector in vectors.items() if vector[-24:] in content] == []


def test_an_old_name_is_in_no_file_after_a_rename(
    store: Store, service: Service, folder: Path
) -> None:
    add(store, service, 1, 100, subject="Marie Curie")
    assert found(folder, {"name": b"Marie Curie"})
    with store.begin() as tx:
        tx.rename_subject(service.id, "Marie Curie", "Ada")
    assert found(folder, {"name": b"Marie Curie"}) == set()


def test_what_a_reader_keeps_from_being_emptied_goes_when_it_ends(
    store: Store, service: Service, folder: Path
) -> None:
    add(store, service, 1, 20_000)
    with store.snapshot() as reader:
        reader.subject_names(service.id)
        with store.begin() as tx:
            tx.delete_subject(service.id, "Ada")
        assert reader.subject_names(service.id) == ["Ada"]
        assert found(folder, marks(1, 20_000))
    assert found(folder, marks(1, 20_000)) == set()


def test_what_a_killed_process_left_goes_when_the_database_is_opened(
    store: Store, service: Service, folder: Path, tmp_path: Path
) -> None:
    add(store, service, 1, 20_000)
    with store.snapshot() as reader:
        reader.subject_names(service.id)
        with store.begin() as tx:
            tx.delete_subject(service.id, "Ada")
        copy = tmp_path / "copy"
        copy.mkdir()
        for path in folder.iterdir():
            if not path.name.endswith("-shm"):
                (copy / path.name).write_bytes(path.read_bytes())
    assert found(copy, marks(1, 20_000))
    with closing(Store.open(f"sqlite:///{copy}/faces.db")):
        assert found(copy, marks(1, 20_000)) == set()


@given(
    page=st.sampled_from([512, 1024, 4096, 8192, 65536]),
    length=st.integers(0, 5_000_000),
    other=st.integers(6, 38),
)
def test_the_tree_holds_nothing_but_padding(page: int, length: int, other: int) -> None:
    """By the file format's own formula, whatever the bytes of header and media type are."""
    padding = padding_length(page, length)
    payload = padding + length + other
    smallest = (page - 12) * 32 // 255 - 23
    assert payload > page - 35, "it would all be held by the tree"
    held = smallest + (payload - smallest) % (page - 4)
    if held > page - 35:
        held = smallest
    assert held <= padding
    assert padding <= smallest + 2 * page


@given(
    page=st.sampled_from([512, 1024, 4096]), length=st.integers(1, 5000), other=st.integers(6, 400)
)
def test_the_tree_holds_nothing_of_a_vector_but_its_masked_head(
    page: int, length: int, other: int
) -> None:
    """By the file format's own formula, whatever the bytes of header, key and model are."""
    vector = random.Random(length).randbytes(length)
    laid = laid_out_by(page, vector)
    head = length - len(laid.content)
    assert head == 0 or head == laid.padding[0] < length
    payload = other + len(laid.padding) + len(laid.content)
    smallest = (page - 12) * 32 // 255 - 23
    assert payload > page - 35, "it would all be held by the tree"
    held = smallest + (payload - smallest) % (page - 4)
    if held > page - 35:
        held = smallest
    assert held <= other + len(laid.padding)
    assert joined([(laid.padding[: 1 + MOST_HEAD], laid.content)]) == vector


def test_a_head_can_only_be_read_with_the_rest_of_its_vector() -> None:
    vector = random.Random(1).randbytes(4096)
    laid = laid_out_by(512, vector)
    assert laid.padding[0] == 32
    assert vector[:8] not in laid.padding
    assert joined([(laid.padding, bytes(len(laid.content)))])[:32] != vector[:32]


def test_vectors_of_the_usual_lengths_take_whole_pages_and_no_more(store: Store) -> None:
    with store.snapshot() as tx:
        assert tx.connection.exec_driver_sql("PRAGMA page_size").scalar_one() == 512
    for numbers in (128, 256, 512):
        laid = laid_out_by(512, bytes(4 * numbers))
        assert len(laid.content) % 508 == 0
        assert len(laid.padding) < 64


def test_a_database_of_larger_pages_goes_on_with_them(tmp_path: Path) -> None:
    """As those of earlier versions are, whose vectors stand behind nothing but zeroes."""
    with closing(sqlite3.connect(tmp_path / "faces.db")) as earlier:
        earlier.execute("PRAGMA page_size = 1024")
        earlier.execute("CREATE TABLE unrelated (number INTEGER)")
        earlier.commit()
    with closing(Store.open(f"sqlite:///{tmp_path}/faces.db")) as store:
        service = make_service(store)
        add(store, service, 1, 900)
        with store.begin() as tx:
            assert tx.connection.exec_driver_sql("PRAGMA page_size").scalar_one() == 1024
            padding = tx.connection.exec_driver_sql("SELECT padding FROM embedding").scalar_one()
            assert not any(padding)
            example = tx.examples(service.id, subject=None, page=0, size=1).examples[0]
            found_again = tx.embedding(service.id, example.image_id)
            assert found_again is not None
            assert (found_again[1].vector == face(1, dimension=128).vector).all()
            tx.delete_examples(service.id, [example.image_id])
        assert found(tmp_path, marks(1, 900)) == set()
