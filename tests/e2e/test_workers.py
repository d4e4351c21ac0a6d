"""`knownface serve --workers`: several real processes behind one port that behave as one."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
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
    limits = ("--slots", "3", "--max-requests", "5", "--index-memory", "1MB")
    with running_server(tmp_path, settings, "--workers", "2", *limits) as running:
        yield running


def workers(server: Server) -> set[int]:
    pid = server.process.pid
    return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def worker_behind(server: Server, client: httpx.Client) -> int:
    """Return the process that holds the other end of a client's connection."""
    stream = client.get("/healthz").extensions["network_stream"]
    port = f":{stream.get_extra_info('client_addr')[1]:04X}"
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
    socket = next(f"socket:[{fields[9]}]" for fields in lines if fields[2].endswith(port))
    return next(pid for pid in workers(server) if socket in _opened(pid))


def _opened(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.add(str(entry.readlink()))
    return found


@contextmanager
def one_client_of_each(server: Server, key: str) -> Iterator[list[httpx.Client]]:
    """Yield connections to two different workers."""
    found: dict[int, httpx.Client] = {}
    others: list[httpx.Client] = []
    try:
        give_up = time.monotonic() + SECONDS
        while len(found) < 2:
            assert time.monotonic() < give_up, "one worker answers everything"
            client = server.client(key)
            others.append(client)
            found.setdefault(worker_behind(server, client), client)
        yield list(found.values())
    finally:
        for client in others:
            client.close()


def recognized(client: httpx.Client, number: int) -> list[str]:
    answer = client.post(
        f"{RECOGNITION}/recognize", files={"file": tiny_models.portrait(number)}
    ).raise_for_status()
    return [one["subject"] for one in answer.json()["result"][0]["subjects"]]


def counted(client: httpx.Client, name: str, route: str) -> float:
    """Return a counter of the answers of a route, whatever their labels else."""
    lines = client.get("/metrics").text.splitlines()
    return sum(float(one.split()[-1]) for one in lines if one.startswith(name) and route in one)


def test_what_is_written_through_one_worker_is_read_through_every_other_at_once(
    tmp_path: Path, settings: dict[str, str], database_url: str
) -> None:
    chosen = settings | {"KNOWNFACE_DATABASE_URL": database_url}
    with running_server(tmp_path, chosen, "--workers", "2") as server, ExitStack() as opened:
        assert set(server.keys) == {"recognition", "detection", "verification"}
        key = server.keys["recognition"]
        pairs = [opened.enter_context(one_client_of_each(server, key)) for _ in range(3)]

        def come_and_go(person: int) -> None:
            for turn in range(2):
                reader, writer = pairs[person] if turn % 2 else reversed(pairs[person])
                name = f"s{person}"
                answer = writer.post(
                    f"{RECOGNITION}/faces?subject={name}",
                    files={"file": tiny_models.portrait(person)},
                )
                assert answer.status_code == 201
                assert recognized(reader, person) == [name]
                reader.delete(f"{RECOGNITION}/subjects/{name}").raise_for_status()
                assert name not in recognized(writer, person)

        with ThreadPoolExecutor(len(pairs)) as pool:
            list(pool.map(come_and_go, range(len(pairs))))


def test_workers_divide_what_is_set_and_a_killed_one_is_replaced_without_losing_a_count(
    server: Server,
) -> None:
    key, subjects = server.keys["recognition"], f"{RECOGNITION}/subjects"
    before = workers(server)
    assert len(before) == 2
    with one_client_of_each(server, key) as clients:
        for client in clients:
            limits = {"workers": 2, "slots": 2, "max_requests": 3, "index_memory": 512 << 10}
            assert client.get("/readyz").json()["limits"] == limits
        for client in (*clients, clients[0]):
            client.get(subjects).raise_for_status()
        for client in clients:
            assert counted(client, "knownface_requests_total", subjects) == 3
        os.kill(worker_behind(server, clients[0]), signal.SIGKILL)
        until(lambda: len(workers(server) - before) == 1)
        assert clients[1].get(subjects).json() == {"subjects": []}
        # The worker that is left, and whichever takes the connection that is made anew.
        for client in clients[::-1]:
            assert counted(client, "knownface_requests_total", subjects) == 4
    with one_client_of_each(server, key) as clients:
        clients[0].post(subjects, json={"subject": "Ada"}).raise_for_status()
        assert clients[1].get(subjects).json() == {"subjects": ["Ada"]}
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
