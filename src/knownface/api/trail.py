"""What is known of one request while it passes through the server."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

# Read by the log's formatters, so that each line written for a request, in any thread, names it.
request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)

UNMATCHED: Final = "unmatched"
API: Final = "/api/"  # where the calls of programs are,
ADMIN: Final = "/admin/"  # and where those of the people who administer them

_SANE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_KEY: Final = "knownface.trail"


@dataclass(slots=True)
class Trail:
    """One request: its id, and what the log line and the metrics at its end want to know.

    `service` is the number of the service that was called, `faces` how many the answer holds.

    `deadline` is in seconds of `time.monotonic`; the body limit moves it while the body arrives, so
    that a slow line does not eat the time for the work. `close` asks for the end of the connection.
    """

    request_id: str
    deadline: float
    service: int | None = None
    close: bool = False
    faces: int = 0
    status: int = 0
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> Trail:
        """Return the trail of a request that `begin` was called for."""
        trail: Trail = scope[_KEY]
        return trail

    @classmethod
    def begin(cls, scope: MutableMapping[str, Any], given_id: str | None, timeout: float) -> Trail:
        """Start a request's trail, under the id that the client gave when that is a sane one."""
        sane = given_id is not None and _SANE.fullmatch(given_id)
        name = given_id if given_id and sane else secrets.token_hex(8)
        trail = cls(name, time.monotonic() + timeout)
        scope[_KEY] = trail
        return trail


def route_of(scope: MutableMapping[str, Any]) -> str:
    """Return the template of the route, never the path: a path may hold a key or a name."""
    return getattr(scope.get("route"), "path", None) or UNMATCHED


def local_path(scope: MutableMapping[str, Any]) -> str:
    """Return the path below the prefix that a proxy serves us under."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
