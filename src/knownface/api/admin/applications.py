"""`/admin/api/applications`: tenants, and who belongs to them."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from knownface.api.admin import schemas_services as schemas
from knownface.api.admin import wire
from knownface.api.admin import wire_services as wires
from knownface.api.admin.deps import ActorDep, Number, PartDep, answer, base_of, done, sent
from knownface.api.admin.describing import PREFIX, listing, operation
from knownface.api.deps import Turn, TurnDep
from knownface.errors import UserNotFound
from knownface.people import Actor, Role

router: Final = APIRouter(prefix=f"{PREFIX}/applications", tags=["Admin: applications"])

_APPLICATION: Final = {
    "id": 2,
    "name": "home",
    "role": "OWNER",
    "owner": {"id": 1, "first_name": "Jane", "last_name": "Doe"},
    "services": 3,
    "members": 2,
    "created_at": "2026-11-22T12:00:00Z",
}
_MEMBER: Final = {
    "id": 4,
    "email": "john@example.org",
    "first_name": "John",
    "last_name": "Roe",
    "role": "USER",
}
_NAME_ERRORS: Final = {
    400: "The name is taken (17), has a character that is not allowed (36), or its length (26)."
}
_ENDING_ERRORS: Final = {400: "The name is not that of what was to be deleted (26)."}

NamedBody = Annotated[schemas.Named, Depends(sent(schemas.Named))]


@router.get("", **listing(schemas.ApplicationList, "applications", _APPLICATION))
async def list_applications(turn: TurnDep, actor: ActorDep, part: PartDep) -> Response:
    """List the applications that one sees, oldest first."""
    found = await turn.use(lambda: turn.app.administration.applications(actor, part))
    return answer(wires.listing("applications", found, wires.application))


@router.post(
    "",
    **operation(
        schemas.Application,
        _APPLICATION,
        status=201,
        body=schemas.Named,
        body_example={"name": "home"},
        errors=_NAME_ERRORS,
    ),
)
async def create_application(turn: TurnDep, actor: ActorDep, body: NamedBody) -> Response:
    """Make an application, which is one's own."""
    admin = turn.app.administration
    made = await turn.use(lambda: admin.create_application(actor, body.name))
    return answer(wires.application(made), 201)


@router.get("/{application_id}", **operation(schemas.Application, _APPLICATION))
async def tell_application(turn: TurnDep, actor: ActorDep, application_id: Number) -> Response:
    """Tell of one application."""
    found = await turn.use(lambda: turn.app.administration.application(actor, application_id))
    return answer(wires.application(found))


@router.put(
    "/{application_id}",
    **operation(
        schemas.Application,
        _APPLICATION,
        body=schemas.Named,
        body_example={"name": "home"},
        errors=_NAME_ERRORS,
    ),
)
async def rename_application(
    turn: TurnDep, actor: ActorDep, application_id: Number, body: NamedBody
) -> Response:
    """Give an application another name."""
    admin = turn.app.administration
    now = await turn.use(lambda: admin.rename_application(actor, application_id, body.name))
    return answer(wires.application(now))


@router.delete(
    "/{application_id}",
    **operation(None, body=schemas.Named, body_example={"name": "home"}, errors=_ENDING_ERRORS),
)
async def delete_application(
    turn: TurnDep, actor: ActorDep, application_id: Number, body: NamedBody
) -> Response:
    """Erase an application with its services and all that they hold; its name has to be sent."""
    admin = turn.app.administration
    await turn.use(lambda: admin.delete_application(actor, application_id, body.name))
    return done()


@router.get("/{application_id}/members", **listing(schemas.MemberList, "members", _MEMBER))
async def list_members(
    turn: TurnDep, actor: ActorDep, application_id: Number, part: PartDep
) -> Response:
    """List who belongs to an application, by name."""
    admin = turn.app.administration
    found = await turn.use(lambda: admin.members(actor, application_id, part))
    return answer(wires.listing("members", found, wires.member))


@router.post(
    "/{application_id}/members",
    **operation(
        schemas.MadeMember,
        {"member": _MEMBER},
        status=201,
        body=schemas.NewMember,
        body_example={"email": "john@example.org", "role": "USER"},
        errors={400: "He belongs to it already (19), or the address is none (22)."},
    ),
)
async def add_member(
    turn: TurnDep,
    actor: ActorDep,
    application_id: Number,
    body: Annotated[schemas.NewMember, Depends(sent(schemas.NewMember))],
) -> Response:
    """Let somebody belong to an application; who has no account yet is invited to make one."""
    base = base_of(turn.app, turn.request)
    document = await turn.use(lambda: _added(turn, actor, application_id, body, base))
    return answer(document, 201)


@router.put(
    "/{application_id}/members/{user_id}",
    **operation(
        schemas.Member,
        _MEMBER,
        body=schemas.MemberRole,
        body_example={"role": "ADMINISTRATOR"},
        errors={400: "The owner has to hand over first (9)."},
    ),
)
async def set_member(
    turn: TurnDep,
    actor: ActorDep,
    application_id: Number,
    user_id: Number,
    body: Annotated[schemas.MemberRole, Depends(sent(schemas.MemberRole))],
) -> Response:
    """Change a member's role; who makes another the owner becomes an administrator."""
    admin, role = turn.app.administration, Role[body.role]
    now = await turn.use(lambda: admin.set_member(actor, application_id, user_id, role))
    return answer(wires.member(now))


@router.delete(
    "/{application_id}/members/{user_id}",
    **operation(None, errors={400: "The owner has to hand over first (9)."}),
)
async def remove_member(
    turn: TurnDep, actor: ActorDep, application_id: Number, user_id: Number
) -> Response:
    """Let a member not belong to the application any more; his account stays."""
    admin = turn.app.administration
    await turn.use(lambda: admin.remove_member(actor, application_id, user_id))
    return done()


def _added(
    turn: Turn, actor: Actor, application_id: int, body: schemas.NewMember, base: str
) -> dict[str, object]:
    app, role = turn.app, Role[body.role]
    try:
        return {
            "member": wires.member(
                app.administration.add_member(actor, application_id, body.email, role)
            )
        }
    except UserNotFound:
        made, link = app.invitations.invite(actor, base, body.email, role, application_id)
        mailed = bool(made.email) and app.identity.mails
        return {"invitation": {**wire.invitation(made), "link": link, "mailed": mailed}}
