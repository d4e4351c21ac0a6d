"""`/admin/oidc`: signing in with the word of an OpenID Connect provider, through Authlib.

What has to be remembered until the provider sends the browser back is in a signed cookie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter
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
from knownface.api.wire import Json
from knownface.app import App
from knownface.errors import Forbidden, KnownfaceError, LinkExpired, NotFound, NotPossible
from knownface.identity import External, SignedIn
from knownface.people import Actor

if TYPE_CHECKING:
    from knownface.api.admin.provider_client import ProviderClient

router: Final = APIRouter(tags=["Admin: OpenID Connect"])

COOKIE: Final = "knownface_oidc"
PATH: Final = "/admin/oidc"
_KIND: Final = "oidc"
_SECONDS: Final = 900
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


def provider(app: App) -> ProviderClient | None:
    """Return the client of the provider that the settings name, None when they name none."""
    settings = app.settings
    if not settings.oidc_issuer:
        return None
    from knownface.api.admin.provider_client import ProviderClient

    return ProviderClient(
        settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret
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


async def _depart(turn: Turn, asked: Json) -> Response:
    app, client = turn.app, turn.request.app.state.provider
    if client is None:
        raise NotFound("No OpenID Connect provider is set up.")
    found = await client.depart(turn.request, f"{app.settings.public_url}{PATH}/callback")
    if found is None:
        return _failed("provider")
    leaving, session = found
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
    answered: Response = leaving
    return answered


async def _arrive(turn: Turn, asked: Mapping[str, Any], actor: Actor | None) -> Response:
    """Sign in, or connect, and return where to go then."""
    app, request = turn.app, turn.request
    client: ProviderClient = request.app.state.provider
    claims = await client.claims(request, dict(asked.get("session") or {}))
    if claims is None:
        return _failed("provider")
    external, target = _external(client.issuer, claims), _local(asked.get("next"))
    place, invitation, wanted = place_of(app, request), asked.get("invitation"), asked.get("user")

    def enter() -> SignedIn | None:
        if wanted is None:
            return app.identity.sign_in_external(external, place, invitation)
        if actor is None or actor.user.id != wanted:
            raise NotPossible("Somebody else has signed in meanwhile.")
        app.identity.connect(actor, external)
        return None

    try:
        entered = await turn.use(enter)
    except KnownfaceError as error:  # whoever comes back is in a browser, which shows no JSON
        reasons = [name for kind, name in _REASONS if isinstance(error, kind)]
        return _failed(reasons[0] if reasons else "provider")
    arrived = RedirectResponse(target, _MOVED)
    if entered is not None:
        set_cookie(app, request, arrived, entered.cookie)
    return arrived


def _external(issuer: str, claims: Mapping[str, Any]) -> External:
    first, _, last = str(claims.get("name") or "").partition(" ")
    return External(
        issuer,
        str(claims["sub"]),
        str(claims["email"]),
        claims.get("email_verified") is True,
        str(claims.get("given_name") or first),
        str(claims.get("family_name") or last),
    )


def _failed(reason: str) -> Response:
    return RedirectResponse(f"/login?failed={reason}", _MOVED)


def _local(path: object) -> str:
    """Return a path of this server, "/" for anything that a browser could take for another's."""
    if not isinstance(path, str) or not path.startswith("/") or not path.isprintable():
        return "/"
    return "/" if path.startswith(("//", "/\\")) or "\\" in path else path
