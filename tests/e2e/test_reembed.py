"""A service changes its embedder under a running server: no request notices, nothing is mixed."""

from __future__ import annotations

import json
import subprocess
import sys
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

import tiny_models
from knownface.store import Store
from owners import Owner, assert_erased, assert_stored
from sending import FACES, RECOGNIZE, SUBJECTS, add
from servers import SECONDS, Server, running_server, server_environment, tiny_settings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

EMBEDDER, OTHER = tiny_models.EMBEDDER, tiny_models.OTHER_EMBEDDER
PEOPLE = 40


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    made = tiny_settings(tmp_path)
    tiny_models.write_embedder(Path(made["KNOWNFACE_MODELS_DIR"]), OTHER, seed=7)
    return made


def reembed(environment: Any, *words: str, code: int = 0) -> Any:
    """Run the command with --json and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "knownface", "reembed", "recognition", "--json", *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=SECONDS,
        check=False,
    )
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
        while not stop.is_set():
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


def test_a_killed_server_goes_on_with_the_change_when_it_is_back(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with running_server(tmp_path, settings) as server:
        key = server.keys["recognition"]
        with server.client(key) as client, asking([client], [1]):
            pass
    with running_server(tmp_path, settings) as server:
        with server.client(key) as client:
            enrol(client, range(PEOPLE))
        reembed(server.environment, "--model", OTHER, "--no-wait")
        until(lambda: reembed(server.environment, "--status")["change"]["done"] > 0)
        server.kill()
    before = reembed(server.environment, "--status")
    assert before["embedder"] == EMBEDDER
    assert before["change"]["state"] == "running"
    assert 0 < before["change"]["done"] < PEOPLE
    with running_server(tmp_path, settings) as server, server.client(key) as client:
        assert {recognized_by(client, number) for number in range(5)} == {EMBEDDER}
        done = reembed(server.environment, "--model", OTHER)
        assert done["change"]["state"] == "done"
        assert {recognized_by(client, number) for number in range(PEOPLE)} == {OTHER}
