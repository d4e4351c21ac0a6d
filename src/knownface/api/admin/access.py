"""TEMPORARY stub until people/admin are merged."""
from __future__ import annotations
from typing import Annotated
from fastapi import Depends
from knownface.api.deps import TurnDep
from knownface.errors import ServiceNotFound
from knownface.types import Service, ServiceType

def _usable(kind):
    async def f(turn: TurnDep, service_id: int) -> Service:
        with turn.app.store.snapshot() as tx:
            s = tx.service(service_id)
        if s is None or s.type is not kind:
            raise ServiceNotFound("There is no such service.")
        return s
    return f
UsableCollection = Annotated[Service, Depends(_usable(ServiceType.RECOGNITION))]
UsableDetection = Annotated[Service, Depends(_usable(ServiceType.DETECTION))]
UsableVerification = Annotated[Service, Depends(_usable(ServiceType.VERIFICATION))]
