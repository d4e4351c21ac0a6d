"""`/admin/oidc`: signing in with the word of an OpenID Connect provider, through Authlib.

What has to be remembered until the provider sends the browser back is in a signed cookie.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from typing import Any, Final

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter
from joserfc.errors import JoseError
from starlette.responses import RedirectResponse, Response

from knownface.api.admin import schemas
from knownface.api.admin.deps import (
    ActorDep,
    VisitorDep,
    answer,
    done,
    is_encrypted,
    place_of,
    set_cookie,
)
from knownface.api.admin.describing import PREFIX, operation
from knownface.api.deps import Turn, TurnDep
from knownface.api.schemas import Failure
from knownface.app import App
from knownface.errors import Forbidden, KnownfaceError, LinkExpired, NotFound, NotPossible
from knownface.identity import External
from knownface.people import Actor

log = logging.getLogger(__name__)

router: Final = APIRouter(tags=["Admin: OpenID Connect"])

COOKIE: Final = "knownface_oidc"
PATH: Final = "/admin/oidc"
_KIND: Final = "oidc"
_SECONDS: Final = 900
_DISCOVERY: Final = "/.well-known/openid-configuration"
_MOVED: Final = 303
# What the page tells of a failure; the query of its address names it.
_REASONS: Final[tuple[tuple[type[KnownfaceError], str], ...]] = (
    (LinkExpired, "link"),
    (NotPossible, "account"),
    (Forbidden, "closed"),
)
_REDIRECT: Final[dict[int | str, dict[str, Any]]] = {
    302: {"description": "To the provider."},
    303: {"description": "To the page; in its query `failed` names what went wrong."},
    404: {"model": Failure, "description": "No provider is set up."},
}


def provider(app: App) -> Any:
    """Return the client of the provider that the settings name, None when they name none."""
    settings = app.settings
    if not settings.oidc_issuer:
        return None
    return OAuth().register(
        name="provider",
        server_metadata_url=settings.oidc_issuer + _DISCOVERY,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret or None,
        client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256"},
    )


@router.get(f"{PATH}/login", status_code=302, response_class=Response, responses=_REDIRECT)
async def start(turn: TurnDep, next: str = "/", invitation: str | None = None) -> Response:
    """Send the browser to the provider; it comes back to `next`, a path of this server.

    With what stands behind /join/ in the link of an invitation somebody new gets an account.
    """
    return await _depart(turn, {"next": next, "invitation": invitation})


@router.post(
    f"{PREFIX}/me/oidc",
    **operation(schemas.Location, {"location": "https://id.example/authorize?…"}, status=201),
)
async def connect(turn: TurnDep, actor: ActorDep) -> Response:
    """Begin to connect one's account with one's account at the provider.

    The browser is to go to `location`. From then on the provider's word is enough to sign in.
    """
    leaving = await _depart(turn, {"next": "/profile", "user": actor.user.id})
    answered = answer({"location": leaving.headers["location"]}, 201)
    answered.raw_headers += [h for h in leaving.raw_headers if h[0] == b"set-cookie"]
    return answered


@router.delete(f"{PREFIX}/me/oidc", **operation(None))
async def disconnect(turn: TurnDep, actor: ActorDep) -> Response:
    """Sign in with one's password alone from now on."""
    await turn.use(lambda: turn.app.identity.disconnect(actor))
    return done()


@router.get(f"{PATH}/callback", status_code=303, response_class=Response, responses=_REDIRECT)
async def finish(turn: TurnDep, actor: VisitorDep) -> Response:
    """Take in whom the provider sends back: its answer is checked against what was asked."""
    if turn.request.app.state.provider is None:
        raise NotFound
    kept = turn.app.signer.read(_KIND, turn.request.cookies.get(COOKIE, ""))
    asked: Mapping[str, Any] = kept if isinstance(kept, dict) else {}
    arrived = await _arrive(turn, asked, actor)
    arrived.delete_cookie(COOKIE, path=PATH)
    arrived.headers["cache-control"] = "no-store"
    return arrived


async def _depart(turn: Turn, asked: dict[str, Any]) -> Response:
    app, client = turn.app, turn.request.app.state.provider
    if client is None:
        raise NotFound("No OpenID Connect provider is set up.")
    session: dict[str, Any] = {}
    turn.request.scope["session"] = session
    try:
        leaving: Response = await client.authorize_redirect(
            turn.request, f"{app.settings.public_url}{PATH}/callback"
        )
    except (httpx.HTTPError, AuthlibBaseError, RuntimeError, ValueError) as error:
        return _failed(error, "provider")
    leaving.set_cookie(
        COOKIE,
        app.signer.sign(_KIND, {**asked, "session": session}, _SECONDS),
        max_age=_SECONDS,
        path=PATH,
        secure=is_encrypted(app, turn.request),
        httponly=True,
        samesite="lax",
    )
    leaving.headers["cache-control"] = "no-store"
    return leaving


async def _arrive(turn: Turn, asked: Mapping[str, Any], actor: Actor | None) -> Response:
    """Sign in, or connect, and return where to go then."""
    app, request = turn.app, turn.request
    try:
        external = await _claims(turn, dict(asked.get("session") or {}))
    except (httpx.HTTPError, AuthlibBaseError, JoseError, RuntimeError, ValueError) as error:
        return _failed(error, "provider")
    target = _local(asked.get("next"))
    try:
        if (wanted := asked.get("user")) is not None:
            if actor is None or actor.user.id != wanted:
                raise NotPossible("Somebody else has signed in meanwhile.")
            await turn.use(lambda: app.identity.connect(actor, external))
            return RedirectResponse(target, _MOVED)
        place, invitation = place_of(app, request), asked.get("invitation")
        entered = await turn.use(lambda: app.identity.sign_in_external(external, place, invitation))
    except KnownfaceError as error:
        reasons = [name for kind, name in _REASONS if isinstance(error, kind)]
        return _failed(error, reasons[0] if reasons else "provider")
    arrived = RedirectResponse(target, _MOVED)
    set_cookie(app, request, arrived, entered.cookie)
    return arrived


async def _claims(turn: Turn, session: dict[str, Any]) -> External:
    """Return what the provider says, whose signature, nonce and receiver Authlib has checked."""
    client, issuer = turn.request.app.state.provider, turn.app.settings.oidc_issuer
    turn.request.scope["session"] = session
    token = await client.authorize_access_token(turn.request)
    claims: dict[str, Any] = dict(token.get("userinfo") or {})
    if not hmac.compare_digest(str(claims.get("iss", "")).rstrip("/").encode(), issuer.encode()):
        raise ValueError("another issuer than was set")
    if "email" not in claims:
        told = await client.userinfo(token=token)
        if told.get("sub") == claims.get("sub"):
            claims = {**told, **claims}
    if not claims.get("sub") or not claims.get("email"):
        raise ValueError("the provider tells no subject or e-mail address")
    first, _, last = str(claims.get("name") or "").partition(" ")
    return External(
        issuer,
        str(claims["sub"]),
        str(claims["email"]),
        claims.get("email_verified") is True,
        str(claims.get("given_name") or first),
        str(claims.get("family_name") or last),
    )


def _failed(error: Exception, reason: str) -> Response:
    # Its class, not its text, which may name a person.
    log.warning("sign-in by provider failed", extra={"error": type(error).__name__})
    return RedirectResponse(f"/login?failed={reason}", _MOVED)


def _local(path: object) -> str:
    """Return a path of this server, "/" for anything that a browser could take for another's."""
    if not isinstance(path, str) or not path.startswith("/") or not path.isprintable():
        return "/"
    return "/" if path.startswith(("//", "/\\")) or "\\" in path else path
