"""`/api/v1/recognition/recognize` and the comparisons with stored examples."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from knownface.api import operations, wire
from knownface.api.answers import json_answer
from knownface.api.bodies import embeddings_of, fields_of
from knownface.api.deps import Asked, ImageId, RecognitionService, Turn, TurnDep
from knownface.api.submissions import OnePicture, Submission
from knownface.types import Service

router: Final = APIRouter(prefix="/api/v1/recognition", tags=["Recognition"])


@router.post("/recognize", **operations.RECOGNIZE)
async def recognize(turn: TurnDep, service: RecognitionService, sent: OnePicture) -> Response:
    """Find the faces in a picture and the subjects that each resembles most."""
    return await recognized(turn, service, sent)


async def recognized(turn: Turn, service: Service, sent: Submission) -> Response:
    """Answer who is in a picture, however the caller proved that he may ask."""
    asked = Asked.of_recognition(sent.parameters, turn.deadline)

    def work(service: Service) -> Response:
        app = turn.app
        found = app.recognition.recognize(service, sent.picture("file"), asked.options)
        model = service.embedder
        view, versions = asked.view(app, embedder=model), asked.versions(app, embedder=model)
        document = wire.recognition(found, view, versions)
        return turn.answer_faces(document, len(found))

    return await turn.use_with(service, work)


@router.post("/faces/{image_id}/verify", **operations.VERIFY_EXAMPLE)
async def verify_example(
    turn: TurnDep, service: RecognitionService, image_id: ImageId, sent: OnePicture
) -> Response:
    """Compare each face in a picture with one example."""
    asked = Asked.of(sent.parameters, turn.deadline)

    def work(service: Service) -> Response:
        app, picture = turn.app, sent.picture("file")
        example, found = app.recognition.verify_example(service, image_id, picture, asked.options)
        model = service.embedder
        view, versions = asked.view(app, embedder=model), asked.versions(app, embedder=model)
        document = wire.example_verification(example, found, view, versions)
        return turn.answer_faces(document, len(found))

    return await turn.use_with(service, work)


@router.post("/embeddings/recognize", **operations.RECOGNIZE_EMBEDDINGS)
async def recognize_embeddings(turn: TurnDep, service: RecognitionService) -> Response:
    """Find the subjects that each embedding resembles most."""
    document = await turn.json()
    asked = Asked.of_embeddings(turn.query, turn.deadline, search=True)

    def work(service: Service) -> Response:
        app = turn.app
        sent = embeddings_of(fields_of(document).get("embeddings"), "embeddings")
        matches = app.recognition.recognize_embeddings(service, sent, asked.options)
        view = asked.view(app, embedder=service.embedder)
        return json_answer(wire.recognized_embeddings(sent, matches, view))

    return await turn.use_with(service, work)


@router.post("/embeddings/faces/{image_id}/verify", **operations.VERIFY_EMBEDDINGS_WITH_EXAMPLE)
async def verify_embeddings_with_example(
    turn: TurnDep, service: RecognitionService, image_id: ImageId
) -> Response:
    """Compare embeddings with one example, the most similar first."""
    document = await turn.json()
    asked = Asked.of_embeddings(turn.query, turn.deadline)

    def work(service: Service) -> Response:
        app = turn.app
        sent = embeddings_of(fields_of(document).get("embeddings"), "embeddings")
        ranked = app.recognition.verify_embeddings_with_example(service, image_id, sent)
        view = asked.view(app, embedder=service.embedder)
        return json_answer(wire.verified_embeddings(sent, ranked, view))

    return await turn.use_with(service, work)
