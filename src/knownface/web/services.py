"""The pages of one service, which share a frame with its name and tabs."""

from __future__ import annotations

from collections.abc import Iterable
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
from knownface.usage import Span
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
    shown = framed["service"]
    shown["embedder"] = shown["embedder"] or visit.app.pipeline.embedder.name
    days, months = told.days.items(), told.months.items()
    return visit.page(
        "dashboard.html",
        **framed,
        manages=Right.MANAGE_SERVICES.name in framed["may_here"],
        keys=[wires.key(one) for one in keys.items],
        days=DAYS,
        recent=_sum(told.days.values()),
        days_of_requests=[(f"{day}", span.requests, span.errors) for day, span in days],
        days_of_latency=[(f"{day}", span.mean_ms, span.p95_ms) for day, span in days],
        months=[(f"{month}", span.requests, span.errors) for month, span in months],
        now=moment(datetime.now(UTC)),
        save_images_default=visit.app.settings.save_images_to_db,
    )


def _sum(days: Iterable[Span]) -> Span:
    """Return days as one span; its mean is that of all answers, as if there were no days."""
    spans = list(days)
    answered = [(span.requests - span.errors, span.mean_ms) for span in spans]
    answers = sum(number for number, mean in answered if mean is not None)
    spent = sum(number * mean for number, mean in answered if mean is not None)
    return Span(
        requests=sum(span.requests for span in spans),
        errors=sum(span.errors for span in spans),
        mean_ms=spent / answers if answers else None,
    )
