"""`/admin/api/…/services`: what applications consist of, and how much each is used."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from knownface.administration import SAME, Same
from knownface.api.admin import schemas_services as schemas
from knownface.api.admin import wire_services as wires
from knownface.api.admin.applications import NamedBody
from knownface.api.admin.deps import ActorDep, Number, PartDep, answer, done, sent
from knownface.api.admin.describing import PREFIX, listing, operation
from knownface.api.deps import TurnDep
from knownface.api.openapi import in_query
from knownface.errors import InvalidRequest
from knownface.types import ServiceType, Threshold

router: Final = APIRouter(prefix=PREFIX, tags=["Admin: services"])

_SERVICE: Final = {
    "id": 3,
    "application_id": 2,
    "name": "door",
    "type": "RECOGNITION",
    "similarity_threshold": None,
    "max_fmr": 0.0001,
    "save_images": None,
    "embedder": None,
    "subjects": 120,
    "examples": 480,
    "created_at": "2026-11-22T12:00:00Z",
    "copy": None,
}
_KEY: Final = "6b135f5b-a365-4522-b1f1-4c9ac2dd0728"
_COPIED: Final = {
    **_SERVICE,
    "copy": {"state": "running", "done": 0, "total": 480, "failure": None},
}
_ERRORS: Final = {
    400: "The name is taken (17) or has a character that is not allowed (36); another value (26)."
}
_SPAN: Final = {
    "requests": 200,
    "errors": 3,
    "client_errors": 3,
    "mean_ms": 41.5,
    "p95_ms": 63.0,
}


@router.get(
    "/applications/{application_id}/services", **listing(schemas.ServiceList, "services", _SERVICE)
)
async def list_services(
    turn: TurnDep, actor: ActorDep, application_id: Number, part: PartDep
) -> Response:
    """List the services of an application, oldest first."""
    admin = turn.app.administration
    found = await turn.use(lambda: admin.services(actor, application_id, part))
    return answer(wires.listing("services", found, wires.service))


@router.post(
    "/applications/{application_id}/services",
    **operation(
        schemas.MadeService,
        {"service": _SERVICE, "key": _KEY},
        status=201,
        body=schemas.NewService,
        body_example={"name": "door", "type": "RECOGNITION", "max_fmr": 0.0001},
        errors=_ERRORS,
    ),
)
async def create_service(
    turn: TurnDep,
    actor: ActorDep,
    application_id: Number,
    body: Annotated[schemas.NewService, Depends(sent(schemas.NewService))],
) -> Response:
    """Make a service; its first key is shown only now."""
    admin, threshold = turn.app.administration, _threshold(body.similarity_threshold, body.max_fmr)
    made = await turn.use(
        lambda: admin.create_service(
            actor,
            application_id,
            body.name,
            ServiceType[body.type],
            threshold=threshold,
            save_images=body.save_images,
        )
    )
    return answer({"service": wires.service(made.info), "key": made.key}, 201)


@router.get("/services/{service_id}", **operation(schemas.Service, _SERVICE))
async def tell_service(turn: TurnDep, actor: ActorDep, service_id: Number) -> Response:
    """Tell of one service."""
    found = await turn.use(lambda: turn.app.administration.service(actor, service_id))
    return answer(wires.service(found))


@router.put(
    "/services/{service_id}",
    **operation(
        schemas.Service,
        _SERVICE,
        body=schemas.ServiceChanges,
        body_example={"name": "door", "similarity_threshold": 0.8},
        errors=_ERRORS,
    ),
)
async def change_service(
    turn: TurnDep,
    actor: ActorDep,
    service_id: Number,
    body: Annotated[schemas.ServiceChanges, Depends(sent(schemas.ServiceChanges))],
) -> Response:
    """Change name, threshold or whether photographs are kept; what is not sent stays."""
    admin, given = turn.app.administration, body.model_fields_set
    threshold: Threshold | Same | None = SAME
    if given & {"similarity_threshold", "max_fmr"}:
        threshold = _threshold(body.similarity_threshold, body.max_fmr)
    now = await turn.use(
        lambda: admin.change_service(
            actor,
            service_id,
            name=SAME if body.name is None else body.name,
            threshold=threshold,
            save_images=body.save_images if "save_images" in given else SAME,
        )
    )
    return answer(wires.service(now))


@router.delete(
    "/services/{service_id}",
    **operation(
        None,
        body=schemas.Named,
        body_example={"name": "door"},
        errors={400: "The name is not that of the service (26)."},
    ),
)
async def delete_service(
    turn: TurnDep, actor: ActorDep, service_id: Number, body: NamedBody
) -> Response:
    """Erase a service with its keys, faces, photographs and numbers; its name has to be sent."""
    admin = turn.app.administration
    await turn.use(lambda: admin.delete_service(actor, service_id, body.name))
    return done()


@router.post(
    "/services/{service_id}/clone",
    **operation(
        schemas.MadeService,
        {"service": _COPIED, "key": _KEY},
        status=202,
        body=schemas.Named,
        body_example={"name": "gate"},
        errors=_ERRORS,
    ),
)
async def clone_service(
    turn: TurnDep, actor: ActorDep, service_id: Number, body: NamedBody
) -> Response:
    """Make a service that holds what this one holds now; `copy` tells how far that is.

    It can be used at once. Who is deleted here before being copied is not in the copy.
    """
    admin = turn.app.administration
    made = await turn.use(lambda: admin.clone_service(actor, service_id, body.name))
    return answer({"service": wires.service(made.info), "key": made.key}, 202)


@router.get(
    "/services/{service_id}/statistics",
    **operation(
        schemas.Statistics,
        {
            "days": [{"date": "2026-11-22", **_SPAN}],
            "months": [{"month": "2026-11", **_SPAN}],
            "total": _SPAN,
        },
        query=(
            in_query(
                "days",
                {"type": "integer", "minimum": 1, "maximum": 366, "default": 30},
                "How many days, today included.",
            ),
            in_query(
                "months",
                {"type": "integer", "minimum": 1, "maximum": 24, "default": 6},
                "How many months, this one included.",
            ),
        ),
    ),
)
async def tell_statistics(turn: TurnDep, actor: ActorDep, service_id: Number) -> Response:
    """Tell how often a service was called with its keys, how that ended and how long it took."""
    days = turn.query.integer("days", 30, least=1)
    months = turn.query.integer("months", 6, least=1)
    admin = turn.app.administration
    told = await turn.use(lambda: admin.statistics(actor, service_id, days=days, months=months))
    return answer(wires.statistics(told))


def _threshold(similarity: float | None, max_fmr: float | None) -> Threshold | None:
    if similarity is None and max_fmr is None:
        return None
    if similarity is not None and max_fmr is not None:
        raise InvalidRequest("Send either similarity_threshold or max_fmr, not both")
    return Threshold(similarity, max_fmr)
