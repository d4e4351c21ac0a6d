"""`/admin/api/system`: how the server is doing."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from knownface.api.admin import schemas_services as schemas
from knownface.api.admin import wire_services as wires
from knownface.api.admin.deps import ActorDep, answer
from knownface.api.admin.describing import PREFIX, operation
from knownface.api.deps import TurnDep

router: Final = APIRouter(prefix=f"{PREFIX}/system", tags=["Admin: system"])

_SYSTEM: Final = {
    "version": "0.1.0",
    "started_at": "2026-11-22T12:00:00Z",
    "machine": {
        "system": "Linux 6.12",
        "processor": "AMD EPYC 9R14",
        "cores": 2,
        "memory_bytes": 8 << 30,
        "python": "3.12.7",
    },
    "database": {"kind": "sqlite", "bytes": 52428800},
    "disk": {"free_bytes": 64424509440},
    "models": [
        {
            "name": "sface",
            "task": "embedder",
            "version": "sface-2021dec",
            "state": "ready",
            "runtime": "OpenVINO 2026.2 CPU f32",
            "required": True,
        }
    ],
    "indexes": [
        {"service_id": 3, "service": "door", "application": "home", "faces": 480, "bytes": 245760}
    ],
    "queue": {"sface": 0},
    "checks": {"accepting": "ok", "database": "ok", "models": "ok", "inference": "ok"},
    "ready": True,
}


@router.get("", **operation(schemas.System, _SYSTEM))
async def tell_system(turn: TurnDep, actor: ActorDep) -> Response:
    """Tell versions, models, indexes, queues, database and disk; for owner and administrators."""
    found = await turn.look(lambda: turn.app.administration.system(actor))
    return answer(wires.system(found))
