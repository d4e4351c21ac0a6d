"""Around the routes: ids, limits, admission, CORS, health, and the pool of threads."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.from_thread
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

import tiny_models
from api.calls import RECOGNITION, Caller, failed, new_caller, serving
from knownface.api.deps import Pool
from knownface.api.middleware import Admission, BodyLimit
from knownface.api.server import create_server
from knownface.api.trail import Trail
from knownface.app import App, build
from knownface.errors import DeadlineExceeded, Overloaded
from knownface.settings import Settings
from knownface.types import ServiceType

ANN = tiny_models.portrait(1)
DETECT = "/api/v1/detection/detect"


def detection_key(app: App) -> dict[str, str]:
    return {"x-api-key": app.accounts.create_service("tests", "d", ServiceType.DETECTION)[1]}


# Request ids


@pytest.mark.parametrize(
    "given", ["abc", "A-1_b.2:3", "x" * 64, "0f9d3a52-6c1b-4e7a-9d44-2b8e5f70c316"]
)
def test_a_sane_request_id_is_kept(client: TestClient, given: str) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "a\tb", "<script>", 'a"b', "é"])
def test_another_is_replaced_by_one_of_ours(client: TestClient, given: str | None) -> None:
    headers = [] if given is None else [(b"X-Request-ID", given.encode())]
    ids = {client.get("/healthz", headers=headers).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("PATCH", "/healthz"),
        ("GET", f"{RECOGNITION}/subjects"),
        ("OPTIONS", DETECT),
    ],
)
def test_every_answer_has_one(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path).headers["x-request-id"]


# CORS


@pytest.mark.parametrize("origin", ["null", "http://localhost", "https://a.example"])
def test_any_page_may_send_a_key(client: TestClient, origin: str) -> None:
    answer = client.options(
        f"{RECOGNITION}/faces/x",
        headers={
            "origin": origin,
            "access-control-request-method": "DELETE",
            "access-control-request-headers": "x-api-key,content-type",
        },
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "x-api-key,content-type"


def test_options_without_an_origin_is_answered_too(client: TestClient) -> None:
    answer = client.options(DETECT)
    assert answer.status_code == 204
    assert "x-api-key" in answer.headers["access-control-allow-headers"]


def test_headers_of_a_preflight_are_not_reflected_blindly(client: TestClient) -> None:
    headers = {"access-control-request-headers": "x" * 2000}
    allowed = client.options(DETECT, headers=headers).headers["access-control-allow-headers"]
    assert "x-api-key" in allowed


def test_answers_and_errors_may_be_read_by_any_page(recognition: Caller) -> None:
    page = {"origin": "null"}
    for answer in (
        recognition.get(f"{RECOGNITION}/subjects", headers=page),
        recognition.get(f"{RECOGNITION}/nowhere", headers=page),
        recognition.client.get(f"{RECOGNITION}/subjects", headers=page),
        recognition.post(f"{RECOGNITION}/recognize", content=b"x" * (11 << 20), headers=page),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"]


def test_origins_can_be_narrowed(settings: Settings) -> None:
    with serving(settings, cors_origins="https://a.example, https://b.example/") as (_, client):
        for method in ("GET", "OPTIONS"):
            good = client.request(method, "/api/v1/config", headers={"origin": "https://b.example"})
            assert good.headers["access-control-allow-origin"] == "https://b.example"
            assert good.headers["vary"] == "Origin"
            for origin in ("https://c.example", "null", "https://a.example.evil"):
                bad = client.request(method, "/api/v1/config", headers={"origin": origin})
                assert "access-control-allow-origin" not in bad.headers
                assert bad.headers["vary"] == "Origin"


def test_only_the_api_is_open_to_other_pages(client: TestClient) -> None:
    answer = client.get("/healthz", headers={"origin": "null"})
    assert "access-control-allow-origin" not in answer.headers


# Bodies


def test_a_picture_over_the_limit_is_413_and_names_the_limit(settings: Settings) -> None:
    with serving(settings, max_file_size=len(ANN)) as (app, client):
        caller = new_caller(app, client, ServiceType.DETECTION)
        for send in (caller.send, caller.send_json):
            assert send(DETECT, ANN).status_code == 200
            answer = send(DETECT, ANN + b"\x00")
            assert failed(answer) == (413, 0)
            assert "max_file_size" in answer.json()["message"]


@pytest.mark.parametrize("declared", [True, False])
def test_a_request_over_the_limit_is_413_and_names_the_limit(
    detection: Caller, declared: bool
) -> None:
    body = b"x" * ((10 << 20) + 1)

    def pieces() -> Iterator[bytes]:
        yield from (body[i : i + 65536] for i in range(0, len(body), 65536))

    answer = detection.post(
        DETECT,
        content=body if declared else pieces(),
        headers={"content-type": "application/json"},
    )
    assert failed(answer) == (413, 0)
    assert "max_request_size, 10 MB" in answer.json()["message"]
    assert "connection" not in answer.headers


def test_a_vast_request_ends_its_connection(detection: Caller) -> None:
    answer = detection.post(DETECT, content=b"", headers={"content-length": str(100 << 30)})
    assert failed(answer) == (413, 0)
    assert answer.headers["connection"] == "close"


def test_a_body_that_stops_arriving_is_given_up() -> None:
    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        del send
        await Request(scope, receive).body()

    async def never() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def call() -> None:
        scope: Scope = {"type": "http", "headers": []}
        trail = Trail.begin(scope, None, 60)
        started = trail.deadline
        limited = BodyLimit(read, 1000, 0.01)
        with pytest.raises(DeadlineExceeded, match="stopped arriving"):
            await limited(scope, never, print)  # type: ignore[arg-type]  # nothing is sent
        assert trail.deadline == started

    anyio.run(call)


def test_a_slow_line_does_not_eat_the_time_for_the_work() -> None:
    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        del send
        await Request(scope, receive).body()

    async def pieces() -> AsyncIterator[Message]:
        for piece in range(3):
            yield {"type": "http.request", "body": b"x", "more_body": piece < 2}

    async def call() -> None:
        scope: Scope = {"type": "http", "headers": []}
        trail = Trail.begin(scope, None, timeout=-1000)
        arriving = pieces()
        await BodyLimit(read, 1000, 60)(scope, lambda: anext(arriving), print)  # type: ignore[arg-type]  # nothing is sent
        assert trail.deadline > time.monotonic() + 30

    anyio.run(call)


# Admission


def test_requests_over_the_limit_are_refused_at_once_but_never_health(settings: Settings) -> None:
    entered, leave = threading.Event(), anyio.Event()
    with build(settings.model_copy(update={"max_requests": 1})) as app:
        server = create_server(app)

        @server.get("/api/v1/test/wait")
        async def wait() -> str:
            entered.set()
            await leave.wait()
            return "done"

        with TestClient(server) as client, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.get, "/api/v1/test/wait")
            assert entered.wait(10)
            refused = client.get("/api/v1/config", headers={"origin": "null"})
            assert failed(refused) == (503, 0)
            assert refused.headers["retry-after"] == "1"
            assert refused.headers["access-control-allow-origin"] == "*"
            for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/healthz/"):
                assert client.get(path).status_code == 200
            assert client.get("/admin/api/session").status_code == 200, "people have their own"
            assert client.options("/api/v1/config").status_code == 204
            assert client.portal
            client.portal.call(leave.set)
            assert waiting.result(10).json() == "done"
            assert client.get("/api/v1/config").status_code == 200


def test_people_and_programs_do_not_keep_each_other_out() -> None:
    async def call() -> None:
        entered, leave = anyio.Event(), anyio.Event()

        async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
            del receive, send
            if scope["path"] == "/admin/api/me":
                entered.set()
                await leave.wait()

        door = Admission(waiting, most=1, desk=1, exempt=())

        async def knock(path: str) -> None:
            await door({"type": "http", "path": path}, print, print)  # type: ignore[arg-type]  # nothing is sent

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(knock, "/admin/api/me")
            await entered.wait()
            for path in ("/admin/api/session", "/login"):
                with pytest.raises(Overloaded):
                    await knock(path)
            await knock("/api/v1/recognition/recognize")
            leave.set()
        await knock("/login")

    anyio.run(call)


def test_a_failed_request_gives_its_permit_back(settings: Settings) -> None:
    with serving(settings, max_requests=1) as (_, client):
        for _attempt in range(3):
            assert client.get("/nowhere").status_code == 404
            assert client.post(DETECT, content=b"x" * (11 << 20)).status_code == 413
            assert client.post(DETECT).status_code == 400


# The pool


def test_no_more_threads_run_than_the_pool_has() -> None:
    lock, running, most = threading.Lock(), 0, 0
    barrier = threading.Barrier(2)

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait(10)
        with lock:
            running -= 1

    async def run() -> None:
        pool = Pool(2)
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(pool.run, call, time.monotonic() + 10)

    anyio.run(run)
    assert most == 2


def test_who_gets_no_thread_in_time_is_told_and_who_has_one_is_not_given_up() -> None:
    refused = threading.Event()

    async def run() -> None:
        pool, deadline = Pool(1), time.monotonic() + 0.05

        async def refuse() -> None:
            with pytest.raises(DeadlineExceeded):
                await pool.run(lambda: "never", deadline)
            refused.set()

        async with anyio.create_task_group() as group:
            started = anyio.Event()

            def work() -> str:
                anyio.from_thread.run_sync(started.set)
                return "done" if refused.wait(10) else "never refused"

            async def follow() -> None:
                await started.wait()
                await refuse()

            group.start_soon(follow)
            assert await pool.run(work, deadline) == "done"

    anyio.run(run)


def test_a_request_without_a_free_thread_is_503(settings: Settings) -> None:
    with serving(settings, request_timeout=0.001, slots=1) as (app, client):
        entered, leave = threading.Event(), threading.Event()

        def block() -> None:
            entered.set()
            leave.wait(10)

        pool: Pool = client.app.state.pool  # type: ignore[attr-defined]  # typed as any ASGI app
        assert client.portal
        blockers = [
            client.portal.start_task_soon(functools.partial(pool.run, block, time.monotonic() + 10))
            for _ in range(4)
        ]
        assert entered.wait(10)
        headers = detection_key(app)
        answer = client.post(DETECT, headers=headers)
        leave.set()
        for blocker in blockers:
            blocker.result(10)
        assert failed(answer) == (503, 41)
        assert answer.headers["retry-after"] == "1"


# Clients that go away


def test_a_handler_can_ask_whether_the_client_is_still_there(
    server: FastAPI, client: TestClient
) -> None:
    @server.post("/test/there")
    async def there(request: Request) -> bool:
        await request.body()
        return not await request.is_disconnected()

    assert client.post("/test/there", content=b"x").json() is True


def test_a_client_that_disconnects_in_the_middle_of_its_body_does_no_harm(
    settings: Settings,
) -> None:
    app = build(settings)
    server = create_server(app)
    headers = [(k.encode(), v.encode()) for k, v in detection_key(app).items()]
    headers.append((b"content-type", b"application/json"))
    sent: list[object] = []

    async def call() -> None:
        async def messages() -> AsyncIterator[dict[str, object]]:
            yield {"type": "http.request", "body": b"{", "more_body": True}
            yield {"type": "http.disconnect"}

        stream = messages()

        async def send(message: object) -> None:
            sent.append(message)

        await server(
            {
                "type": "http",
                "method": "POST",
                "path": DETECT,
                "raw_path": DETECT.encode(),
                "query_string": b"",
                "headers": headers,
            },
            lambda: anext(stream),
            send,
        )

    anyio.run(call)
    app.close()
    assert sent == []
