"""How `/openapi.json` is put together: parameters, bodies, answers, and what is left out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel

from knownface.api import schemas

Document = dict[str, Any]
Operation = dict[str, Any]

SENDABLE: Final = "A picture: jpeg, png, gif, bmp, tiff, webp or ico; 5 MB at most by default."


def in_query(name: str, schema: Document, description: str, required: bool = False) -> Document:
    """Describe a parameter of the query."""
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": schema,
        "description": description,
    }


def pictures(*names: str) -> Document:
    """Describe a body of pictures, as a form and as base64 in JSON."""

    def body(kind: Document) -> Document:
        return {
            "schema": {
                "type": "object",
                "required": list(names),
                "properties": {name: {**kind, "description": SENDABLE} for name in names},
            }
        }

    return {
        "required": True,
        "content": {
            "multipart/form-data": body({"type": "string", "format": "binary"}),
            "application/json": body({"type": "string", "contentEncoding": "base64"}),
        },
    }


def json_body(model: type[BaseModel] | Document, example: object) -> Document:
    """Describe a body of JSON, by a model or a schema."""
    schema = model if isinstance(model, dict) else model.model_json_schema()
    return {
        "required": True,
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def failures(errors: Mapping[int, str]) -> dict[int | str, Document]:
    """Describe what is answered instead, by status."""
    return {number: schemas.failure(description) for number, description in errors.items()}


def operation(
    answer: Any,
    example: object,
    *,
    status: int = 200,
    query: list[Document] | None = None,
    body: Document | None = None,
    errors: Mapping[int, str] | None = None,
) -> Operation:
    """Return what the decorator of a route needs to describe it."""
    extra: Document = {}
    if query:
        extra["parameters"] = query
    if body:
        extra["requestBody"] = body
    responses: dict[int | str, Document] = {
        status: {"model": answer, "content": {"application/json": {"example": example}}}
    }
    responses |= failures(errors or {})
    return {"responses": responses, "status_code": status, "openapi_extra": extra}


def describe(server: FastAPI) -> Document:
    """Return the OpenAPI document, without the 422 that FastAPI promises and we never answer."""
    document = FastAPI.openapi(server)
    for path in document["paths"].values():
        for described in path.values():
            described["responses"].pop("422", None)
    for unused in ("HTTPValidationError", "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(unused, None)
    return document
