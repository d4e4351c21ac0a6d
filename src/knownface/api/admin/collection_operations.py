"""What `/openapi.json` says of the calls that try a service and keep its face collection."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final
from uuid import UUID

from pydantic import AwareDatetime, Field

from knownface.api import operations, schemas
from knownface.api.admin.describing import PAGING, PREFIX, operation
from knownface.api.openapi import Document, Operation, in_query
from knownface.api.schemas import Schema

ADDRESS: Final = f"{PREFIX}/services/{{service_id}}"
TAGS: Final[list[str | Enum]] = ["Admin: faces"]

_ID: Final = "6b135f5b-a365-4522-b1f1-4c9ac2dd0728"
_PICTURE: Final = "/admin/pictures/WzE3NjM4…"
_WHERE: Final = "Where its photograph is for ten minutes at least; null when none is kept."


class SubjectItem(Schema):
    subject: str
    examples: int
    picture: str | None = Field(description=_WHERE)


class Listed(Schema):
    page: int
    size: int
    total: int


class SubjectItems(Listed):
    subjects: list[SubjectItem]


class ExampleItem(Schema):
    image_id: UUID
    subject: str
    created_at: AwareDatetime
    picture: str | None = Field(description=_WHERE)


class ExampleItems(Listed):
    examples: list[ExampleItem]


class NewName(Schema):
    subject: str
    merge: bool = Field(False, description="Join the two where another has this name already.")


class Renamed(Schema):
    updated: bool = Field(description="False when the new name is the old one.")
    merged: bool


class ImageIds(Schema):
    image_ids: list[UUID]


class Move(ImageIds):
    subject: str = Field(description="Created if need be.")


class Moved(Schema):
    moved: int = Field(description="Examples that belonged to another subject before.")


_REFUSED: Final = {
    401: "Nobody is signed in, or the access token is not valid.",
    403: "The role does not allow this (1), or the header `X-CSRF-Token` is missing.",
    404: "There is no such service of this type, or it is not to be seen (10).",
}
_SOME: Final = {"page": 0, "size": 50, "total": 1}

SUBJECTS: Final = operation(
    SubjectItems,
    {"subjects": [{"subject": "John", "examples": 3, "picture": _PICTURE}], **_SOME},
    query=[
        in_query(
            "search", {"type": "string"}, "Part of a name; letter case and accents do not matter."
        ),
        *PAGING,
    ],
)
CREATE_SUBJECT: Final = operation(
    schemas.SubjectName,
    {"subject": "John"},
    status=201,
    body=schemas.SubjectName,
    body_example={"subject": "John"},
    errors={400: "The name cannot be used (26), or the subject exists (43)."},
)
_WHICH: Final = in_query("subject", {"type": "string"}, "The subject's name; it has to be sent.")


def _renaming(query: Sequence[Document]) -> dict[str, Any]:
    return operation(
        Renamed,
        {"updated": True, "merged": False},
        body=NewName,
        body_example={"subject": "Johnny", "merge": False},
        query=query,
        errors={
            404: "No such service (10) or subject (42).",
            409: "Another subject has this name, and `merge` is not true (43).",
        },
    )


def _deletion(query: Sequence[Document]) -> dict[str, Any]:
    return operation(
        schemas.SubjectName,
        {"subject": "John"},
        query=query,
        errors={404: "No such service (10) or subject (42)."},
    )


RENAME_SUBJECT: Final = _renaming(())
RENAME_ANY_SUBJECT: Final = _renaming([{**_WHICH, "required": True}])
DELETE_SUBJECT: Final = _deletion(())
DELETE_ANY_SUBJECT: Final = _deletion([{**_WHICH, "required": True}])
EXAMPLES: Final = operation(
    ExampleItems,
    {
        "examples": [
            {
                "image_id": _ID,
                "subject": "John",
                "created_at": "2026-11-22T22:14:52+00:00",
                "picture": _PICTURE,
            }
        ],
        **_SOME,
    },
    query=[
        in_query("subject", {"type": "string"}, "The subject's name; all when absent."),
        *PAGING,
    ],
)
DELETE_EXAMPLES: Final = operation(
    schemas.Deleted,
    {"deleted": 1},
    body=ImageIds,
    body_example={"image_ids": [_ID]},
)
MOVE_EXAMPLES: Final = operation(
    Moved,
    {"moved": 1},
    body=Move,
    body_example={"image_ids": [_ID], "subject": "Jane"},
)
PICTURE: Final[Operation] = {
    "responses": {
        200: {
            "description": "The photograph, or a JPEG of it.",
            "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "You have it already."},
        400: {"model": schemas.Failure, "description": "`size` cannot be used (26)."},
        404: {
            "model": schemas.Failure,
            "description": "The address is over or wrong, or the picture was deleted (44).",
        },
    },
    "openapi_extra": {
        "parameters": [
            in_query(
                "size",
                {"type": "integer", "minimum": 16, "maximum": 2048},
                "Of the longer side, in pixels; it is never enlarged. Absent: as it was sent.",
            )
        ]
    },
}


def tried(public: Operation) -> Operation:
    """Return what is said of the public call, but for who may make this one."""
    kept = {status: one for status, one in public["responses"].items() if status != 404}
    refused = {
        status: {"model": schemas.Failure, "description": text} for status, text in _REFUSED.items()
    }
    return {**public, "responses": {**kept, **refused}}


ADD_EXAMPLE: Final = tried(operations.ADD_EXAMPLE)
