"""What a page's handler asks for: who visits, in which language, and the page to answer with.

    @router.get("/services/{service}/try")
    async def try_it(visit: Member, service: int) -> Response:
        found = await visit.look(lambda actor: visit.app.administration.service(actor, service))
        return visit.page("try.html", service=found)

A router of pages is made by `pages()`: whatever fails becomes a page there, or a way to sign in.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from knownface.api.admin.deps import VisitorDep, csrf_token_of
from knownface.api.answers import error_answer
from knownface.api.deps import Turn, TurnDep
from knownface.app import App
from knownface.errors import Forbidden
from knownface.people import Actor, Right, Role
from knownface.web.site import HEADERS, Site
from knownface.web.texts import Language

T = TypeVar("T")

LANGUAGE: Final = "knownface_language"
THEME: Final = "knownface_theme"
_MOST: Final = 2**53
_DIGITS: Final = len(str(_MOST))
_THEMES: Final = frozenset({"light", "dark"})


class SignInFirst(Exception):
    """Raised for a page that is only for people who are signed in."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a page: who asks, and what the answer is made with."""

    turn: Turn
    site: Site
    actor: Actor | None
    csrf_token: str | None = None

    @property
    def app(self) -> App:
        return self.turn.app

    @property
    def request(self) -> Request:
        return self.turn.request

    @property
    def language(self) -> Language:
        return _language(self.request, self.site)

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the address, the last of each name."""
        return dict(self.request.query_params)

    @property
    def search(self) -> str:
        return self.query.get("search", "").strip()

    @property
    def oidc_name(self) -> str | None:
        """What the provider is called that people may sign in with, None when there is none."""
        settings = self.turn.app.settings
        return settings.oidc_name if settings.oidc_issuer else None

    def number(self, name: str) -> int:
        """Return a number from the address, 0 where there is none."""
        said = self.query.get(name, "")
        if not said.isascii() or not said.isdigit():
            return 0
        # Python reads no number of thousands of digits.
        digits = said.lstrip("0") or "0"
        return min(int(digits), _MOST) if len(digits) <= _DIGITS else _MOST

    def rights(self, membership: Role | None = None) -> set[str]:
        """Return the names of what the visitor may do, where `membership` is his role."""
        actor = self.actor
        return {right.name for right in Right if actor and actor.may(right, membership)}

    def refuse_without(self, right: Right) -> None:
        """Forbidden for who must not do this on the server."""
        if right.name not in self.rights():
            raise Forbidden

    async def use(self, call: Callable[[], T]) -> T:
        """Run blocking code in a thread."""
        return await self.turn.use(call)

    async def look(self, call: Callable[[Actor], T]) -> T:
        """Run blocking code for whoever is signed in, in a thread; SignInFirst when nobody is."""
        actor = self.actor
        if actor is None:
            raise SignInFirst
        return await self.turn.use(lambda: call(actor))

    def page(self, template: str, status: int = 200, **context: object) -> Response:
        """Answer with a page; templates also find `actor`, `may`, `path` and `csrf_token`."""
        return _page(self.request, self.site, template, status, visit=self, **context)


async def _visit(turn: TurnDep, actor: VisitorDep) -> Visit:
    token = csrf_token_of(turn.app, turn.request) if actor else None
    return Visit(turn, turn.request.app.state.site, actor, token)


async def _member(visit: Annotated[Visit, Depends(_visit)]) -> Visit:
    if visit.actor is None:
        raise SignInFirst
    return visit


Visitor = Annotated[Visit, Depends(_visit)]
Member = Annotated[Visit, Depends(_member)]


class _PageRoute(APIRoute):
    """A route whose failures are answered as pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def show(request: Request) -> Response:
            try:
                return await handle(request)
            except SignInFirst:
                return redirect(f"/login?next={quote(_here(request), safe='/')}")
            except Exception as error:  # noqa: BLE001 - the one handler judges it
                return await error_page(request, error)

        return show


def pages() -> APIRouter:
    """Return a router for pages, which are no part of the API's documentation."""
    return APIRouter(route_class=_PageRoute, include_in_schema=False)


async def error_page(request: Request, error: Exception) -> Response:
    """Show what the API would have answered, as a page."""
    answer = await error_answer(request, error)
    message = orjson.loads(bytes(answer.body))["message"]
    known = answer.status_code if answer.status_code in (403, 404, 503) else 500
    if isinstance(error, RequestValidationError | HTTPException):
        known = 404 if answer.status_code in (400, 404) else known
    site: Site = request.app.state.site
    status = 404 if known == 404 else answer.status_code
    return _page(request, site, "error.html", status, visit=None, known=known, message=message)


def safe_next(address: str | None) -> str:
    """Return where to go after signing in: only ever a page of this server."""
    try:
        parts = urlsplit(address or "/")
    except ValueError:  # such as "//[x"
        return "/"
    own = not parts.scheme and not parts.netloc and parts.path.startswith("/")
    clean = "\\" not in (address or "") and not (address or "").startswith("//")
    return address if address and own and clean else "/"


def _page(
    request: Request, site: Site, template: str, status: int, visit: Visit | None, **context: object
) -> Response:
    actor = visit.actor if visit else None
    theme = request.cookies.get(THEME)
    html = site.render(
        template,
        _language(request, site),
        actor=actor,
        may=visit.rights() if visit else set(),
        csrf_token=visit.csrf_token if visit else None,
        path=request.url.path,
        theme=theme if theme in _THEMES else None,
        **context,
    )
    return HTMLResponse(html, status, HEADERS)


def _language(request: Request, site: Site) -> Language:
    accepted = request.headers.get("accept-language", "")
    return site.texts.choose(request.cookies.get(LANGUAGE), accepted)


def _here(request: Request) -> str:
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def redirect(address: str) -> Response:
    """Lead to another page, only this time."""
    return RedirectResponse(address, 303, {"cache-control": "no-store"})
