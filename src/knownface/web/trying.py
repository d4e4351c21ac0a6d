"""The pages on which people try a service and keep its face collection."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from knownface.api.admin.deps import Number
from knownface.types import Service, ServiceType
from knownface.web.services import frame
from knownface.web.visits import Member, Visit, pages

router: Final = pages()


@router.get("/services/{number}/try")
async def try_it(visit: Member, number: Number) -> Response:
    """Let somebody try a service with pictures of his own."""
    framed = await frame(visit, number)
    admin = visit.app.administration
    service = await visit.look(lambda actor: admin.service_to_use(actor, number))
    template = "verify.html" if service.type is ServiceType.VERIFICATION else "try.html"
    rates = visit.app.pipeline.embedder_named(service.embedder).false_matches
    return visit.page(
        template,
        words=("try", "reason"),
        **framed,
        prefix=visit.request.scope.get("root_path", ""),
        plugins=_plugins(visit),
        recognizing=service.type is ServiceType.RECOGNITION,
        threshold=_threshold(visit, service),
        least_rate=rates.least if rates else "",
    )


@router.get("/services/{number}/faces")
async def faces(visit: Member, number: Number) -> Response:
    """Show the face collection of a service."""
    framed = await frame(visit, number, ServiceType.RECOGNITION)
    largest = visit.app.settings.max_file_size
    return visit.page("faces.html", words=("faces", "reason"), **framed, largest=largest)


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
