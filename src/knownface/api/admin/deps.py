"""What handlers of administration ask for: who acts, from where, and what was sent."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar
from urllib.parse import urlsplit

from fastapi import Depends, Path, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from knownface.administration import Part
from knownface.api.admin import wire
from knownface.api.answers import NO_STORE, json_answer
from knownface.api.deps import TurnDep
from knownface.app import App
from knownface.errors import Forbidden, InvalidRequest, MissingParameter, NotSignedIn
from knownface.identity import Place, SignedIn
from knownface.identity.entrance import SESSION_LASTS
from knownface.people import Actor

Body = TypeVar("Body", bound=BaseModel)

COOKIE: Final = "knownface_session"
CSRF: Final = "x-csrf-token"
MOST: Final = 500
USUAL: Final = 50

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_COOKIE: Final = APIKeyCookie(
    name=COOKIE, auto_error=False, description="What signing in sets, in browsers."
)
_BEARER: Final = HTTPBearer(
    auto_error=False, description="A personal access token, from the profile page."
)


# Where a request comes from


def _trusted(app: App, address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    networks = filter(None, map(str.strip, app.settings.trusted_proxies.split(",")))
    return any(found in ipaddress.ip_network(network, strict=False) for network in networks)


def place_of(app: App, request: Request) -> Place:
    """Return where a request comes from; what proxies say counts where they are trusted."""
    address = request.client.host if request.client else ""
    said = request.headers.get("x-forwarded-for", "")
    hops = [hop.strip() for hop in said.split(",") if hop.strip()]
    while hops and _trusted(app, address):
        address = hops.pop()
    return Place(address, request.headers.get("user-agent", ""))


def base_of(app: App, request: Request) -> str:
    """Return the address of this server, as the sender of the request knows it, without a "/"."""
    if app.settings.public_url:
        return app.settings.public_url
    scheme = "https" if is_encrypted(app, request) else "http"
    return f"{scheme}://{request.headers.get('host', 'localhost')}"


def is_encrypted(app: App, request: Request) -> bool:
    """Tell whether the browser speaks https, be it with a proxy in front."""
    if urlsplit(app.settings.public_url).scheme == "https" or request.url.scheme == "https":
        return True
    direct = request.client.host if request.client else ""
    return request.headers.get("x-forwarded-proto") == "https" and _trusted(app, direct)


# Who acts


async def visitor(turn: TurnDep) -> Actor | None:
    """Return who is behind a request, by token or else by cookie, None where nobody is signed in.

    A request that changes something by its cookie has to carry the CSRF token (Forbidden).
    """
    request, identity = turn.request, turn.app.identity
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return await turn.use(lambda: turn.app.tokens.actor(token.strip()))
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    place = place_of(turn.app, request)
    actor = await turn.use(lambda: identity.actor_by_cookie(cookie, place.address))
    if actor is not None and request.method not in _SAFE:
        sent, expected = request.headers.get(CSRF, ""), identity.csrf_token(cookie)
        if not hmac.compare_digest(sent.encode(), expected.encode()):
            raise Forbidden("Send the header X-CSRF-Token, which GET /admin/api/session tells.")
    return actor


async def _actor(
    found: Annotated[Actor | None, Depends(visitor)],
    _cookie: Annotated[str | None, Security(_COOKIE)],
    _token: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> Actor:
    if found is None:
        raise NotSignedIn
    return found


async def _same_site(turn: TurnDep) -> None:
    """Refuse what another site makes a browser send, where no cookie stands in for a token."""
    headers, settings = turn.request.headers, turn.app.settings
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:  # which no page can set, and which knows of no proxy
        own = site in {"same-origin", "none"}
    else:
        names = {headers.get("host"), urlsplit(settings.public_url).netloc or None}
        own = origin is None or _netloc(origin) in names
    if not own:
        raise Forbidden(
            "This is not to be called from pages of other sites. "
            "If this page is the server's own, set KNOWNFACE_PUBLIC_URL to its address."
        )


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as "http://[", which is nobody's
        return ""


ActorDep = Annotated[Actor, Depends(_actor)]
VisitorDep = Annotated[Actor | None, Depends(visitor)]
SameSite = Depends(_same_site)


def csrf_token_of(app: App, request: Request) -> str | None:
    """Return what a page has to send with changes, None for a request without a cookie."""
    cookie = request.cookies.get(COOKIE)
    return app.identity.csrf_token(cookie) if cookie else None


def set_cookie(app: App, request: Request, answer: Response, cookie: str) -> None:
    """Let the browser be signed in."""
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=int(SESSION_LASTS.total_seconds()),
        path="/",
        secure=is_encrypted(app, request),
        httponly=True,
        samesite="lax",
    )


def welcome(app: App, request: Request, entered: SignedIn, status: int = 200) -> Response:
    """Answer somebody who just signed in."""
    document = {"user": wire.user(entered.user), "csrf_token": entered.csrf_token}
    answered = answer(document, status)
    set_cookie(app, request, answered, entered.cookie)
    return answered


# What was sent


def sent(model: type[Body]) -> Callable[..., Awaitable[Body]]:
    """Return a dependency that reads the JSON body as a model.

    It raises UnsupportedMediaType, MissingParameter, and InvalidRequest that names the field.
    """

    async def read(turn: TurnDep) -> Body:
        document = await turn.json()
        try:
            return model.model_validate(document)
        except ValidationError as error:
            raise _unusable(error) from None

    return read


def _unusable(error: ValidationError) -> InvalidRequest:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return MissingParameter(name)
    return InvalidRequest(f"{name or 'The body'}: {first['msg']}")


async def _part(turn: TurnDep) -> Part:
    query = turn.query
    return Part(
        (query.text("search") or "").strip(),
        query.forgiving("page", 0, least=0),
        query.forgiving("size", USUAL, least=1, most=MOST),
    )


PartDep = Annotated[Part, Depends(_part)]


# A number of the database; a larger one would be none of its integers.
Number = Annotated[int, Path(ge=1, le=2**53)]


def answer(document: object, status: int = 200) -> Response:
    """Answer with JSON that nobody keeps."""
    return json_answer(document, status, NO_STORE)


def done(status: int = 204) -> Response:
    """Answer that it is done."""
    return Response(status_code=status, headers=NO_STORE)
