"""`/api/v1/detection`: faces and what can be seen of them, nothing stored."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from knownface.api import operations, wire
from knownface.api.deps import Asked, DetectionService, Turn, TurnDep
from knownface.api.submissions import OnePicture, Submission

router: Final = APIRouter(prefix="/api/v1/detection", tags=["Detection"])


@router.post("/detect", **operations.DETECT)
async def detect(turn: TurnDep, _: DetectionService, sent: OnePicture) -> Response:
    """Find the faces in a picture."""
    return await detected(turn, sent)


async def detected(turn: Turn, sent: Submission) -> Response:
    """Answer which faces are in a picture, however the caller proved that he may ask."""
    asked = Asked.of(sent.parameters, turn.deadline)

    def work() -> Response:
        app = turn.app
        faces = app.recognition.detect(sent.picture("file"), asked.options)
        view = asked.view(app, round_probability=False)
        document = wire.detection(faces, view, asked.versions(app, calculator=False))
        return turn.answer_faces(document, len(faces))

    return await turn.use(work)
