"""`/admin/api/invitations` and `/join`: how others get an account or into an application."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from knownface.api.admin import schemas, wire
from knownface.api.admin.deps import ActorDep, Number, answer, base_of, done, sent
from knownface.api.admin.describing import PREFIX, operation
from knownface.api.deps import TurnDep
from knownface.people import Role

router: Final = APIRouter(prefix=PREFIX, tags=["Admin: users"])

_INVITATION: Final = {
    "id": 5,
    "email": "john@example.org",
    "role": "USER",
    "application_id": 2,
    "application": "home",
    "invited_by": 1,
    "created_at": "2026-11-22T12:00:00Z",
    "expires_at": "2026-11-29T12:00:00Z",
}
_MADE: Final = {**_INVITATION, "link": "https://faces.example/join/…", "mailed": True}
_INVITED: Final = {"email": "john@example.org", "role": "USER", "application": "home"}
_LOST: Final = {400: "The link has been used or has expired (30)."}


@router.get("/invitations", **operation(schemas.InvitationList, {"invitations": [_INVITATION]}))
async def list_invitations(turn: TurnDep, actor: ActorDep) -> Response:
    """List the open invitations that one could have made, oldest first."""
    found = await turn.use(lambda: turn.app.invitations.list(actor))
    return answer({"invitations": [wire.invitation(one) for one in found]})


@router.post(
    "/invitations",
    **operation(
        schemas.MadeInvitation,
        _MADE,
        status=201,
        body=schemas.NewInvitation,
        body_example={"email": "john@example.org", "role": "USER", "application_id": 2},
    ),
)
async def invite(
    turn: TurnDep,
    actor: ActorDep,
    body: Annotated[schemas.NewInvitation, Depends(sent(schemas.NewInvitation))],
) -> Response:
    """Invite somebody without an account to the server or an application, for 7 days.

    The link is mailed to the address if mail is set up; it is shown only now.
    """
    app, base, role = turn.app, base_of(turn.app, turn.request), Role[body.role]
    made, link = await turn.use(
        lambda: app.invitations.invite(actor, base, body.email, role, body.application_id)
    )
    mailed = bool(made.email) and app.identity.mails
    return answer({**wire.invitation(made), "link": link, "mailed": mailed}, 201)


@router.delete("/invitations/{invitation_id}", **operation(None))
async def withdraw(turn: TurnDep, actor: ActorDep, invitation_id: Number) -> Response:
    """Take an invitation back."""
    await turn.use(lambda: turn.app.invitations.withdraw(actor, invitation_id))
    return done()


@router.get("/join/{token}", **operation(schemas.Invited, _INVITED, errors=_LOST))
async def tell_invitation(turn: TurnDep, token: str) -> Response:
    """Tell what the holder of a link is invited to; to make an account, send it to `/users`."""
    found = await turn.use(lambda: turn.app.invitations.look(token))
    return answer({"email": found.email, "role": found.role.name, "application": found.application})


@router.post("/join/{token}", **operation(schemas.Invited, _INVITED, errors=_LOST))
async def join(turn: TurnDep, actor: ActorDep, token: str) -> Response:
    """Join the application of an invitation with the account that one has."""
    found = await turn.use(lambda: turn.app.invitations.accept(actor, token))
    return answer({"email": found.email, "role": found.role.name, "application": found.application})
