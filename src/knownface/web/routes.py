"""The addresses of the pages."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from knownface.web import trying
from knownface.web.site import Site
from knownface.web.visits import Member, Visitor, pages, safe_next

router: Final = pages()
static: Final = APIRouter(include_in_schema=False)

ROUTERS: Final = (router, trying.router, static)


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


@router.get("/login")
async def login(visit: Visitor) -> Response:
    """Let somebody sign in."""
    return visit.page("login.html", next=safe_next(visit.query.get("next")))


@router.get("/")
async def applications(visit: Member) -> Response:
    """Show the applications."""
    return visit.page("applications.html")
