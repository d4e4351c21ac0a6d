"""`/admin/api/services/{id}/keys`: what opens a service."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from knownface.administration import SAME
from knownface.api.admin import schemas_services as schemas
from knownface.api.admin import wire_services as wires
from knownface.api.admin.deps import ActorDep, Number, PartDep, answer, done, sent
from knownface.api.admin.describing import PREFIX, listing, operation
from knownface.api.deps import TurnDep

router: Final = APIRouter(prefix=f"{PREFIX}/services/{{service_id}}/keys", tags=["Admin: services"])

_KEY: Final = {
    "id": 9,
    "name": "gate camera",
    "hint": "0728",
    "created_at": "2026-11-22T12:00:00Z",
    "expires_at": "2027-11-22T12:00:00Z",
    "last_used_at": None,
}
_MADE: Final = {**_KEY, "key": "6b135f5b-a365-4522-b1f1-4c9ac2dd0728"}
_ERRORS: Final = {400: "The name is taken (17) or cannot be used, or the end is over (26)."}


@router.get("", **listing(schemas.KeyList, "keys", _KEY))
async def list_keys(turn: TurnDep, actor: ActorDep, service_id: Number, part: PartDep) -> Response:
    """List the keys of a service, oldest first; of each only its last characters are known."""
    admin = turn.app.administration
    found = await turn.use(lambda: admin.keys(actor, service_id, part))
    return answer(wires.listing("keys", found, wires.key))


@router.post(
    "",
    **operation(
        schemas.MadeKey,
        _MADE,
        status=201,
        body=schemas.NewKey,
        body_example={"name": "gate camera", "expires_at": "2027-11-22T12:00:00Z"},
        errors=_ERRORS,
    ),
)
async def add_key(
    turn: TurnDep,
    actor: ActorDep,
    service_id: Number,
    body: Annotated[schemas.NewKey, Depends(sent(schemas.NewKey))],
) -> Response:
    """Make another key for a service, shown only now."""
    admin = turn.app.administration
    made, key = await turn.use(lambda: admin.add_key(actor, service_id, body.name, body.expires_at))
    return answer({**wires.key(made), "key": key}, 201)


@router.put(
    "/{key_id}",
    **operation(
        schemas.Key,
        _KEY,
        body=schemas.KeyChanges,
        body_example={"expires_at": None},
        errors=_ERRORS,
    ),
)
async def change_key(
    turn: TurnDep,
    actor: ActorDep,
    service_id: Number,
    key_id: Number,
    body: Annotated[schemas.KeyChanges, Depends(sent(schemas.KeyChanges))],
) -> Response:
    """Change the name or the end of a key; what is not sent stays."""
    admin = turn.app.administration
    changed = await turn.use(
        lambda: admin.change_key(
            actor,
            service_id,
            key_id,
            name=SAME if body.name is None else body.name,
            expires_at=body.expires_at if "expires_at" in body.model_fields_set else SAME,
        )
    )
    return answer(wires.key(changed))


@router.delete("/{key_id}", **operation(None))
async def delete_key(
    turn: TurnDep, actor: ActorDep, service_id: Number, key_id: Number
) -> Response:
    """Let a key open nothing any more."""
    await turn.use(lambda: turn.app.administration.delete_key(actor, service_id, key_id))
    return done()


@router.post("/{key_id}/rotate", **operation(schemas.MadeKey, _MADE))
async def rotate_key(
    turn: TurnDep, actor: ActorDep, service_id: Number, key_id: Number
) -> Response:
    """Put a new key in the place of one, with its name and its end; it is shown only now."""
    admin = turn.app.administration
    rotated, key = await turn.use(lambda: admin.rotate_key(actor, service_id, key_id))
    return answer({**wires.key(rotated), "key": key})
