"""`/admin/api/me`: one's own names, password, sessions and access tokens."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from knownface.api.admin import schemas, wire
from knownface.api.admin.deps import ActorDep, Number, answer, done, place_of, sent
from knownface.api.admin.describing import PREFIX, operation
from knownface.api.admin.session import USER
from knownface.api.deps import TurnDep

router: Final = APIRouter(prefix=f"{PREFIX}/me", tags=["Admin: profile"])

_SESSION: Final = {
    "id": 7,
    "created_at": "2026-11-22T12:00:00Z",
    "last_seen_at": "2026-11-22T12:30:00Z",
    "address": "192.0.2.7",
    "agent": "Mozilla/5.0",
    "current": True,
}
_TOKEN: Final = {
    "id": 3,
    "name": "backup",
    "created_at": "2026-11-22T12:00:00Z",
    "expires_at": None,
    "last_used_at": None,
}
_NEW_TOKEN: Final = {"name": "backup", "expires_at": "2027-11-22T12:00:00Z"}
_NAMES: Final = {"first_name": "Jane", "last_name": "Doe"}


@router.get("", **operation(schemas.Me, {**USER, "has_password": True, "connected": False}))
async def tell_me(turn: TurnDep, actor: ActorDep) -> Response:
    """Tell who one is, and how one may sign in."""
    ways = await turn.use(lambda: turn.app.identity.ways_in(actor))
    document = {"has_password": ways.password, "connected": ways.oidc}
    return answer({**wire.user(actor.user), **document})


@router.put("", **operation(schemas.User, USER, body=schemas.Names, body_example=_NAMES))
async def rename_me(
    turn: TurnDep,
    actor: ActorDep,
    body: Annotated[schemas.Names, Depends(sent(schemas.Names))],
) -> Response:
    """Change one's names."""
    identity = turn.app.identity
    user = await turn.use(lambda: identity.rename(actor, body.first_name, body.last_name))
    return answer(wire.user(user))


@router.put(
    "/password",
    **operation(
        None,
        body=schemas.PasswordChange,
        body_example={"old_password": "correct horse", "new_password": "battery staple"},
        errors={
            400: "The old password is not right (18), or the new one cannot be used (26).",
            429: "Too many failed attempts; try again after `Retry-After` seconds.",
        },
    ),
)
async def change_password(
    turn: TurnDep,
    actor: ActorDep,
    body: Annotated[schemas.PasswordChange, Depends(sent(schemas.PasswordChange))],
) -> Response:
    """Change one's password, and be signed out everywhere else."""
    app, place = turn.app, place_of(turn.app, turn.request)
    old, new = body.old_password, body.new_password
    await turn.use(lambda: app.identity.change_password(actor, old, new, place))
    return done()


@router.get("/sessions", **operation(schemas.SessionList, {"sessions": [_SESSION]}))
async def list_sessions(turn: TurnDep, actor: ActorDep) -> Response:
    """Tell where one is signed in, last seen first."""
    found = await turn.use(lambda: turn.app.identity.sessions(actor))
    return answer({"sessions": [wire.session(one, actor) for one in found]})


@router.delete("/sessions/{session_id}", **operation(None))
async def end_session(turn: TurnDep, actor: ActorDep, session_id: Number) -> Response:
    """Sign out somewhere else."""
    await turn.use(lambda: turn.app.identity.end_session(actor, session_id))
    return done()


@router.get("/tokens", **operation(schemas.TokenList, {"tokens": [_TOKEN]}))
async def list_tokens(turn: TurnDep, actor: ActorDep) -> Response:
    """List one's personal access tokens, oldest first, without their texts."""
    found = await turn.use(lambda: turn.app.tokens.list(actor))
    return answer({"tokens": [wire.token(one) for one in found]})


@router.post(
    "/tokens",
    **operation(
        schemas.MadeToken,
        {**_TOKEN, "token": "kft_…"},
        status=201,
        body=schemas.NewToken,
        body_example=_NEW_TOKEN,
    ),
)
async def add_token(
    turn: TurnDep,
    actor: ActorDep,
    body: Annotated[schemas.NewToken, Depends(sent(schemas.NewToken))],
) -> Response:
    """Make a personal access token, which lets a program act as oneself; it is shown only now."""
    tokens = turn.app.tokens
    made, text = await turn.use(lambda: tokens.add(actor, body.name, body.expires_at))
    return answer({**wire.token(made), "token": text}, 201)


@router.delete("/tokens/{token_id}", **operation(None))
async def remove_token(turn: TurnDep, actor: ActorDep, token_id: Number) -> Response:
    """Take a personal access token back: it opens nothing from now on."""
    await turn.use(lambda: turn.app.tokens.remove(actor, token_id))
    return done()
