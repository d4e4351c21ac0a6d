"""`/api/v1/recognition/subjects`: the people of a face collection, by name."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from knownface.api import operations
from knownface.api.answers import json_answer
from knownface.api.bodies import fields_of
from knownface.api.deps import RecognitionService, SubjectInPath, TurnDep
from knownface.errors import InvalidRequest

router: Final = APIRouter(prefix="/api/v1/recognition/subjects", tags=["Subjects"])


@router.post("", **operations.CREATE_SUBJECT)
async def create_subject(turn: TurnDep, service: RecognitionService) -> Response:
    """Create a subject without examples.

    This is optional: adding an example creates its subject.
    """
    name = _name(fields_of(await turn.json()).get("subject"))
    subject = await turn.use(lambda: turn.app.known_faces.create_subject(service, name))
    return json_answer({"subject": subject.name}, 201)


@router.get("", **operations.LIST_SUBJECTS)
async def list_subjects(turn: TurnDep, service: RecognitionService) -> Response:
    """List all subjects, oldest first."""
    names = await turn.use(lambda: turn.app.known_faces.subject_names(service))
    return json_answer({"subjects": names})


@router.put("/{subject}", **operations.RENAME_SUBJECT)
async def rename_subject(
    turn: TurnDep, service: RecognitionService, subject: SubjectInPath
) -> Response:
    """Rename a subject.

    When a subject of the new name exists, the two are merged: it takes over all examples.
    """
    document = await turn.json()
    # The .NET SDK sends the new name bare, not inside an object.
    new = _name(document if isinstance(document, str) else fields_of(document).get("subject"))
    done = await turn.use(lambda: turn.app.known_faces.rename_subject(service, subject, new))
    return json_answer({"updated": done.updated})


@router.delete("/", include_in_schema=False)
async def delete_nameless_subject(service: RecognitionService) -> Response:  # noqa: ARG001 - the key is checked first
    """Refuse a deletion whose name got lost: it must not delete all."""
    raise InvalidRequest("Subject name cannot be empty")


@router.delete("/{subject}", **operations.DELETE_SUBJECT)
async def delete_subject(
    turn: TurnDep, service: RecognitionService, subject: SubjectInPath
) -> Response:
    """Delete a subject with its examples and photographs."""
    deleted = await turn.use(lambda: turn.app.known_faces.delete_subject(service, subject))
    return json_answer({"subject": deleted.name})


@router.delete("", **operations.DELETE_SUBJECTS)
async def delete_subjects(turn: TurnDep, service: RecognitionService) -> Response:
    """Delete all subjects with their examples and photographs."""
    deleted = await turn.use(lambda: turn.app.known_faces.delete_subjects(service))
    return json_answer({"deleted": deleted})


def _name(value: object) -> str:
    """Return a name from a JSON body; which names there can be is for the use case to say."""
    if value is None:
        raise InvalidRequest("Subject name cannot be empty")
    if not isinstance(value, str):
        raise InvalidRequest("Field subject should be a string")
    return value
