"""`/api/v1/recognition/faces`: the examples of a collection, and the pictures behind them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from knownface.accounts import key_digest
from knownface.api import operations, wire
from knownface.api.answers import NO_STORE, json_answer
from knownface.api.bodies import uuids_of
from knownface.api.deps import ImageId, RecognitionService, Turn, TurnDep, decoded
from knownface.api.submissions import OnePicture, Submission
from knownface.app import App
from knownface.errors import InvalidRequest
from knownface.recognition import Options
from knownface.subject_names import new_name
from knownface.types import Example, Photograph, Service, ServiceType

DEFAULT_SIZE: Final = 20
LARGEST_SIZE: Final = 2000

router: Final = APIRouter(prefix="/api/v1/recognition/faces", tags=["Examples"])
static: Final = APIRouter(prefix="/api/v1/static", tags=["Examples"])


@router.post("", **operations.ADD_EXAMPLE)
async def add_example(turn: TurnDep, service: RecognitionService, sent: OnePicture) -> Response:
    """Save the one face of a picture as an example of a subject, which is created if need be."""
    return await added(turn, service, sent)


async def added(turn: Turn, service: Service, sent: Submission) -> Response:
    """File a picture's one face, however the caller proved that he may."""
    subject = sent.parameters.required("subject")
    threshold = sent.parameters.probability("det_prob_threshold")
    options = Options(det_prob_threshold=threshold, deadline=turn.deadline)

    def add(service: Service) -> Example:
        name = new_name(subject)  # before the picture is so much as looked at
        return turn.app.recognition.add_example(service, name, sent.picture("file"), options)

    example = await turn.use_with(service, add)
    # Clients compare the answer with what they sent; lists show the spelling that is stored.
    return json_answer(wire.example(replace(example, subject=subject)), 201)


@router.get("", **operations.LIST_EXAMPLES)
async def list_examples(turn: TurnDep, service: RecognitionService) -> Response:
    """List the examples of one subject or of all, oldest first, page by page."""
    query = turn.query
    page = query.forgiving("page", 0, least=0)
    size = query.forgiving("size", DEFAULT_SIZE, least=1, most=LARGEST_SIZE)
    subject = query.text("subject") or None
    found = await turn.use(lambda: turn.app.known_faces.examples(service, subject, page, size))
    return json_answer(wire.page(found))


@router.delete("", **operations.DELETE_EXAMPLES_OF)
async def delete_examples_of(turn: TurnDep, service: RecognitionService) -> Response:
    """Delete a subject with its examples, or without `subject` all examples there are."""
    subject = turn.query.text("subject")
    if subject is not None and not subject.strip():
        # Somebody's variable was empty: that is no wish to delete everybody.
        raise InvalidRequest("Subject name is empty")
    deleted = await turn.use(lambda: turn.app.known_faces.delete_examples_of(service, subject))
    return json_answer({"deleted": deleted})


@router.post("/delete", **operations.DELETE_EXAMPLES)
async def delete_examples(turn: TurnDep, service: RecognitionService) -> Response:
    """Delete several examples at once; ids that do not exist are skipped."""
    ids = uuids_of(await turn.json())
    deleted = await turn.use(lambda: turn.app.known_faces.delete_examples(service, ids))
    return json_answer([wire.example(one) for one in deleted])


@router.delete("/{image_id}", **operations.DELETE_EXAMPLE)
async def delete_example(turn: TurnDep, service: RecognitionService, image_id: ImageId) -> Response:
    """Delete one example with its photograph."""
    deleted = await turn.use(lambda: turn.app.known_faces.delete_example(service, image_id))
    return json_answer(wire.example(deleted))


@router.get("/{image_id}/img", **operations.DOWNLOAD)
async def download(turn: TurnDep, service: RecognitionService, image_id: ImageId) -> Response:
    """Download the picture that an example was made from; no bytes when there is none."""
    found = await turn.use(lambda: turn.app.known_faces.photograph(service, image_id))
    return _picture(turn.request, image_id, found)


@static.get("/{key}/images/{image_id}", **operations.STATIC)
async def show(turn: TurnDep, key: str, image_id: ImageId) -> Response:
    """Download the same picture as an `<img>` does, which cannot send a header.

    There are no bytes for a wrong key either.
    """
    found = await turn.use(lambda: _photograph(turn.app, decoded(key), image_id))
    return _picture(turn.request, image_id, found)


def _photograph(app: App, key: str, image_id: UUID) -> Photograph | None:
    with app.store.snapshot() as tx:
        service = tx.service_by_key(key_digest(key))
        if service is None or service.type is not ServiceType.RECOGNITION:
            return None
        return tx.photograph(service.id, image_id)


def _picture(request: Request, image_id: UUID, found: Photograph | None) -> Response:
    """Answer the stored bytes, or 304 when the caller has them.

    Its cache may keep them but has to ask each time, so that an erased photograph is not shown.
    """
    if found is None:
        return Response(b"", headers=NO_STORE, media_type="application/octet-stream")
    # An example's bytes never change, so that its id is as good as their hash.
    tag = f'"{image_id}"'
    headers = {
        "etag": tag,
        "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff",
    }
    known = request.headers.get("if-none-match", "").split(",")
    if {tag, "*"} & {one.strip().removeprefix("W/") for one in known}:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
