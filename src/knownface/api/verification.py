"""`/api/v1/verification`: are two faces one person's; nothing stored."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from knownface.api import operations, wire
from knownface.api.answers import json_answer
from knownface.api.bodies import embedding_of, embeddings_of, fields_of
from knownface.api.deps import Asked, Turn, TurnDep, VerificationService
from knownface.api.submissions import Submission, TwoPictures

router: Final = APIRouter(prefix="/api/v1/verification", tags=["Verification"])


@router.post("/verify", **operations.VERIFY)
async def verify(turn: TurnDep, _: VerificationService, sent: TwoPictures) -> Response:
    """Compare the one face of the source picture with each face of the target picture."""
    return await verified(turn, sent)


async def verified(turn: Turn, sent: Submission) -> Response:
    """Answer how alike the faces of two pictures are, however the caller proved that he may ask."""
    asked = Asked.of(sent.parameters, turn.deadline)

    def work() -> Response:
        app, source, target = turn.app, sent.picture("source_image"), sent.picture("target_image")
        face, found = app.recognition.verify(source, target, asked.options)
        document = wire.verification(face, found, asked.view(app), asked.versions(app))
        return turn.answer_faces(document, 1 + len(found))

    return await turn.use(work)


@router.post("/embeddings/verify", **operations.VERIFY_EMBEDDINGS)
async def verify_embeddings(turn: TurnDep, _: VerificationService) -> Response:
    """Compare a source embedding with target embeddings, the most similar first."""
    document = await turn.json()
    asked = Asked.of_embeddings(turn.query, turn.deadline)

    def work() -> Response:
        app, fields = turn.app, fields_of(document)
        source = embedding_of(fields.get("source"), "source")
        targets = embeddings_of(fields.get("targets"), "targets")
        ranked = app.recognition.verify_embeddings(source, targets)
        return json_answer(wire.verified_embeddings(targets, ranked, asked.view(app)))

    return await turn.use(work)
