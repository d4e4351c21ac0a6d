"""`/admin/pictures`: photographs for the page, by addresses that are signed and soon over.

An `<img>` can send no header. So the lists of a collection, which only those get who may see it,
name each photograph by an address that says which one it is and until when it may be shown.
"""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from knownface.api.admin import collection_operations as operations
from knownface.api.deps import Turn, TurnDep
from knownface.app import App
from knownface.errors import ExampleNotFound
from knownface.imaging import thumbnail
from knownface.types import Photograph

# Lists are asked for anew well before; a tab that was left open has to do so when it is used again.
SECONDS: Final = 15 * 60
_KIND: Final = "picture"
_SMALLEST: Final = 16
_LARGEST: Final = 2048
_HEADERS: Final = {
    # A cache may keep it but has to ask each time, so that what was erased is not shown again.
    "cache-control": "private, no-cache",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

Signed = Annotated[str, Path(alias="signed", description="From a list of the collection.")]

router: Final = APIRouter(prefix="/admin/pictures", tags=operations.TAGS)


def address(turn: Turn, service_id: int, image_id: UUID) -> str:
    """Return where to get a photograph for the next ten minutes and at most fifteen.

    It stays the same for five of them, so that a browser finds in its cache what it has fetched.
    """
    prefix: str = turn.request.scope.get("root_path", "")
    return f"{prefix}/admin/pictures/{signed(turn.app, service_id, image_id)}"


def signed(app: App, service_id: int, image_id: UUID) -> str:
    """Return the part of an address that says which photograph it is of, and until when."""
    return app.signer.sign(_KIND, [service_id, image_id.hex], SECONDS)


@router.get("/{signed}", **operations.PICTURE)
async def picture(turn: TurnDep, token: Signed) -> Response:
    """Download a photograph as it was sent, or with `size` a JPEG that is no longer or higher."""
    service_id, image_id = _meant(turn.app, token)
    wanted = turn.query.integer("size", 0, least=0)
    size = min(max(wanted, _SMALLEST), _LARGEST) if wanted else 0
    # An example's bytes never change, so that its id is as good as their hash.
    headers = _HEADERS | {"etag": f'"{image_id}-{size}"'}

    def work() -> Response:
        if _has(turn.request, headers["etag"]):
            _look(turn.app, service_id, image_id)
            return Response(status_code=304, headers=headers)
        found = _photograph(turn.app, service_id, image_id)
        if not size:
            return Response(found.content, headers=headers, media_type=found.media_type)
        small = thumbnail(turn.app.decoder.decode(found.content, size), size)
        return Response(small, headers=headers, media_type="image/jpeg")

    return await turn.use(work)


def _meant(app: App, token: str) -> tuple[int, UUID]:
    match app.signer.read(_KIND, token):
        case [int(service_id), str(image_id)]:
            return service_id, UUID(image_id)
    raise _over()


def _has(request: Request, tag: str) -> bool:
    known = request.headers.get("if-none-match", "").split(",")
    return tag in {one.strip().removeprefix("W/") for one in known}


def _look(app: App, service_id: int, image_id: UUID) -> None:
    with app.store.snapshot() as tx:
        if not tx.pictured(service_id, image_id):
            raise _over()


def _photograph(app: App, service_id: int, image_id: UUID) -> Photograph:
    with app.store.snapshot() as tx:
        found = tx.photograph(service_id, image_id)
    if found is None:
        raise _over()
    return found


def _over() -> ExampleNotFound:
    return ExampleNotFound(
        "The address of this picture is over, or the picture was deleted: load the list again."
    )
