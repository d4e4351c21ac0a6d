"""Whatever many threads do to one service, its rows stay whole and its changes tell it all."""

from __future__ import annotations

import random
import threading
from contextlib import closing

import pytest
from sqlalchemy import text

from knownface.errors import KnownfaceError, SubjectExists, SubjectNotFound, Unavailable
from knownface.store import Store, Transaction
from knownface.types import Service
from stored import face, make_service, picture

THREADS = 8
ROUNDS = 30

ORPHANS = """
    SELECT count(*) FROM example e
    LEFT JOIN subject s ON s.id = e.subject_id
    LEFT JOIN embedding v ON v.example_key = e.key
    LEFT JOIN photograph p ON p.example_key = e.key
    WHERE s.id IS NULL OR v.example_key IS NULL OR p.example_key IS NULL
"""
DESERTED = """
    SELECT count(*) FROM subject s
    WHERE NOT EXISTS (SELECT 1 FROM example e WHERE e.subject_id = s.id)
"""


class Replica:
    """Knows whose each key is by following the changes alone, as an index does."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.revision = 0
        self.subjects: dict[int, int] = {}

    def refresh(self, tx: Transaction) -> None:
        changes = tx.changes(self.service.id, self.revision)
        assert changes is not None
        if changes.cleared:
            self.subjects.clear()
        for key in changes.removed:
            self.subjects.pop(key, None)
        vectors = tx.vectors_of(self.service.id, changes.put)
        assert vectors.keys.tolist() == sorted(changes.put)
        self.subjects.update(zip(vectors.keys.tolist(), vectors.subjects.tolist(), strict=True))
        self.revision = changes.revision


def act(tx: Transaction, service: Service, chance: random.Random, number: int) -> None:
    name = f"Person {chance.randrange(6)}"
    match chance.randrange(12):
        case 0:
            tx.delete_subject(service.id, name)
        case 1:
            tx.rename_subject(service.id, name, f"PERSON {chance.randrange(6)}")
        case 2:
            tx.delete_examples_of(service.id, name)
        case 3 | 4:
            page = tx.examples(service.id, subject=None, page=0, size=4)
            tx.delete_examples(service.id, [example.image_id for example in page.examples])
        case 5 if chance.random() < 0.2:
            tx.delete_subjects(service.id)
        case _:
            tx.add_example(service.id, name, face(number), picture(number))


@pytest.mark.no_cover
def test_threads_that_add_rename_and_delete_leave_everything_whole(database_url: str) -> None:
    with closing(Store.open(database_url)) as store, closing(Store.open(database_url)) as other:
        service = make_service(store)
        unexpected: list[BaseException] = []
        finished = threading.Event()

        def work(seed: int) -> None:
            chance = random.Random(seed)
            mine = (store, other)[seed % 2]
            for number in range(ROUNDS):
                try:
                    with mine.begin() as tx:
                        act(tx, service, chance, seed * ROUNDS + number)
                except SubjectNotFound:
                    pass
                except BaseException as error:
                    unexpected.append(error)
                    raise

        def follow() -> None:
            try:
                while not finished.is_set():
                    with store.snapshot() as tx:
                        replica.refresh(tx)
                        assert set(replica.subjects) == set(
                            tx.vectors(service.id, limit=10_000).keys.tolist()
                        )
            except BaseException as error:
                unexpected.append(error)
                raise

        replica = Replica(service)
        follower = threading.Thread(target=follow)
        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
        for thread in (follower, *workers):
            thread.start()
        for thread in workers:
            thread.join()
        finished.set()
        follower.join()
        assert unexpected == []
        with store.snapshot() as tx:
            replica.refresh(tx)
            vectors = tx.vectors(service.id, limit=10_000)
            assert tx.connection.execute(text(ORPHANS)).scalar_one() == 0
            assert tx.connection.execute(text(DESERTED)).scalar_one() == 0
        assert replica.subjects == dict(
            zip(vectors.keys.tolist(), vectors.subjects.tolist(), strict=True)
        )


def test_of_many_who_create_the_same_subject_at_once_one_succeeds(database_url: str) -> None:
    with closing(Store.open(database_url)) as store:
        service = make_service(store)
        start = threading.Barrier(THREADS)
        outcomes: list[str] = []

        def create() -> None:
            start.wait()
            try:
                with store.begin() as tx:
                    tx.create_subject(service.id, "Ada")
            except KnownfaceError as error:
                outcomes.append(type(error).__name__)
            else:
                outcomes.append("created")

        threads = [threading.Thread(target=create) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == [SubjectExists.__name__] * (THREADS - 1) + ["created"]


def test_a_thread_that_waits_too_long_to_write_is_told_to_try_again(database_url: str) -> None:
    with closing(Store.open(database_url, busy_timeout=0.1)) as store:
        service = make_service(store)
        outcomes: list[BaseException] = []

        def write() -> None:
            try:
                with store.begin() as tx:
                    tx.create_subject(service.id, "Grace")
            except Unavailable as error:
                outcomes.append(error)

        with store.begin() as tx:
            tx.create_subject(service.id, "Ada")
            late = threading.Thread(target=write)
            late.start()
            late.join()
        assert len(outcomes) == 1
        with store.snapshot() as tx:
            assert tx.subject_names(service.id) == ["Ada"]


def test_readers_go_on_while_a_writer_takes_its_time(database_url: str) -> None:
    with closing(Store.open(database_url, busy_timeout=0.1)) as store:
        service = make_service(store)
        with store.begin() as tx:
            tx.create_subject(service.id, "Ada")
            seen: list[list[str]] = []

            def read() -> None:
                with store.snapshot() as reading:
                    seen.append(reading.subject_names(service.id))

            threads = [threading.Thread(target=read) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert seen == [[]] * 20
