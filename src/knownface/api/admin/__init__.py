"""`/admin`: what people and their programs administer the server with, beside the public API."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from knownface.api.admin import (
    applications,
    collection,
    invitations,
    keys,
    me,
    oidc,
    pictures,
    services,
    session,
    system,
    trying,
    users,
)
from knownface.api.admin.oidc import provider

__all__ = ["ROUTERS", "provider"]

ROUTERS: Final[tuple[APIRouter, ...]] = (
    session.router,
    users.router,
    me.router,
    invitations.router,
    applications.router,
    services.router,
    keys.router,
    system.router,
    oidc.router,
    trying.router,
    collection.router,
    pictures.router,
)
