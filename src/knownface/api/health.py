"""What needs no key: health, readiness, metrics, and CompreFace's two calls about the server."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from knownface import __version__
from knownface.api import operations
from knownface.api.answers import NO_STORE, json_answer
from knownface.api.deps import TurnDep
from knownface.api.metrics import Metrics

router: Final = APIRouter(tags=["Health"])


@router.get("/healthz", **operations.HEALTH)
async def healthz() -> Response:
    """Tell that the process answers; restart it when it does not."""
    return json_answer({"status": "ok", "version": __version__}, headers=NO_STORE)


@router.get("/readyz", **operations.READY)
async def readyz(turn: TurnDep) -> Response:
    """Tell whether requests can be served: database, models and one real run of them."""
    readiness = await turn.look(turn.app.readiness)
    document = {
        "status": "ready" if readiness.ready else "not ready",
        "checks": dict(readiness.checks),
        "models": dict(readiness.models),
        "limits": dict(readiness.limits),
    }
    return json_answer(document, 200 if readiness.ready else 503, NO_STORE)


@router.get("/metrics", **operations.METRICS)
async def metrics(turn: TurnDep) -> Response:
    """Give the metrics in Prometheus' text format."""
    found: Metrics = turn.request.app.state.metrics
    text = await turn.look(found.exposition)
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST, **NO_STORE})


@router.get("/api/v1/config", **operations.CONFIG)
async def config(turn: TurnDep) -> Response:
    """Tell the size limits in bytes."""
    settings = turn.app.settings
    return json_answer(
        {
            "clientMaxFileSize": settings.max_file_size,
            "clientMaxBodySize": settings.max_request_size,
        }
    )


@router.get("/api/v1/consistence/status", **operations.CONSISTENCE)
async def consistence(turn: TurnDep) -> Response:
    """Tell whether all stored embeddings come from the model in use."""
    consistent = await turn.use(turn.app.recognition.consistent)
    return json_answer(
        {
            "demoFaceCollectionIsInconsistent": False,
            "dbIsInconsistent": not consistent,
            "saveImagesToDB": turn.app.settings.save_images_to_db,
            "status": "OK",
        }
    )
