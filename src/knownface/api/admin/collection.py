"""`/admin/api/services/{service_id}/subjects` and `/examples`: a face collection, for people."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from knownface.administration import Part
from knownface.api.admin import collection_operations as operations
from knownface.api.admin.access import UsableCollection, WorkingTurn
from knownface.api.admin.deps import PartDep, answer
from knownface.api.admin.pictures import address
from knownface.api.bodies import fields_of, uuids_of
from knownface.api.deps import SubjectInPath, Turn, TurnDep
from knownface.api.faces import added
from knownface.api.submissions import OnePicture
from knownface.api.wire import Json
from knownface.errors import EmptyField, InvalidRequest
from knownface.store import SeenExample, SeenSubject
from knownface.types import Service

router: Final = APIRouter(prefix=operations.ADDRESS, tags=operations.TAGS)


@router.get("/subjects", **operations.SUBJECTS)
async def list_subjects(turn: TurnDep, service: UsableCollection, part: PartDep) -> Response:
    """List the subjects whose names hold `search`, by name, page by page."""

    def work() -> Response:
        with turn.app.store.snapshot() as tx:
            seen, total = tx.browse_subjects(
                service.id, search=part.search, page=part.page, size=part.size
            )
        return _page("subjects", [_subject(turn, service, one) for one in seen], part, total)

    return await turn.use(work)


@router.post("/subjects", **operations.CREATE_SUBJECT)
async def create_subject(turn: TurnDep, service: UsableCollection) -> Response:
    """Create a subject without examples."""
    name = _text(fields_of(await turn.json()), "subject")
    subject = await turn.use(lambda: turn.app.known_faces.create_subject(service, name))
    return answer({"subject": subject.name}, 201)


@router.put("/subjects/{subject}", **operations.RENAME_SUBJECT)
async def rename_subject(
    turn: TurnDep, service: UsableCollection, subject: SubjectInPath
) -> Response:
    """Rename a subject.

    Where another has the new name already, `merge` has to ask for the two to become one.
    """
    return await _renamed(turn, service, subject)


@router.put("/subjects", **operations.RENAME_ANY_SUBJECT)
async def rename_any_subject(turn: TurnDep, service: UsableCollection) -> Response:
    """Rename a subject whatever its name: some, such as `..`, cannot stand in a path."""
    return await _renamed(turn, service, turn.query.required("subject"))


@router.delete("/subjects/{subject}", **operations.DELETE_SUBJECT)
async def delete_subject(
    turn: TurnDep, service: UsableCollection, subject: SubjectInPath
) -> Response:
    """Delete a subject with its examples and photographs."""
    deleted = await turn.use(lambda: turn.app.known_faces.delete_subject(service, subject))
    return answer({"subject": deleted.name})


@router.delete("/subjects", **operations.DELETE_ANY_SUBJECT)
async def delete_any_subject(turn: TurnDep, service: UsableCollection) -> Response:
    """Delete a subject whatever its name, with its examples and photographs."""
    return await delete_subject(turn, service, turn.query.required("subject"))


@router.get("/examples", **operations.EXAMPLES)
async def list_examples(turn: TurnDep, service: UsableCollection, part: PartDep) -> Response:
    """List the examples of one subject or of all, oldest first, page by page."""
    name = turn.query.text("subject") or None

    def work() -> Response:
        with turn.app.store.snapshot() as tx:
            seen, total = tx.browse_examples(
                service.id, subject_name=name, page=part.page, size=part.size
            )
        return _page("examples", [_example(turn, service, one) for one in seen], part, total)

    return await turn.use(work)


@router.post("/examples", **operations.ADD_EXAMPLE)
async def add_example(turn: WorkingTurn, service: UsableCollection, sent: OnePicture) -> Response:
    """Save the one face of a picture as an example of a subject, which is created if need be."""
    return await added(turn, service, sent)


@router.post("/examples/delete", **operations.DELETE_EXAMPLES)
async def delete_examples(turn: TurnDep, service: UsableCollection) -> Response:
    """Delete examples with their photographs; ids that do not exist are skipped."""
    ids = _ids(fields_of(await turn.json()))
    deleted = await turn.use(lambda: turn.app.known_faces.delete_examples(service, ids))
    return answer({"deleted": len(deleted)})


@router.post("/examples/move", **operations.MOVE_EXAMPLES)
async def move_examples(turn: TurnDep, service: UsableCollection) -> Response:
    """File examples under another subject, which is created if need be."""
    fields = fields_of(await turn.json())
    ids, name = _ids(fields), _text(fields, "subject")
    moved = await turn.use(lambda: turn.app.known_faces.move_examples(service, ids, name))
    return answer({"moved": len(moved)})


async def _renamed(turn: Turn, service: Service, subject: str) -> Response:
    fields = fields_of(await turn.json())
    new, merge = _text(fields, "subject"), fields.get("merge", False)
    if not isinstance(merge, bool):
        raise InvalidRequest("Field merge should be true or false")
    known = turn.app.known_faces
    done = await turn.use(lambda: known.rename_subject(service, subject, new, merge=merge))
    return answer({"updated": done.updated, "merged": done.merged})


def _page(name: str, shown: list[Json], part: Part, total: int) -> Response:
    return answer({name: shown, "page": part.page, "size": part.size, "total": total})


def _subject(turn: Turn, service: Service, seen: SeenSubject) -> Json:
    picture = None if seen.pictured is None else address(turn, service.id, seen.pictured)
    return {"subject": seen.name, "examples": seen.examples, "picture": picture}


def _example(turn: Turn, service: Service, seen: SeenExample) -> Json:
    return {
        "image_id": str(seen.image_id),
        "subject": seen.subject,
        "created_at": seen.created_at.isoformat(),
        "picture": address(turn, service.id, seen.image_id) if seen.pictured else None,
    }


def _ids(fields: dict[str, object]) -> list[UUID]:
    return uuids_of(fields.get("image_ids"), "Field image_ids")


def _text(fields: dict[str, object], name: str) -> str:
    """Return a text of a JSON body; which ones can be used is for the use case to say."""
    value = fields.get(name)
    if value is None:
        raise EmptyField(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"Field {name} should be a string")
    return value
