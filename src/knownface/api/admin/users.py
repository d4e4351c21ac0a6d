"""`/admin/api/users`: the others, as far as one sees them."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from knownface.api.admin import schemas, wire
from knownface.api.admin.deps import ActorDep, Number, PartDep, answer, base_of, done, sent
from knownface.api.admin.describing import PREFIX, listing, operation
from knownface.api.admin.session import USER
from knownface.api.deps import TurnDep
from knownface.api.openapi import in_query
from knownface.errors import InvalidRequest
from knownface.people import Role

router: Final = APIRouter(prefix=f"{PREFIX}/users", tags=["Admin: users"])

_REPLACERS: Final = ("deleter", "owner")


@router.get("", **listing(schemas.UserList, "users", USER))
async def list_users(turn: TurnDep, actor: ActorDep, part: PartDep) -> Response:
    """List users by name: all for owner and administrators, else whom one shares applications with.

    `search` looks in names and e-mail addresses.
    """
    users = turn.app.users
    found = await turn.use(lambda: users.list(actor, part.search, part.page, part.size))
    return answer(
        {
            "users": [wire.user(one) for one in found.users],
            "page": found.number,
            "size": found.size,
            "total": found.total,
        }
    )


@router.get("/{user_id}", **operation(schemas.UserProfile, {**USER, "owns": ["home"]}))
async def tell_user(turn: TurnDep, actor: ActorDep, user_id: Number) -> Response:
    """Tell of one user; what applications he owns is for those who may delete him."""
    found = await turn.use(lambda: turn.app.users.profile(actor, user_id))
    owns = None if found.owns is None else list(found.owns)
    return answer({**wire.user(found.user), "owns": owns})


@router.put(
    "/{user_id}/role",
    **operation(schemas.User, USER, body=schemas.NewRole, body_example={"role": "ADMINISTRATOR"}),
)
async def set_role(
    turn: TurnDep,
    actor: ActorDep,
    user_id: Number,
    body: Annotated[schemas.NewRole, Depends(sent(schemas.NewRole))],
) -> Response:
    """Change a user's role on the server; who makes another the owner becomes an administrator."""
    users, role = turn.app.users, Role[body.role]
    return answer(wire.user(await turn.use(lambda: users.set_role(actor, user_id, role))))


@router.delete(
    "/{user_id}",
    **operation(
        None,
        query=[
            in_query(
                "replacer",
                {"type": "string", "enum": list(_REPLACERS), "default": "deleter"},
                "Who gets his applications: whoever deletes him, or the server's owner.",
            )
        ],
    ),
)
async def delete_user(turn: TurnDep, actor: ActorDep, user_id: Number) -> Response:
    """Delete a user, or oneself: then one's applications pass to the server's owner."""
    replacer = turn.query.text("replacer") or _REPLACERS[0]
    if replacer not in _REPLACERS:
        raise InvalidRequest("replacer should be deleter or owner")
    to_owner = replacer == "owner"
    await turn.use(lambda: turn.app.users.delete(actor, user_id, to_owner=to_owner))
    return done()


@router.post(
    "/{user_id}/password-reset",
    **operation(schemas.Link, {"link": "https://faces.example/reset/…"}, status=201),
)
async def make_reset_link(turn: TurnDep, actor: ActorDep, user_id: Number) -> Response:
    """Make a link with which a user can choose a new password within a day, to be handed to him."""
    users, base = turn.app.users, base_of(turn.app, turn.request)
    return answer({"link": await turn.use(lambda: users.reset_link(actor, base, user_id))}, 201)
