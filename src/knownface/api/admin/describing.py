"""What `/openapi.json` says of the calls of administration beyond their handlers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from knownface.api import schemas

Document = dict[str, Any]

PREFIX: Final = "/admin/api"
NO_CONTENT: Final = 204

_USUAL: Final = {
    400: "A value cannot be used; `code` says why.",
    401: "Nobody is signed in, or the access token is not valid.",
    403: "The role does not allow this (1), or the header `X-CSRF-Token` is missing.",
    404: "There is no such thing, or it is not to be seen.",
    415: "The body is not JSON.",
}


def operation(
    answer: type[BaseModel] | None,
    example: object = None,
    *,
    status: int = 200,
    body: type[BaseModel] | None = None,
    body_example: object = None,
    query: Sequence[Document] = (),
    errors: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """Return what the decorator of a route needs to describe it: `@router.get("", **operation())`.

    Without an `answer` it is 204. `errors` are added to the usual ones, or stand in their place.
    """
    responses: dict[int | str, Document] = {}
    if answer is None:
        status = NO_CONTENT if status == 200 else status
        responses[status] = {"description": "Done."}
    else:
        content = {"application/json": {"example": example}}
        responses[status] = {"model": answer, "content": content}
    for number, description in {**_USUAL, **(errors or {})}.items():
        responses[number] = schemas.failure(description)
    extra: Document = {}
    if query:
        extra["parameters"] = list(query)
    if body is not None:
        schema = body.model_json_schema()
        sent: Document = {"schema": schema}
        if body_example is not None:
            sent["example"] = body_example
        extra["requestBody"] = {"required": True, "content": {"application/json": sent}}
    described = {"responses": responses, "status_code": status, "openapi_extra": extra}
    if answer is None:
        described["response_class"] = Response  # or else FastAPI promises a JSON body
    return described


def in_query(name: str, schema: Document, description: str) -> Document:
    """Describe a parameter of the query."""
    return {
        "name": name,
        "in": "query",
        "required": False,
        "schema": schema,
        "description": description,
    }


PAGING: Final = (
    in_query("page", {"type": "integer", "minimum": 0, "default": 0}, "Number of the page."),
    in_query(
        "size",
        {"type": "integer", "minimum": 1, "maximum": 500, "default": 50},
        "How many are on a page.",
    ),
)
SEARCHING: Final = (
    in_query("search", {"type": "string"}, "Words that each of them has to hold."),
    *PAGING,
)
