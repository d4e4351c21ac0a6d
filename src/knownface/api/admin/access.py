"""Which service a call of the page is about, and whether whoever is signed in may use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated

from fastapi import Depends

from knownface.api.admin.deps import ActorDep, Number
from knownface.api.deps import Turn, TurnDep
from knownface.types import Service, ServiceType


def _usable(kind: ServiceType) -> Callable[..., Awaitable[Service]]:
    async def service(turn: TurnDep, actor: ActorDep, service_id: Number) -> Service:
        admin = turn.app.administration
        found = await turn.use(lambda: admin.service_to_use(actor, service_id, kind))
        turn.trail.service = found.id
        return found

    return service


UsableCollection = Annotated[Service, Depends(_usable(ServiceType.RECOGNITION))]
UsableDetection = Annotated[Service, Depends(_usable(ServiceType.DETECTION))]
UsableVerification = Annotated[Service, Depends(_usable(ServiceType.VERIFICATION))]


async def _working(turn: TurnDep) -> Turn:
    # Where programs have their pictures looked at: the few threads of the page stay free for it.
    return replace(turn, pool=turn.request.app.state.pool)


WorkingTurn = Annotated[Turn, Depends(_working)]
