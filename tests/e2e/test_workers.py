"""`knownface serve --workers`: several real processes behind one port that behave as one."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import tiny_models
from servers import (
    SECONDS,
    Server,
    running_server,
    server_environment,
    starting_server,
    tiny_settings,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux who is there"),
]

RECOGNITION = "/api/v1/recognition"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return tiny_settings(tmp_path_factory.mktemp("models"))


@pytest.fixture
def server(tmp_path: Path, settings: dict[str, str]) -> Iterator[Server]:
    with running_server(tmp_path, settings, "--workers", "2") as running:
        yield running


def workers(server: Server) -> set[int]:
    pid = server.process.pid
    return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def worker_behind(client: httpx.Client) -> str:
    """Return who answers on this connection: each process counts from its own start."""
    found = re.search(r"(?m)^process_start_time_seconds (\S+)", client.get("/metrics").text)
    assert found
    return found[1]


@contextmanager
def one_client_of_each(server: Server, key: str) -> Iterator[list[httpx.Client]]:
    """Yield connections to two different workers."""
    found: dict[str, httpx.Client] = {}
    others: list[httpx.Client] = []
    try:
        give_up = time.monotonic() + SECONDS
        while len(found) < 2:
            assert time.monotonic() < give_up, "one worker answers everything"
            client = server.client(key)
            others.append(client)
            found.setdefault(worker_behind(client), client)
        yield list(found.values())
    finally:
        for client in others:
            client.close()


def recognized(client: httpx.Client, number: int) -> list[str]:
    answer = client.post(
        f"{RECOGNITION}/recognize", files={"file": tiny_models.portrait(number)}
    ).raise_for_status()
    return [one["subject"] for one in answer.json()["result"][0]["subjects"]]


def test_what_is_written_through_one_worker_is_read_through_every_other(server: Server) -> None:
    assert set(server.keys) == {"recognition", "detection", "verification"}
    with one_client_of_each(server, server.keys["recognition"]) as clients:
        for number in range(6):
            writer, reader = clients[number % 2], clients[1 - number % 2]
            writer.post(
                f"{RECOGNITION}/faces?subject=s{number}",
                files={"file": tiny_models.portrait(number)},
            ).raise_for_status()
            assert recognized(reader, number) == [f"s{number}"]
            assert recognized(writer, number) == [f"s{number}"]
            if number % 2:
                writer.delete(f"{RECOGNITION}/subjects/s{number}").raise_for_status()
                assert f"s{number}" not in recognized(reader, number)


def test_a_killed_worker_is_replaced_while_another_serves(server: Server) -> None:
    key = server.keys["recognition"]
    before = workers(server)
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(workers(server) - before) == 1)
    with server.client(key) as client:
        assert client.get(f"{RECOGNITION}/subjects").json() == {"subjects": []}
    with one_client_of_each(server, key) as clients:
        clients[0].post(f"{RECOGNITION}/subjects", json={"subject": "Ada"}).raise_for_status()
        assert clients[1].get(f"{RECOGNITION}/subjects").json() == {"subjects": ["Ada"]}
    assert server.stop() == 0
    said = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [line["status"] for line in said if "is replaced" in line["message"]] == [-9]


def test_sigterm_stops_every_worker_and_the_next_start_prints_no_key(
    server: Server, tmp_path: Path, settings: dict[str, str]
) -> None:
    processes = workers(server)
    assert server.stop() == 0
    assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]
    with running_server(tmp_path, settings, "--workers", "2") as again:
        assert again.keys == {}


def test_workers_do_not_outlive_their_watcher(server: Server) -> None:
    processes = workers(server)
    server.kill()
    until(lambda: not [pid for pid in processes if _runs(pid)])


@pytest.mark.usefixtures("measured")
def test_what_forbids_the_start_is_said_once(tmp_path: Path, settings: dict[str, str]) -> None:
    environment = server_environment(tmp_path, settings | {"KNOWNFACE_DETECTOR": "nobody"})
    with starting_server(tmp_path, environment, "--workers", "2", fresh=True) as (process, log):
        assert process.wait(SECONDS) == 1
        assert log.read_text().count("Error: ") == 1
        assert "nobody" in log.read_text()


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"  # nobody may be there to bury it
