"""The pages of one service, which share a frame with its name and tabs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, TypedDict

from starlette.responses import Response

from knownface.api.admin import wire_services as wires
from knownface.api.admin.deps import Number
from knownface.api.admin.wire import moment
from knownface.api.wire import Json
from knownface.errors import ServiceNotFound
from knownface.people import Right
from knownface.types import ServiceType
from knownface.web.administration import EVERY
from knownface.web.visits import Member, Visit, pages

router: Final = pages()

DAYS: Final = 30
MONTHS: Final = 6


class Frame(TypedDict):
    """What the frame of every page of a service shows, and what may be done there."""

    service: Json
    application: Json
    may_here: set[str]


async def frame(visit: Visit, number: int, kind: ServiceType | None = None) -> Frame:
    """Return the frame of a service (ServiceNotFound, also where it is of another kind)."""
    admin = visit.app.administration
    info = await visit.look(lambda actor: admin.service(actor, number))
    if kind not in (None, info.type):
        raise ServiceNotFound
    parent = await visit.look(lambda actor: admin.application(actor, info.application_id))
    return {
        "service": wires.service(info),
        "application": wires.application(parent),
        "may_here": visit.rights(parent.role),
    }


@router.get("/services/{number}")
async def dashboard(visit: Member, number: Number) -> Response:
    """Show one service: how much it holds, how much it is used, its keys and settings."""
    framed = await frame(visit, number)
    admin = visit.app.administration
    keys, told = await visit.look(
        lambda actor: (
            admin.keys(actor, number, EVERY),
            admin.statistics(actor, number, days=DAYS, months=MONTHS),
        )
    )
    statistics = wires.statistics(told)
    days, months = statistics["days"], statistics["months"]
    shown = framed["service"]
    shown["embedder"] = shown["embedder"] or visit.app.pipeline.embedder.name
    return visit.page(
        "dashboard.html",
        **framed,
        manages=Right.MANAGE_SERVICES.name in framed["may_here"],
        keys=[wires.key(one) for one in keys.items],
        days=days,
        total=statistics["total"],
        days_of_requests=[(day["date"], day["requests"], day["errors"]) for day in days],
        days_of_latency=[(day["date"], day["mean_ms"], day["p95_ms"]) for day in days],
        months=[(one["month"] + "-01", one["requests"], one["errors"]) for one in months],
        now=moment(datetime.now(UTC)),
        save_images_default=visit.app.settings.save_images_to_db,
    )
