"""`/admin/api/session`, `/users` and `/password-resets`: the calls for who is not signed in yet."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from knownface.api.admin import schemas, wire
from knownface.api.admin.deps import (
    COOKIE,
    ActorDep,
    SameSite,
    VisitorDep,
    answer,
    csrf_token_of,
    done,
    place_of,
    sent,
    welcome,
)
from knownface.api.admin.describing import PREFIX, operation
from knownface.api.deps import TurnDep
from knownface.identity import SignUp

router: Final = APIRouter(prefix=PREFIX, tags=["Admin: session"])

USER: Final = {
    "id": 1,
    "email": "jane@example.org",
    "first_name": "Jane",
    "last_name": "Doe",
    "role": "OWNER",
    "created_at": "2026-11-22T12:00:00Z",
}
_CSRF: Final = "5f0d…"
_STATE: Final = {
    "signed_in": True,
    "owner_exists": True,
    "registration": "invited",
    "mail": False,
    "oidc": {"name": "Example"},
    "user": USER,
    "csrf_token": _CSRF,
}
_ENTERED: Final = {"user": USER, "csrf_token": _CSRF}
_CREDENTIALS: Final = {"email": "jane@example.org", "password": "correct horse"}
_BUSY: Final = {429: "Too many failed attempts; try again after `Retry-After` seconds."}
_WRONG: Final = {401: "E-mail address or password are not right (18).", **_BUSY}


@router.get("/session", **operation(schemas.State, _STATE))
async def tell_session(turn: TurnDep, actor: VisitorDep) -> Response:
    """Tell who is signed in, and how one may sign in or up here."""
    app = turn.app
    csrf = csrf_token_of(app, turn.request) if actor and actor.session else None
    return answer(
        {
            "signed_in": actor is not None,
            "owner_exists": await turn.use(app.identity.owner_exists),
            "registration": app.identity.registration,
            "mail": app.identity.mails,
            "oidc": {"name": app.settings.oidc_name} if app.settings.oidc_issuer else None,
            "user": wire.user(actor.user) if actor else None,
            "csrf_token": csrf,
        }
    )


@router.post(
    "/session",
    dependencies=[SameSite],
    **operation(
        schemas.SignedIn,
        _ENTERED,
        body=schemas.Credentials,
        body_example=_CREDENTIALS,
        errors=_WRONG,
    ),
)
async def sign_in(
    turn: TurnDep, body: Annotated[schemas.Credentials, Depends(sent(schemas.Credentials))]
) -> Response:
    """Sign in with a password: sets the cookie of a session of 14 days since its last use."""
    app, place = turn.app, place_of(turn.app, turn.request)
    entered = await turn.use(lambda: app.identity.sign_in(body.email, body.password, place))
    return welcome(app, turn.request, entered)


@router.delete("/session", **operation(None))
async def sign_out(turn: TurnDep, actor: ActorDep) -> Response:
    """End the session that the request came through."""
    await turn.use(lambda: turn.app.identity.sign_out(actor))
    ended = done()
    ended.delete_cookie(COOKIE, path="/")
    return ended


@router.post(
    "/users",
    dependencies=[SameSite],
    **operation(
        schemas.SignedIn,
        _ENTERED,
        status=201,
        body=schemas.NewUser,
        body_example={**_CREDENTIALS, "first_name": "Jane", "last_name": "Doe"},
        errors=_BUSY,
    ),
)
async def sign_up(
    turn: TurnDep, body: Annotated[schemas.NewUser, Depends(sent(schemas.NewUser))]
) -> Response:
    """Make an account and sign in.

    Whoever is first owns the server; later an invitation is needed, unless registration is open.
    """
    app, place = turn.app, place_of(turn.app, turn.request)
    asked = SignUp(body.email, body.first_name, body.last_name, body.password, body.invitation)
    entered = await turn.use(lambda: app.identity.sign_up(asked, place))
    return welcome(app, turn.request, entered, 201)


@router.post(
    "/password-resets",
    dependencies=[SameSite],
    **operation(
        None,
        status=202,
        body=schemas.ResetRequest,
        body_example={"email": "jane@example.org"},
        errors=_BUSY,
    ),
)
async def request_reset(
    turn: TurnDep, body: Annotated[schemas.ResetRequest, Depends(sent(schemas.ResetRequest))]
) -> Response:
    """Mail a link to choose a new password; the answer is the same whether there is an account."""
    app, place = turn.app, place_of(turn.app, turn.request)
    await turn.use(lambda: app.identity.request_reset(body.email, place))
    return done(202)


@router.put(
    "/password-resets/{token}",
    dependencies=[SameSite],
    **operation(
        None, body=schemas.NewPassword, body_example={"password": "correct horse"}, errors=_BUSY
    ),
)
async def reset(
    turn: TurnDep,
    token: str,
    body: Annotated[schemas.NewPassword, Depends(sent(schemas.NewPassword))],
) -> Response:
    """Choose a new password with the token of a link, and be signed out everywhere."""
    app, place = turn.app, place_of(turn.app, turn.request)
    await turn.use(lambda: app.identity.reset(token, body.password, place))
    return done()
