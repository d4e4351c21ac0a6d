"""The pages on which people try a service and keep its face collection."""

from __future__ import annotations

from typing import Final, NamedTuple

from starlette.responses import Response

from knownface.errors import NotFound
from knownface.people import Actor
from knownface.types import Service, ServiceType
from knownface.web.visits import Member, Visit, pages

router: Final = pages()


class Parent(NamedTuple):
    """The application of a service, as its page is found."""

    id: int
    name: str


@router.get("/services/{service_id}/try")
async def try_it(visit: Member, service_id: int) -> Response:
    """Let somebody try a service with pictures of his own."""
    service, application = await visit.look(lambda actor: _used(visit, actor, service_id))
    template = "verify.html" if service.type is ServiceType.VERIFICATION else "try.html"
    rates = visit.app.pipeline.embedder_named(service.embedder).false_matches
    return visit.page(
        template,
        words=("try", "reason"),
        service=service,
        application=application,
        prefix=visit.request.scope.get("root_path", ""),
        plugins=_plugins(visit),
        recognizing=service.type is ServiceType.RECOGNITION,
        threshold=_threshold(visit, service),
        least_rate=rates.least if rates else "",
    )


@router.get("/services/{service_id}/faces")
async def faces(visit: Member, service_id: int) -> Response:
    """Show the face collection of a service."""
    service, application = await visit.look(lambda actor: _used(visit, actor, service_id))
    if service.type is not ServiceType.RECOGNITION:
        raise NotFound("This service keeps no faces.")
    return visit.page(
        "faces.html",
        words=("faces", "reason"),
        service=service,
        application=application,
        largest=visit.app.settings.max_file_size,
    )


def _used(visit: Visit, actor: Actor, service_id: int) -> tuple[Service, Parent]:
    with visit.app.store.snapshot() as tx:
        service = tx.service(service_id)
    return service, Parent(1, service.application)


def _plugins(visit: Visit) -> list[str]:
    """Return the slugs of what can be told of a face, the usual ones first."""
    usual = ("age", "gender", "mask", "pose", "landmarks", "landmarks2d106", "calculator")
    known = visit.app.pipeline.plugins
    return [slug for slug in usual if slug in known] + sorted(set(known) - set(usual))


def _threshold(visit: Visit, service: Service) -> str:
    """Say from when on the service names somebody."""
    language, threshold = visit.language, service.threshold
    if threshold is None:
        return language.text("try.options.threshold_none")
    if threshold.max_fmr is not None:
        return language.text("try.options.threshold_is_fmr", value=f"{threshold.max_fmr:g}")
    return language.text("try.options.threshold_is_similarity", value=f"{threshold.similarity:g}")
