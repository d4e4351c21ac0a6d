"""`/admin/api/services/{service_id}/…`: a service tried out by people, without its key.

Each call does what the public one does, through the same code.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from knownface.api import operations
from knownface.api.admin.access import (
    UsableCollection,
    UsableDetection,
    UsableVerification,
    WorkingTurn,
)
from knownface.api.admin.collection_operations import ADDRESS, TAGS, tried
from knownface.api.detection import detected
from knownface.api.recognition import recognized
from knownface.api.submissions import OnePicture, TwoPictures
from knownface.api.verification import verified

router: Final = APIRouter(prefix=ADDRESS, tags=TAGS)


@router.post("/recognize", **tried(operations.RECOGNIZE))
async def recognize(turn: WorkingTurn, service: UsableCollection, sent: OnePicture) -> Response:
    """Find the faces in a picture and the subjects that each resembles most."""
    return await recognized(turn, service, sent)


@router.post("/detect", **tried(operations.DETECT))
async def detect(turn: WorkingTurn, _: UsableDetection, sent: OnePicture) -> Response:
    """Find the faces in a picture."""
    return await detected(turn, sent)


@router.post("/verify", **tried(operations.VERIFY))
async def verify(turn: WorkingTurn, _: UsableVerification, sent: TwoPictures) -> Response:
    """Compare the one face of the source picture with each face of the target picture."""
    return await verified(turn, sent)
