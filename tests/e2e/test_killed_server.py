"""A server that is killed, not stopped: what it acknowledged stays done, and nothing is half done.

More rounds: KNOWNFACE_TEST_KILLS=50 pytest --timeout=900 tests/e2e/test_killed_server.py
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

import tiny_models
from owners import UNTOLD, Owner, State, assert_erased, assert_stored, canonical, listed
from sending import DETECT, FACES, SUBJECTS
from servers import (
    Server,
    running_server,
    server_environment,
    starting_server,
    tiny_settings,
)

pytestmark = pytest.mark.e2e

CLIENTS = 8
ROUNDS = int(os.environ.get("KNOWNFACE_TEST_KILLS", "2"))


class Acknowledged:
    """Counts what was acknowledged, and tells when it is enough."""

    def __init__(self, enough: int) -> None:
        self._lock = threading.Lock()
        self._left = enough
        self.enough = threading.Event()

    def count(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self.enough.set()


def write_until_killed(server: Server, owners: list[Owner], acknowledged: int) -> int:
    """Let the owners write until so many writes are acknowledged and the server is killed.

    Returns how many writes were under way.
    """
    counted = Acknowledged(acknowledged)

    def work(owner: Owner) -> bool:
        try:
            while True:
                owner.act()
                counted.count()
        except httpx.TransportError:
            assert counted.enough.is_set(), server.log.read_text()
            return len(owner.history.ends) > 1
        finally:
            counted.enough.set()

    with ThreadPoolExecutor(len(owners)) as pool:
        results = [pool.submit(work, owner) for owner in owners]
        counted.enough.wait()
        server.kill()
        return sum(result.result() for result in results)


def find_out(client: httpx.Client, owners: list[Owner]) -> None:
    """Let each owner know whether its last write was done: wholly, or not at all."""
    stored = listed(client)
    subjects = {
        canonical(name) for name in client.get(SUBJECTS).raise_for_status().json()["subjects"]
    }
    known = {image_id for owner in owners for image_id in owner.photographs}
    for image_id in set(stored) - known:
        content = client.get(f"{FACES}/{image_id}/img").raise_for_status().content
        (owner,) = (owner for owner in owners if owner.sent == content)
        owner.photographs[image_id] = content
    for owner in owners:
        found = {i: name for i, name in stored.items() if i in owner.photographs}
        untold = next(
            (i for i in found if all(i not in s.examples for s in owner.history.ends)), ""
        )
        named = {name for name in subjects if name.startswith(owner.prefix)}
        ends = [state.told(untold) if untold else state for state in owner.history.ends]
        fitting = [s for s in ends if s.examples == found and s.own_names == named]
        assert fitting, f"{owner.identity}: {found}, {named}, and not one of {ends}"
        owner.history.adopt(fitting[0])


def test_what_was_acknowledged_survives_and_nothing_is_half_written(
    tmp_path: Path, database_url: str, backend: str
) -> None:
    settings = tiny_settings(tmp_path) | {"KNOWNFACE_DATABASE_URL": database_url}
    dice = random.Random(7)
    owners: list[Owner] = []
    key = ""
    under_way = 0
    for turn in range(ROUNDS + 1):
        with running_server(tmp_path, settings) as server, ExitStack() as stack:
            key = key or server.keys["recognition"]
            clients = [stack.enter_context(server.client(key)) for _ in range(CLIENTS)]
            if turn == 0:
                owners = [Owner([client], n) for n, client in enumerate(clients)]
            for owner, client in zip(owners, clients, strict=True):
                owner.clients = [client]
            find_out(clients[0], owners)
            assert_stored(clients[0], owners)
            if backend == "sqlite":
                assert_erased(tmp_path / "data", owners)
            if turn < ROUNDS:
                under_way += write_until_killed(server, owners, dice.randint(20, 60))
    assert under_way, "no write was interrupted: this showed nothing"
    if backend == "sqlite":
        assert_sound(Path(database_url.removeprefix("sqlite:///")), owners)


def assert_sound(path: Path, owners: list[Owner]) -> None:
    """Look into the file: no row may be left behind that no question leads to."""
    examples = sum(len(owner.history.last.examples) for owner in owners)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        for table in ("example", "embedding", "photograph"):
            count = f"SELECT count(*) FROM {table}"  # noqa: S608 - of the names above
            assert database.execute(count).fetchone() == (examples,)


def test_a_server_killed_in_its_first_second_starts_the_next_time(
    tmp_path: Path, empty_database_url: str, backend: str
) -> None:
    """Neither a half-made database nor a lock on its making may be left."""
    settings = tiny_settings(tmp_path) | {"KNOWNFACE_DATABASE_URL": empty_database_url}
    environment = server_environment(tmp_path, settings)
    data = tmp_path / "data"
    begun = data / "knownface.db-wal" if backend == "sqlite" else data
    with starting_server(tmp_path, environment) as (process, log):
        while not begun.exists():
            assert process.poll() is None, log.read_text()
        process.kill()

    with running_server(tmp_path, settings) as server:
        key = server.keys.get("detection") or server.create_service("detection", "made later")
        with server.client(key) as client:
            files = {"file": tiny_models.portrait(1)}
            assert client.post(DETECT, files=files).status_code == 200


def test_a_write_that_was_interrupted_may_have_happened_or_not(tmp_path: Path) -> None:
    """The checks above must be able to fail: here, an example that nobody sent is stored."""
    with (
        running_server(tmp_path, tiny_settings(tmp_path)) as server,
        server.client(server.keys["recognition"]) as client,
    ):
        owner = Owner([client], 1)
        owner.sent = tiny_models.portrait(1)
        name = f"{owner.prefix}1"
        owner.history.begin(State({UNTOLD: name}))
        find_out(client, [owner])
        assert owner.history.last == State()

        owner.history.begin(State({UNTOLD: name}))
        params = {"subject": name}
        client.post(FACES, params=params, files={"file": owner.sent}).raise_for_status()
        find_out(client, [owner])
        assert list(owner.history.last.examples.values()) == [name]

        params = {"subject": f"{owner.prefix}2"}
        client.post(FACES, params=params, files={"file": owner.sent}).raise_for_status()
        with pytest.raises(AssertionError):
            find_out(client, [owner])
