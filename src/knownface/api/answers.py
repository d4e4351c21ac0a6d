"""Answers: JSON documents, and the one place where an error becomes an answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from knownface.api.trail import Trail
from knownface.errors import (
    InvalidRequest,
    KnownfaceError,
    MethodNotAllowed,
    MissingParameter,
    NotFound,
    TooManyAttempts,
    Unavailable,
)

log = logging.getLogger(__name__)

SERVER_ERROR: Final = 500
NO_STORE: Final = {"cache-control": "no-store"}


def json_answer(
    document: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with a JSON document, which may hold NumPy arrays."""
    content = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, status, headers, "application/json")


async def error_answer(request: Request, error: Exception) -> Response:
    """Turn any error into `{"message", "code"}` with its status: the only handler there is.

    What was not foreseen is logged with its traceback; the client gets no more than an id.
    """
    known, headers = _known(request, error)
    if known is None:
        identifier = Trail.of(request.scope).request_id
        log.error("unforeseen error", exc_info=error)
        known = KnownfaceError(
            "Something went wrong inside the server; "
            f"its log tells more under the request id {identifier}"
        )
    elif known.status >= SERVER_ERROR:
        # Its class, not its text, which may name a person.
        log.warning("request failed", extra={"error": type(known).__name__})
    return _failure(known, headers)


def _known(
    request: Request, error: Exception
) -> tuple[KnownfaceError | None, Mapping[str, str] | None]:
    """Return the error of ours that says the same, None when there is none, and its headers."""
    if isinstance(error, KnownfaceError):
        return error, None
    if isinstance(error, RequestValidationError):
        return _validation(error), None
    if isinstance(error, HTTPException):
        return _http(request, error), _headers(request, error)
    return None, None


def _validation(error: RequestValidationError) -> KnownfaceError:
    first = error.errors()[0]
    name = str(first["loc"][-1])
    if first["type"] == "missing":
        return MissingParameter(name)
    return InvalidRequest(f"{name}: {first['msg'].removeprefix('Value error, ')}")


def _headers(request: Request, error: HTTPException) -> Mapping[str, str] | None:
    """Return the refusal's headers; the router tells of one of the methods, not of all."""
    if error.status_code != MethodNotAllowed.status:
        return error.headers
    methods: set[str] = set()
    for included in request.app.routes:
        # FastAPI keeps an included router as one route, with its own below it.
        router = getattr(included, "original_router", None)
        for route in router.routes if router else (included,):
            if route.matches(request.scope)[0] is not Match.NONE:
                methods |= getattr(route, "methods", None) or set()
    return {"allow": ", ".join(sorted(methods))}


def _http(request: Request, error: HTTPException) -> KnownfaceError:
    if error.status_code == NotFound.status:
        return NotFound()
    if error.status_code == MethodNotAllowed.status:
        return MethodNotAllowed(f"Request method '{request.method}' not supported")
    return _OtherStatus(error.status_code, error.detail)


class _OtherStatus(KnownfaceError):
    """A refusal by the framework that has no class of its own."""

    code = 0

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status  # type: ignore[misc]  # a class attribute everywhere else


def _failure(error: KnownfaceError, headers: Mapping[str, str] | None) -> Response:
    retry = {}
    if isinstance(error, Unavailable | TooManyAttempts):
        retry = {"retry-after": str(error.retry_after)}
    return json_answer(
        {"message": error.message, "code": error.code},
        error.status,
        {**NO_STORE, **(headers or {}), **retry},
    )
