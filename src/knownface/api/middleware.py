"""What every request passes on its way in and out: plain ASGI, without a copy of a body.

Telemetry → Cors → Errors → Admission → BodyLimit → routes
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from knownface.api.answers import SERVER_ERROR, error_answer
from knownface.api.bodies import readable_size
from knownface.api.metrics import Metrics
from knownface.api.trail import API as PROGRAMS
from knownface.api.trail import Trail, local_path, request_id, route_of
from knownface.errors import DeadlineExceeded, Overloaded, PayloadTooLarge

log = logging.getLogger(__name__)
access_log = logging.getLogger("knownface.access")

SUBJECTS: Final = "/api/v1/recognition/subjects"
API: Final = "/api/v1/"
ADMIN: Final = "/admin/api/"
# What the statistics of a service count: work with faces, not looks at the list of names.
COUNTED: Final = tuple(
    f"{API}{kind}"
    for kind in (
        "recognition/recognize",
        "recognition/faces",
        "recognition/embeddings/",
        "detection/",
        "verification/",
    )
)
CLIENT_GONE: Final = 499
_ROUTINE: Final = frozenset({"/healthz", "/readyz", "/metrics"})
REQUEST_ID: Final = "x-request-id"

_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "OPTIONS")
_KNOWN_METHODS: Final = frozenset({*_METHODS, "HEAD", "PATCH"})
_HEADER_NAMES: Final = re.compile(r"[\w!#$%&'*+.^`|~, -]{1,1024}", re.ASCII)
_PLAIN_PATH: Final = re.compile(rb"[A-Za-z0-9_.~/-]+")  # the same encoded and not
# A body of this many limits is still read to its end, so that its sender gets to see the answer.
_KEPT_ALIVE: Final = 4
_LONGEST_PAUSE: Final = 10.0  # seconds


class Telemetry:
    """Names the request, brings its path into one form, and counts and logs it at its end.

    The path is kept percent-encoded, so that a subject's name may hold any character, "/" included.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        timeout: float,
        count: Callable[[int, int, float], None],
    ) -> None:
        """`count` is told service, status and seconds of each call that looks at faces."""
        self._app = app
        self._metrics = metrics
        self._timeout = timeout
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A copy for everything inside; the server outside still sees HEAD and sends no body.
        scope = dict(scope)
        method = scope["method"] if scope["method"] in _KNOWN_METHODS else "OTHER"
        scope["method"] = "GET" if method == "HEAD" else scope["method"]
        scope["path"] = _canonical(scope)
        trail = Trail.begin(scope, Headers(scope=scope).get(REQUEST_ID), self._timeout)
        token = request_id.set(trail.request_id)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                trail.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = trail.request_id
                if trail.close:
                    headers["connection"] = "close"
            await send(message)

        self._metrics.begin()
        try:
            await self._app(scope, receive, send_named)
        finally:
            self._finish(scope, trail, method)
            request_id.reset(token)

    def _finish(self, scope: Scope, trail: Trail, method: str) -> None:
        seconds = time.perf_counter() - trail.started
        route = route_of(scope)
        status = trail.status or CLIENT_GONE
        self._metrics.end(route, method, status, seconds, trail.faces)
        if trail.service is not None and route.startswith(COUNTED):
            self._count(trail.service, status, seconds)
        # Whoever asks for the health every few seconds would bury the requests that matter.
        quiet = route in _ROUTINE and status < SERVER_ERROR
        access_log.log(
            logging.DEBUG if quiet else logging.INFO,
            "request",
            extra={
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
                "service": trail.service,
                "faces": trail.faces,
            },
        )


class Cors:
    """Lets web pages of the allowed origins call the API; a key is a header, never a cookie."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._any = "*" in self._origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not local_path(scope).startswith(API):
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        allowed = self._allowed(asked.get("origin"))
        if scope["method"] == "OPTIONS":
            headers = allowed + _preflight(asked)
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body"})
            return

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *allowed, _EXPOSED]
            await send(message)

        await self._app(scope, receive, send_allowed)

    def _allowed(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        if self._any:
            return [(b"access-control-allow-origin", b"*")]
        # An answer that differs by origin has to say so, or a shared cache would mix them up.
        vary = (b"vary", b"Origin")
        if origin is None or origin not in self._origins:
            return [vary]
        return [(b"access-control-allow-origin", origin.encode("latin-1")), vary]


_EXPOSED: Final = (
    b"access-control-expose-headers",
    b"ETag, Retry-After, X-Request-ID",
)


def _preflight(asked: Headers) -> list[tuple[bytes, bytes]]:
    names = asked.get("access-control-request-headers", "")
    if not _HEADER_NAMES.fullmatch(names):
        names = "x-api-key, content-type, x-request-id"
    return [
        (b"access-control-allow-methods", ", ".join(_METHODS).encode()),
        (b"access-control-allow-headers", names.encode("latin-1")),
        (b"access-control-max-age", b"86400"),
    ]


class Errors:
    """Answers whatever is raised inside, by routes and by middlewares, through the one handler."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_noticed(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_noticed)
        except ClientDisconnect:
            log.debug("client disconnected")
        except Exception as error:
            if started:
                raise
            answer = await error_answer(Request(scope), error)
            await answer(scope, receive, send)


class Admission:
    """Lets `most` requests in at a time and refuses others at once: a long queue helps nobody.

    Those of people, which are not below /api, have `desk` permits of their own, so that neither
    keeps the other out.
    """

    def __init__(self, app: ASGIApp, most: int, desk: int, exempt: Collection[str]) -> None:
        self._app = app
        self._free = {True: most, False: desk}
        self._exempt = frozenset(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or local_path(scope) in self._exempt:
            await self._app(scope, receive, send)
            return
        of_programs = local_path(scope).startswith(PROGRAMS)
        if not self._free[of_programs]:
            raise Overloaded
        self._free[of_programs] -= 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._free[of_programs] += 1


class BodyLimit:
    """Refuses bodies of more than `limit` bytes, declared or not, and ones that stop arriving.

    The rest of a refused body is left to the server, which reads and drops it: closing the
    connection on a client that is still sending would hide the answer. Only a vast one is cut off.
    """

    def __init__(self, app: ASGIApp, limit: int, timeout: float) -> None:
        self._app = app
        self._limit = limit
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trail = Trail.of(scope)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limit:
            trail.close = int(declared) > self._limit * _KEPT_ALIVE
            raise self._too_large()
        received, complete = 0, False
        last = time.monotonic() + self._timeout

        async def receive_counted() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            message = await self._next(receive, last)
            received += len(message.get("body", b""))
            if received > self._limit:
                raise self._too_large()
            complete = not message.get("more_body", False)
            trail.deadline = time.monotonic() + self._timeout
            return message

        await self._app(scope, receive_counted, send)

    async def _next(self, receive: Receive, last: float) -> Message:
        """Wait for the next piece: a sender that pauses must not keep others out for long."""
        try:
            async with asyncio.timeout(min(_LONGEST_PAUSE, last - time.monotonic())):
                return await receive()
        except TimeoutError:
            raise DeadlineExceeded(
                "The body of the request stopped arriving, or arrives too slowly."
            ) from None

    def _too_large(self) -> PayloadTooLarge:
        limit = readable_size(self._limit)
        return PayloadTooLarge(f"The request is larger than max_request_size, {limit}")


def _canonical(scope: Scope) -> str:
    """Return the path percent-encoded in one way, without its optional trailing slash.

    `DELETE …/subjects/` keeps its slash: it is the deletion of a subject without a name, and must
    not become the deletion of all subjects. So does every path below /admin/api: `DELETE
    …/services/3/` has lost the rest of what it was about, and must not be about the service.
    """
    raw: bytes | None = scope.get("raw_path")
    encoded = raw.split(b"?", 1)[0] if raw else quote(scope["path"]).encode()
    if _PLAIN_PATH.fullmatch(encoded):
        path = encoded.decode()
    else:
        segments = (unquote_to_bytes(segment) for segment in encoded.split(b"/"))
        path = "/".join(quote(segment, safe="") for segment in segments)
    if path == "/" or not path.endswith("/"):
        return path
    bare = path.removesuffix("/")
    if path.removeprefix(scope.get("root_path", "")).startswith(ADMIN):
        return path
    return path if scope["method"] == "DELETE" and bare.endswith(SUBJECTS) else bare
