"""`/api/v1/recognition/faces/batch`: many examples with one request, and all of them back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from knownface.api import operations, wire
from knownface.api.answers import NO_STORE
from knownface.api.deps import RecognitionService, Turn, TurnDep
from knownface.api.submissions import Batch, ManyPictures
from knownface.bulk.enrolment import Enrolment, Filed, Prepared
from knownface.bulk.exporting import Export, zip_pieces
from knownface.errors import KnownfaceError
from knownface.recognition import Options

Found = Prepared | Filed | KnownfaceError

router: Final = APIRouter(prefix="/api/v1/recognition/faces/batch", tags=["Examples"])


@router.post("", **operations.ADD_EXAMPLES)
async def add_examples(turn: TurnDep, service: RecognitionService, sent: ManyPictures) -> Response:
    """Save the one face of each picture; one that fails does not keep the others from it.

    A picture that its subject has already is not stored again, so a request whose answer was lost
    may be sent again.
    """
    threshold = sent.parameters.probability("det_prob_threshold")
    options = Options(det_prob_threshold=threshold, deadline=turn.deadline)
    enrolment = Enrolment(turn.app.recognition, turn.app.store, service, options)
    found = await turn.each([partial(_examine, enrolment, sent, n) for n in range(len(sent))])
    faces = [one for one in found if isinstance(one, Prepared)]
    # Whatever the time: pictures that have been looked at are not thrown away.
    filed = iter(await turn.look(lambda: enrolment.file(faces)) if faces else ())
    result = [_shown(name, one, filed) for name, one in zip(sent.subjects, found, strict=True)]
    return turn.answer_faces({"result": result}, sum("image_id" in one for one in result))


def _examine(enrolment: Enrolment, sent: Batch, place: int) -> Prepared | Filed:
    return enrolment.examine(sent.subjects[place], sent.picture(place))


def _shown(subject: str, found: Found, filed: Iterator[Filed]) -> wire.Json:
    if isinstance(found, KnownfaceError):
        return {"message": found.message, "code": found.code}
    one = next(filed) if isinstance(found, Prepared) else found
    if not one.added:
        return wire.example(one.example) | {"duplicate": True}
    # As it was sent, like the answer to a single picture.
    return wire.example(replace(one.example, subject=subject))


@router.get("", **operations.EXPORT)
async def export(turn: TurnDep, service: RecognitionService) -> Response:
    """Download all photographs, a folder for each subject, which can be imported again."""
    subject = turn.query.text("subject") or None
    embeddings = turn.query.flag("embeddings", default=False)
    found = Export(turn.app.store, service, subject=subject, embeddings=embeddings)
    pieces = zip_pieces(found.entries())
    # What cannot be had at all is told before the first byte is sent.
    first = await turn.use(lambda: next(pieces))
    headers = NO_STORE | {"content-disposition": 'attachment; filename="faces.zip"'}
    return StreamingResponse(
        _following(turn, first, pieces), headers=headers, media_type="application/zip"
    )


async def _following(turn: Turn, first: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    # In no thread of the bounded pool: a download may take longer than any deadline.
    piece: bytes | None = first
    while piece is not None:
        yield piece
        piece = await turn.look(lambda: next(pieces, None))
