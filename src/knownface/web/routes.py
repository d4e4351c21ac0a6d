"""The static files, and which routers there are."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from knownface.web import administration, entrance, services, trying
from knownface.web.site import Site

static: Final = APIRouter(include_in_schema=False)

ROUTERS: Final = (
    entrance.router,
    administration.router,
    services.router,
    trying.router,
    static,
)


@static.get("/static/{version}/{path:path}")
async def static_file(request: Request, version: str, path: str) -> Response:
    """Give a style, a script or an icon."""
    site: Site = request.app.state.site
    return site.assets.answer(version, path)


@static.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    """Lead browsers that ask without reading the page to the icon."""
    site: Site = request.app.state.site
    return RedirectResponse(site.assets.address("logo.svg"), 302)
