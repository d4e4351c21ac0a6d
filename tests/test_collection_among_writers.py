"""Searches while faces come, go and change their names: no answer is wrong, late or double."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from math import inf
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import numpy as np
import pytest

from faces import DIMENSION, add, open_collection, unit_vectors
from knownface.collection import FaceCollection
from knownface.store import Store, Transaction
from knownface.types import F32, Example, Match, Service
from stored import make_service


class Fact(NamedTuple):
    """An example has this name; nobody can deny it between two ticks of the clock."""

    name: str
    since: float
    until: float


@dataclass
class Past:
    """What was true of each example, on a clock that counts events.

    A fact is possible from before the write that made it was begun until after the write that
    ended it returned; it is certain from the end of the one to the beginning of the other.
    """

    clock: Iterator[int] = field(default_factory=lambda: count(1))
    vectors: dict[UUID, F32] = field(default_factory=dict)
    possible: dict[UUID, list[Fact]] = field(default_factory=dict)
    certain: dict[UUID, Fact] = field(default_factory=dict)

    def begin(self, example: UUID, name: str, began: int) -> None:
        self.possible.setdefault(example, []).append(Fact(name, began, inf))
        self.certain[example] = Fact(name, next(self.clock), inf)

    def doubt(self, example: UUID) -> None:
        """Note that a write is about to begin which ends what is known of an example."""
        self.certain[example] = self.certain[example]._replace(until=next(self.clock))

    def end(self, example: UUID) -> None:
        self.possible[example][-1] = self.possible[example][-1]._replace(until=next(self.clock))


class Writer:
    """Adds, renames, merges and deletes people of its own at random, and writes their history."""

    def __init__(self, store: Store, service: Service, past: Past, seed: int) -> None:
        self.store = store
        self.service = service
        self.past = past
        self.random = random.Random(seed)
        self.vectors = iter(unit_vectors(1000, seed=seed))
        self.prefix = f"writer {seed}, person "
        self.known: dict[str, list[Example]] = {}

    def run(self) -> None:
        acts = (self.add, self.add, self.add, self.rename, self.merge, self.forget, self.drop)
        for _ in range(150):
            self.random.choice(acts)()

    def add(self) -> None:
        name = self.prefix + str(self.random.randrange(12))
        began, vector = next(self.past.clock), next(self.vectors)
        example = add(self.store, self.service, name, vector)
        self.known.setdefault(name, []).append(example)
        self.past.begin(example.image_id, name, began)
        self.past.vectors[example.image_id] = vector

    def rename(self) -> None:
        self.move_to(self.prefix + f"renamed at {next(self.past.clock)}")

    def merge(self) -> None:
        if self.known:
            self.move_to(self.random.choice(sorted(self.known)))

    def move_to(self, new: str) -> None:
        others = sorted(self.known.keys() - {new})
        if others:
            old = self.random.choice(others)
            moved = self.known.pop(old)
            began = next(self.past.clock)
            self.write(moved, lambda tx: tx.rename_subject(self.service.id, old, new))
            for example in moved:
                self.past.begin(example.image_id, new, began)
            self.known.setdefault(new, []).extend(moved)

    def forget(self) -> None:
        if self.known:
            name = self.random.choice(sorted(self.known))
            gone = self.known.pop(name)
            self.write(gone, lambda tx: tx.delete_subject(self.service.id, name))

    def drop(self) -> None:
        if self.known:
            name = self.random.choice(sorted(self.known))
            gone = self.known[name].pop()
            if not self.known[name]:
                del self.known[name]
            self.write([gone], lambda tx: tx.delete_examples(self.service.id, [gone.image_id]))

    def write(self, touched: list[Example], change: Callable[[Transaction], object]) -> None:
        for example in touched:
            self.past.doubt(example.image_id)
        with self.store.begin() as tx:
            change(tx)
        for example in touched:
            self.past.end(example.image_id)


class Answer(NamedTuple):
    """One embedding's matches; `certain` is what could be relied on from before until after."""

    certain: str | None
    matches: list[Match]
    began: int
    ended: int


def read(faces: FaceCollection, past: Past, done: threading.Event, seed: int) -> list[Answer]:
    """Search for examples that are there, or were, until told that it is done."""
    chance = random.Random(seed)
    answers: list[Answer] = []
    while not done.is_set():
        known = list(past.vectors)
        wanted = [chance.choice(known) for _ in range(chance.choice((1, 3)))] if known else []
        queries = np.array([past.vectors[one] for one in wanted], np.float32)
        began = next(past.clock)
        before = [past.certain[one] for one in wanted]
        found = faces.search(queries.reshape(-1, DIMENSION), 4)
        after = [past.certain[one] for one in wanted]
        ended = next(past.clock)
        for first, last, matches in zip(before, after, found, strict=True):
            certain = first.name if first == last and first.until == inf else None
            answers.append(Answer(certain, matches, began, ended))
    return answers


def faults(answer: Answer, past: Past) -> Iterator[str]:
    """Say what is wrong with an answer, now that all of the past is known."""
    found = [match.subject for match in answer.matches]
    if len(set(found)) < len(found):
        yield f"double: {found}"
    if answer.certain is not None and found[:1] != [answer.certain]:
        yield f"missed: {answer.certain} in {found}"
    for match in answer.matches:
        if not any(
            fact.name == match.subject and fact.since <= answer.ended and fact.until >= answer.began
            for fact in past.possible[match.image_id]
        ):
            yield f"never true: {match} of {past.possible[match.image_id]}"


@pytest.mark.no_cover
def test_among_writers_no_answer_is_wrong_late_or_double(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'faces.db'}"
    stores = [Store.open(url) for _ in range(2)]
    service = make_service(stores[0])
    past = Past()
    writers = [Writer(stores[seed], service, past, seed) for seed in range(2)]
    replicas = [open_collection(store, service) for store in stores]
    done = threading.Event()
    answers: list[Answer] = []

    def reader(seed: int) -> threading.Thread:
        def run() -> None:
            answers.extend(read(replicas[seed % 2], past, done, seed))

        return threading.Thread(target=run)

    reading = [reader(seed) for seed in range(4)]
    writing = [threading.Thread(target=writer.run) for writer in writers]
    for thread in [*reading, *writing]:
        thread.start()
    for thread in writing:
        thread.join()
    done.set()
    for thread in reading:
        thread.join()
    assert [fault for answer in answers for fault in faults(answer, past)] == []
    assert sum(answer.certain is not None for answer in answers) > 100
    living = sum(len(examples) for writer in writers for examples in writer.known.values())
    for faces in replicas:
        faces.refresh()
        assert len(faces) == living
    for store in stores:
        store.close()
