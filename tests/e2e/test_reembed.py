"""A service changes its embedder under a running server: no request notices, nothing is mixed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import processes
import tiny_models
from databases import PostgresServer
from knownface.store import Store
from owners import Owner, assert_erased, assert_stored
from sending import RECOGNIZE, SUBJECTS, add
from servers import (
    SECONDS,
    Server,
    running_server,
    server_environment,
    starting_server,
    tiny_settings,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

EMBEDDER, OTHER = tiny_models.EMBEDDER, tiny_models.OTHER_EMBEDDER
PEOPLE = 16
FEW = 8
# Seconds between a client's requests: there must be room for the change that they wait for.
PACE = 0.02


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    made = tiny_settings(tmp_path)
    tiny_models.write_embedder(Path(made["KNOWNFACE_MODELS_DIR"]), OTHER, seed=7)
    return made


def reembed(environment: Any, *words: str, code: int = 0) -> Any:
    """Run the command with --json and return what it prints."""
    folder = Path(environment["KNOWNFACE_DATA"]).parent
    done = processes.run(("reembed", "recognition", "--json", *words), folder, environment, SECONDS)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def until(found: Callable[[], bool]) -> None:
    """Wait for something that another process does; the test's time limit ends a vain wait."""
    while not found():
        time.sleep(0.05)


def enrol(client: httpx.Client, people: Sequence[int]) -> None:
    for number in people:
        add(client, f"Person {number}", tiny_models.portrait(number))


def recognized_by(client: httpx.Client, number: int) -> str:
    """Recognize a person, who has to be known beyond doubt, and return the model that did it."""
    files = {"file": tiny_models.portrait(number)}
    asked = {"status": "true", "face_plugins": "calculator", "prediction_count": "2"}
    answer = client.post(RECOGNIZE, files=files, params=asked).raise_for_status().json()
    (face,) = answer["result"]
    best, *others = face["subjects"]
    assert best["subject"] == f"Person {number}"
    assert best["similarity"] > 0.99, "the embeddings of two models were compared"
    assert all(other["similarity"] < 0.5 for other in others)
    model = str(answer["plugins_versions"]["calculator"])
    # It must be the one that made the embedding in the answer, too.
    assert model == model_of(number, face["embedding"])
    return model


def model_of(number: int, embedding: Sequence[float]) -> str:
    """Tell which model made an embedding of a person."""
    pattern = tiny_models.identity_pattern(number)
    cells = np.zeros((8, 8), np.float32)
    ring = np.ones((8, 8), np.bool_)
    ring[2:6, 2:6] = False
    cells[ring] = pattern
    likeness = {}
    for name, seed in ((EMBEDDER, 112), (OTHER, 7)):
        basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((128, 64)))[0]
        own = basis @ cells.ravel()
        likeness[name] = float(own @ np.array(embedding) / np.linalg.norm(own))
    return max(likeness, key=lambda name: likeness[name])


@contextmanager
def asking(clients: Sequence[httpx.Client], people: Sequence[int]) -> Iterator[list[list[str]]]:
    """Recognize these people again and again meanwhile; yields the models, client by client."""
    answers: list[list[str]] = [[] for _ in clients]
    stop = threading.Event()

    def ask(client: httpx.Client, models: list[str]) -> None:
        while not stop.wait(PACE):
            models.append(recognized_by(client, people[len(models) % len(people)]))

    with ThreadPoolExecutor(len(clients)) as pool:
        asked = [pool.submit(ask, *one) for one in zip(clients, answers, strict=True)]
        try:
            yield answers
        finally:
            stop.set()
        for one in asked:
            one.result()


def test_requests_go_on_while_a_service_changes_its_embedder(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with running_server(tmp_path, settings) as server, ExitStack() as stack:
        key = server.keys["recognition"]
        clients = [stack.enter_context(server.client(key)) for _ in range(3)]
        enrol(clients[0], range(PEOPLE))
        with asking(clients, range(PEOPLE)) as answers:
            until(lambda: all(answers))
            told = reembed(server.environment, "--model", OTHER)
            add(clients[0], "Person 45", tiny_models.portrait(45))
            counts = [len(models) for models in answers]
            until(lambda: all(len(m) > c for m, c in zip(answers, counts, strict=True)))
        assert (told["embedder"], told["change"]["state"]) == (OTHER, "done")
        assert told["change"]["done"] == told["change"]["total"] == PEOPLE
        for models in answers:
            assert models == sorted(models, key=[EMBEDDER, OTHER].index)
            assert set(models) == {EMBEDDER, OTHER}
        assert recognized_by(clients[0], 45) == OTHER
        again = reembed(server.environment, "--model", OTHER)
        assert again["kept_aside"] == []
        assert clients[0].get("/readyz").status_code == 200


def enrol_large(client: httpx.Client) -> None:
    """Enrol people with pictures that take a server long enough to be caught at its work."""
    for number in range(FEW):
        mark = tiny_models.Mark(number, 256, 256, 1024)
        add(client, f"Person {number}", tiny_models.encode(tiny_models.picture([mark], 1536, 1536)))


def progress(store: Store) -> int:
    """Return how many examples are through; the change has to be under way still."""
    with store.snapshot() as tx:
        (change,) = tx.open_reembeddings()
    assert change.total in (0, FEW)
    return change.done


def test_a_killed_server_goes_on_with_the_change_when_it_is_back(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with running_server(tmp_path, settings) as server:
        key = server.keys["recognition"]
        with server.client(key) as client:
            enrol_large(client)
        with closing(Store.open(f"sqlite:///{tmp_path}/data/knownface.db")) as store:
            reembed(server.environment, "--model", OTHER, "--no-wait")
            until(lambda: progress(store) > 0)
            server.kill()
            reached = progress(store)
    assert 0 < reached < FEW
    before = reembed(server.environment, "--status")
    assert before["embedder"] == EMBEDDER
    assert before["change"]["done"] == reached
    with running_server(tmp_path, settings) as server, server.client(key) as client:
        assert {recognized_by(client, number) for number in range(FEW)} == {EMBEDDER}
        done = reembed(server.environment, "--model", OTHER)
        assert done["change"]["state"] == "done"
        assert {recognized_by(client, number) for number in range(FEW)} == {OTHER}
        log = server.log.read_text()
    resumed = [json.loads(line) for line in log.splitlines() if "changing the embedder" in line]
    assert [line["done"] for line in resumed] == [reached]


def test_of_two_servers_one_does_the_work_and_the_other_takes_over(
    tmp_path: Path, settings: dict[str, str], postgres_server: PostgresServer
) -> None:
    url = postgres_server.url(postgres_server.create_database())
    shared = settings | {"KNOWNFACE_DATABASE_URL": url}
    with (
        running_server(tmp_path / "one", shared) as one,
        running_server(tmp_path / "two", shared) as two,
        closing(Store.open(url)) as store,
    ):
        key = one.keys["recognition"]
        with one.client(key) as client:
            enrol_large(client)
        reembed(one.environment, "--model", OTHER, "--no-wait")
        until(lambda: progress(store) > 0)
        working = [server for server in (one, two) if works(server)]
        (left,) = (server for server in (one, two) if server not in working)
        assert len(working) == 1
        working[0].kill()
        with left.client(key) as client:
            assert {recognized_by(client, number) for number in range(FEW)} == {EMBEDDER}
            done = reembed(left.environment, "--model", OTHER)
            assert (done["embedder"], done["kept_aside"]) == (OTHER, [])
            assert works(left)
            assert {recognized_by(client, number) for number in range(FEW)} == {OTHER}


def works(server: Server) -> bool:
    return "changing the embedder" in server.log.read_text()


def test_two_servers_change_at_the_same_moment(
    tmp_path: Path, settings: dict[str, str], postgres_server: PostgresServer
) -> None:
    url = postgres_server.url(postgres_server.create_database())
    shared = settings | {"KNOWNFACE_DATABASE_URL": url}
    with (
        running_server(tmp_path / "one", shared) as one,
        running_server(tmp_path / "two", shared) as two,
        ExitStack() as stack,
    ):
        key = one.keys["recognition"]
        clients = [stack.enter_context(server.client(key)) for server in (one, two)]
        enrol(clients[0], range(FEW))
        with asking(clients, range(FEW)) as answers:
            until(lambda: all(answers))
            reembed(one.environment, "--model", OTHER)
            assert [recognized_by(client, 3) for client in clients] == [OTHER, OTHER]
        for models in answers:
            assert models == sorted(models, key=[EMBEDDER, OTHER].index)


def test_without_a_server_the_command_does_the_work(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with running_server(tmp_path, settings) as server:
        key = server.keys["recognition"]
        with server.client(key) as client:
            enrol(client, range(FEW))
    changed = settings | {"KNOWNFACE_EMBEDDER": OTHER}
    environment = server_environment(tmp_path, changed)
    with starting_server(tmp_path, environment) as (process, log):
        assert process.wait(SECONDS) == 1
        assert f"knownface reembed recognition --application default --model {OTHER}" in (
            log.read_text()
        )
    done = reembed(environment, "--model", OTHER)
    assert (done["embedder"], done["change"]["done"]) == (OTHER, FEW)
    with running_server(tmp_path, changed) as server, server.client(key) as client:
        assert {recognized_by(client, number) for number in range(FEW)} == {OTHER}


def test_owners_who_write_all_the_time_find_what_they_wrote(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with running_server(tmp_path, settings) as server, ExitStack() as stack:
        key = server.keys["recognition"]
        clients = [stack.enter_context(server.client(key)) for _ in range(4)]
        owners = [Owner([client], number) for number, client in enumerate(clients)]
        stop = threading.Event()

        def write(owner: Owner) -> None:
            while not stop.wait(PACE):
                owner.act()

        with ThreadPoolExecutor(len(owners)) as pool:
            writing = [pool.submit(write, owner) for owner in owners]
            try:
                for model in (OTHER, EMBEDDER):
                    reembed(server.environment, "--model", model)
            finally:
                stop.set()
            for one in writing:
                one.result()
        assert_stored(clients[0], owners)
        assert_erased(tmp_path / "data", owners)
        assert clients[0].get(SUBJECTS).status_code == 200
