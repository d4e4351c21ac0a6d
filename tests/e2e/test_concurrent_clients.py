"""Many clients at once: no answer fails, and none names a person who is not known by that name.

Runs for some seconds on each database; for longer, with its figures:

    KNOWNFACE_TEST_SOAK_SECONDS=60 pytest tests/e2e/test_concurrent_clients.py --log-cli-level=INFO
"""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import tiny_models
from owners import (
    MOST_NAMES,
    SHARED,
    UNTOLD,
    History,
    Owner,
    State,
    assert_erased,
    assert_stored,
    canonical,
    recognized,
)
from sending import DETECT, FACES, RECOGNIZE, SUBJECTS
from servers import Server, running_server, tiny_settings

CLIENTS = 32
LEAST_REQUESTS = 12  # of each client, however busy the machine is
SOAK_SECONDS = float(os.environ.get("KNOWNFACE_TEST_SOAK_SECONDS", "2"))

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(SOAK_SECONDS + 100)]

log = logging.getLogger(__name__)


class Crowd:
    """All owners, and the people whom nobody enrols; checks what may be answered about them."""

    def __init__(self, owners: list[Owner], embeddings: list[list[float]]) -> None:
        self.owners = owners
        self.embeddings = embeddings

    def check_names(self, identity: int, found: set[str], since: float, until: float) -> None:
        """Check what one face was recognized as."""
        stranger = identity >= len(self.owners)
        history = History() if stranger else self.owners[identity].history
        check(found, [state.names for state in history.between(since, until)], identity)

    def recognize_anybody(self, owner: Owner, dice: random.Random) -> None:
        """Look for one to three people, some of them strangers, in one picture."""
        people = dice.sample(range(tiny_models.ORTHOGONAL), dice.choice([1, 1, 1, 2, 3]))
        self._recognize(owner, people)

    def recognize_own(self, owner: Owner, dice: random.Random) -> None:
        """Look for the owner's face, of which there is one possible state at this moment."""
        dice.choice([self._recognize, self._recognize_embeddings])(owner, [owner.identity])

    def _recognize(self, owner: Owner, people: list[int]) -> None:
        picture = tiny_models.group(people) if people[1:] else tiny_models.portrait(people[0])
        params = {"prediction_count": MOST_NAMES + 2}
        since = time.monotonic()
        files = {"file": picture}
        answer = owner.ask("recognize", "POST", RECOGNIZE, params=params, files=files)
        until = time.monotonic()
        for identity, found in zip(people, recognized(answer), strict=True):
            self.check_names(identity, found, since, until)

    def recognize_embeddings(self, owner: Owner, dice: random.Random) -> None:
        self._recognize_embeddings(owner, dice.sample(range(len(self.embeddings)), 3))

    def _recognize_embeddings(self, owner: Owner, people: list[int]) -> None:
        body = {"embeddings": [self.embeddings[identity] for identity in people]}
        path = "/api/v1/recognition/embeddings/recognize"
        params = {"prediction_count": MOST_NAMES + 2}
        since = time.monotonic()
        answer = owner.ask("recognize embeddings", "POST", path, params=params, json=body).json()
        until = time.monotonic()
        for identity, one in zip(people, answer["result"], strict=True):
            near = (match for match in one["similarities"] if match["similarity"] > 0.5)
            found = {canonical(match["subject"]) for match in near}
            self.check_names(identity, found, since, until)

    def verify(self, owner: Owner, dice: random.Random) -> None:
        """Compare a picture with an example of the owner's, whose state nobody else changes."""
        if not owner.history.last.examples:
            return
        image_id, name = dice.choice(sorted(owner.history.last.examples.items()))
        other = (owner.identity + 1) % tiny_models.ORTHOGONAL
        for identity, same in ((owner.identity, True), (other, False)):
            files = {"file": tiny_models.portrait(identity)}
            answer = owner.ask("verify", "POST", f"{FACES}/{image_id}/verify", files=files).json()
            (face,) = answer["result"]
            assert canonical(face["subject"]) == name
            assert (face["similarity"] > 0.5) == same

    def list_subjects(self, owner: Owner, _: random.Random) -> None:
        since = time.monotonic()
        answer = owner.ask("list subjects", "GET", SUBJECTS).json()["subjects"]
        until = time.monotonic()
        subjects = [canonical(name) for name in answer]
        assert len(subjects) == len(set(subjects)), subjects
        possible = []
        for one in self.owners:
            states = one.history.between(since, until)
            found = {name for name in subjects if name.startswith(one.prefix)}
            check(found, [state.own_names for state in states], one.identity)
            possible += [({SHARED} & state.names) for state in states]
        assert SHARED not in subjects or SHARED in set().union(*possible)

    def list_examples(self, owner: Owner, _: random.Random) -> None:
        since = time.monotonic()
        answer = owner.ask("list examples", "GET", FACES, params={"size": 2000}).json()
        until = time.monotonic()
        found = {one["image_id"]: canonical(one["subject"]) for one in answer["faces"]}
        assert len(found) == answer["total_elements"]
        possible: set[tuple[str, str]] = set()
        for one in self.owners:
            states = [set(s.examples.items()) for s in one.history.between(since, until)]
            certain = set.intersection(*states)
            # What it has not been told the id of, it may find under any.
            assert {pair for pair in certain if pair[0] != UNTOLD} <= set(found.items())
            possible |= set.union(*states)
        for image_id, name in found.items():
            assert {(image_id, name), (UNTOLD, name)} & possible, (image_id, name)

    def list_own_examples(self, owner: Owner, dice: random.Random) -> None:
        names = sorted(owner.history.last.own_names)
        if names:
            name = dice.choice(names)
            answer = owner.ask("list one subject", "GET", FACES, params={"subject": name}).json()
            expected = [i for i, n in owner.history.last.examples.items() if n == name]
            assert sorted(one["image_id"] for one in answer["faces"]) == sorted(expected)

    def download(self, owner: Owner, dice: random.Random) -> None:
        """Fetch anybody's photograph, deleted or not."""
        other = dice.choice(self.owners)
        image_ids = list(other.photographs)
        if not image_ids:
            return
        image_id = dice.choice(image_ids[-20:])
        since = time.monotonic()
        content = owner.ask("download", "GET", f"{FACES}/{image_id}/img").content
        states = other.history.between(since, time.monotonic())
        may_be = {image_id in state.examples for state in states}
        assert (content == other.photographs[image_id] and True in may_be) or (
            content == b"" and False in may_be
        ), (len(content), may_be)


def check(found: set[str], possible: Iterable[set[str]], identity: int) -> None:
    """Check names against the states that they may be of: no other, and all that are in each."""
    states = list(possible)
    assert found <= set.union(*states), f"{identity} is {found}, not {states}"
    assert found >= set.intersection(*states), f"{identity} is not only {found}, but {states}"


class Load:
    """Owners at work, each in a thread of its own, until the time is over or one has failed."""

    def __init__(self, crowd: Crowd, seconds: float) -> None:
        self._crowd = crowd
        self._until = time.monotonic() + seconds
        self._failed = threading.Event()

    def run(self) -> float:
        """Let them work; return how many seconds it took."""
        began = time.monotonic()
        with ThreadPoolExecutor(len(self._crowd.owners)) as pool:
            for result in [pool.submit(self._work, owner) for owner in self._crowd.owners]:
                result.result()
        return time.monotonic() - began

    def _work(self, owner: Owner) -> None:
        crowd, dice = self._crowd, random.Random(1000 + owner.identity)
        looks: list[Callable[[Owner, random.Random], None]] = [
            *[crowd.recognize_anybody] * 4,
            crowd.recognize_own,
            *[crowd.download] * 2,
            crowd.recognize_embeddings,
            crowd.verify,
            crowd.list_subjects,
            crowd.list_examples,
            crowd.list_own_examples,
        ]
        try:
            while not self._failed.is_set() and self._goes_on(owner):
                turn = dice.random()
                if turn < 0.5:
                    owner.act()
                if turn < 0.25:
                    # At once: nobody else's change has brought the index up to date meanwhile.
                    crowd.recognize_own(owner, dice)
                elif turn >= 0.5:
                    dice.choice(looks)(owner, dice)
        except BaseException:
            self._failed.set()
            raise

    def _goes_on(self, owner: Owner) -> bool:
        """Tell whether there is time left, or so little done that it would show nothing."""
        return time.monotonic() < self._until or len(owner.answered) < LEAST_REQUESTS


def embedding(server: Server, identity: int) -> list[float]:
    with server.client(server.keys["detection"]) as client:
        files = {"file": tiny_models.portrait(identity)}
        answer = client.post(DETECT, params={"face_plugins": "calculator"}, files=files)
        vector: list[float] = answer.raise_for_status().json()["result"][0]["embedding"]
        return vector


def soak(folder: Path, database_url: str, *, servers: int) -> None:
    """Let all owners work for a while against these servers, then ask each what it stored."""
    settings = tiny_settings(folder) | {"KNOWNFACE_DATABASE_URL": database_url}
    with ExitStack() as stack:
        running = [
            stack.enter_context(running_server(folder / str(number), settings))
            for number in range(servers)
        ]
        key = running[0].keys["recognition"]
        owners = [
            Owner([stack.enter_context(server.client(key)) for server in running], identity)
            for identity in range(CLIENTS)
        ]
        crowd = Crowd(owners, [embedding(running[0], identity) for identity in range(CLIENTS)])
        seconds = Load(crowd, SOAK_SECONDS).run()
        counts = report(f"{servers} on {database_url.partition(':')[0]}", owners, seconds)

        for client in owners[0].clients:
            assert_stored(client, owners)
            assert client.get("/readyz").status_code == 200
        assert min(counts[kind] for kind in ("add", "rename", "delete by id", "recognize")) > 0
        if database_url.startswith("sqlite"):
            assert_erased(Path(database_url.removeprefix("sqlite:///")).parent, owners)
    for server in running:
        levels = Counter(json.loads(line)["level"] for line in server.log.read_text().splitlines())
        assert not {"warning", "error", "critical"} & {level.lower() for level in levels}, levels


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "httpx")


def test_no_answer_fails_or_names_anybody_wrongly(tmp_path: Path, database_url: str) -> None:
    soak(tmp_path, database_url, servers=1)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_two_servers_on_one_database_answer_as_one(tmp_path: Path, database_url: str) -> None:
    """What one has acknowledged, the other finds at once."""
    soak(tmp_path, database_url, servers=2)


def report(where: str, owners: list[Owner], seconds: float) -> Counter[str]:
    """Log the figures; return how many requests of each kind were answered."""
    answered = [one for owner in owners for one in owner.answered]
    counts = Counter(kind for kind, _ in answered)
    log.info("%s: %d requests, %.0f a second", where, len(answered), len(answered) / seconds)
    for kind, count in [("all", len(answered)), *counts.most_common()]:
        waits = [taken for name, taken in answered if kind in ("all", name)]
        median, slow, slowest = np.quantile(waits, (0.5, 0.99, 1)) * 1000
        figures = (kind, count, median, slow, slowest)
        log.info("%-21s %6d  median %4.0f ms  99 %% within %4.0f ms  slowest %4.0f ms", *figures)
    return counts


def test_a_wrong_name_would_be_noticed() -> None:
    """The checks above must be able to fail."""
    history = History()
    history.begin(State({"1": "Ada"}))
    history.settle(State({"1": "Ada"}))
    renamed = time.monotonic()
    history.begin(State({"1": "Bob"}))
    names = [state.names for state in history.between(renamed, time.monotonic())]
    check({"Ada"}, names, 0)
    check({"Bob"}, names, 0)
    with pytest.raises(AssertionError):
        check({"Eve"}, names, 0)
    history.settle(history.last)
    settled = time.monotonic()
    names = [state.names for state in history.between(settled, settled)]
    for wrong in ({"Ada"}, {"Ada", "Bob"}, set[str]()):
        with pytest.raises(AssertionError):
            check(wrong, names, 0)
