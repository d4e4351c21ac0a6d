"""The HTTP server: everything around the routes, wired once for one App."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from knownface import __version__
from knownface.api import (
    admin,
    batch,
    detection,
    docs,
    faces,
    health,
    openapi,
    recognition,
    subjects,
    verification,
)
from knownface.api.answers import error_answer
from knownface.api.deps import Pool
from knownface.api.ledger import Page
from knownface.api.metrics import Metrics
from knownface.api.middleware import Admission, BodyLimit, Cors, Errors, Telemetry
from knownface.app import App, cores
from knownface.keeping import Keeper

REST_SECONDS: Final = 5.0  # without a model run, after which memory is given back
PUBLISH_SECONDS: Final = 5.0  # between two looks at what other processes are told
THREADS_PER_SLOT: Final = 4  # while one request of a slot computes, others decode, search or wait
DESK_PERMITS: Final = 32  # requests of people at one time: their pages, and what these ask
DESK_THREADS: Final = 4
NEVER_REFUSED: Final = ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json")

DESCRIPTION: Final = """
A face recognition server that speaks CompreFace's REST API.

The calls of a service take its API key in the header `x-api-key`. Parameters may come in the query
or as text parts of a form. Every failure is answered as `{"message": …, "code": …}`.

The calls below `/admin/api` are for people and their programs: they take the cookie of a session,
or a personal access token as `Authorization: Bearer TOKEN`.
"""


def create_server(app: App, page: Page | None = None) -> FastAPI:
    """Return the ASGI application that serves an App, starts it and in the end closes it.

    What it counts goes to `page`, where several processes are one server.
    """
    settings = app.settings
    metrics = Metrics(app.scheduler.depth, app.collections.sizes, page)
    app.scheduler.on_run = metrics.run
    app.pipeline.on_failure = metrics.plugin_failure
    server = FastAPI(
        title="Knownface",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI's own would tell whole paths, which hold keys and names.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan,
        exception_handlers={HTTPException: error_answer, RequestValidationError: error_answer},
        middleware=[
            Middleware(
                Telemetry,
                metrics=metrics,
                timeout=settings.request_timeout,
                count=app.usage.request,
            ),
            Middleware(Cors, origins=_origins(settings.cors_origins)),
            Middleware(Errors),
            Middleware(
                Admission, most=settings.max_requests, desk=DESK_PERMITS, exempt=NEVER_REFUSED
            ),
            Middleware(
                BodyLimit, limit=settings.max_request_size, timeout=settings.request_timeout
            ),
        ],
    )
    server.state.app = app
    server.state.metrics = metrics
    server.state.pool = Pool(THREADS_PER_SLOT * (settings.slots or cores()))
    server.state.desk = Pool(DESK_THREADS)
    server.state.provider = admin.provider(app)
    for module in (recognition, subjects, batch, faces, detection, verification, health, docs):
        server.include_router(module.router)
    server.include_router(faces.static)
    for router in admin.ROUTERS:
        server.include_router(router)
    server.openapi = partial(openapi.describe, server)  # type: ignore[method-assign]  # FastAPI's own way
    return server


@asynccontextmanager
async def _lifespan(server: FastAPI) -> AsyncIterator[None]:
    app: App = server.state.app
    metrics: Metrics = server.state.metrics
    publishing = Keeper(metrics.publish, PUBLISH_SECONDS, "publishing metrics")
    await anyio.to_thread.run_sync(app.start)
    if metrics.shared:
        publishing.start()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_rest_when_idle, app)
            yield
            tasks.cancel_scope.cancel()
    finally:
        app.begin_drain()
        await anyio.to_thread.run_sync(publishing.stop)
        await anyio.to_thread.run_sync(app.close)


async def _rest_when_idle(app: App) -> None:
    """After each time of work, once it is over, let the App rest."""
    rested = seen = 0
    while True:
        await anyio.sleep(REST_SECONDS)
        seen, before = app.scheduler.calls, seen
        if before == seen != rested:
            await anyio.to_thread.run_sync(app.rest)
            rested = seen


def _origins(setting: str) -> list[str]:
    return [origin.strip().rstrip("/") for origin in setting.split(",") if origin.strip()]
