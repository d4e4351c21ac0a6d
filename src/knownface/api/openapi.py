"""What `/openapi.json` says of each operation beyond its handler: bodies, parameters, examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.responses import Response

from knownface.api import schemas

Document = dict[str, Any]
Operation = dict[str, Any]

_ID: Final = "6b135f5b-a365-4522-b1f1-4c9ac2dd0728"
_BOX: Final = {"probability": 0.99875, "x_max": 1420, "y_max": 1368, "x_min": 548, "y_min": 295}
_VECTOR: Final = [0.0627421774604647, -0.0236684433507126, 0.0112]
_MATCH: Final = {"subject": "John", "similarity": 0.97858}
_FACE: Final = {
    "box": _BOX,
    "age": {"probability": 0.86, "high": 34, "low": 25},
    "gender": {"probability": 0.99, "value": "female"},
    "landmarks": [[814, 713], [1104, 829], [832, 937], [704, 1030], [1017, 1133]],
    "execution_time": {"detector": 17.0, "calculator": 25.0, "age": 2.0, "gender": 1.0},
}
_VERSIONS: Final = {
    "plugins_versions": {
        "detector": "yunet-2023mar",
        "calculator": "sface-2021dec",
        "age": "dlib-age-v1",
        "gender": "dlib-gender-v1",
    }
}

_SENDABLE: Final = "A picture: jpeg, png, gif, bmp, tiff, webp or ico; 5 MB at most by default."


def _query(name: str, schema: Document, description: str, required: bool = False) -> Document:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": schema,
        "description": description,
    }


_LIMIT: Final = _query(
    "limit",
    {"type": "integer", "minimum": 0, "default": 0},
    "Look at this many faces at most, the largest first; 0 means all.",
)
_THRESHOLD: Final = _query(
    "det_prob_threshold",
    {"type": "number", "minimum": 0, "maximum": 1},
    "Least probability that a face is one; 0.8 by default. This is no threshold for a match.",
)
_PLUGINS: Final = _query(
    "face_plugins",
    {"type": "string", "examples": ["age,gender,landmarks"]},
    "What to tell of each face: slugs of plugins with commas between; unknown ones are ignored.",
)
_STATUS: Final = _query(
    "status",
    {"type": "boolean", "default": False},
    "Tell the time each plugin took and its version, and of each similarity the false match rate.",
)
_RATES: Final = _query(
    "status",
    {"type": "boolean", "default": False},
    "Tell of each similarity the false match rate.",
)
_COUNT: Final = _query(
    "prediction_count",
    {"type": "integer", "minimum": 1, "default": 1},
    "Name this many subjects for each face at most, the most similar first.",
)
_DETECT: Final = _query(
    "detect_faces",
    {"type": "boolean", "default": True},
    "False: take the whole picture as one face.",
)
_SEARCH_QUERY: Final = [
    _COUNT,
    _query(
        "similarity_threshold",
        {"type": "number", "minimum": 0, "maximum": 1},
        "Name only subjects at least this similar: no subject means unknown. It stands in the "
        "place of the service's own threshold; without either the most similar is always named.",
    ),
    _query(
        "max_fmr",
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "examples": [0.0001]},
        "The same as a false match rate: the similarity that this share of strangers reaches, by "
        "the table of the model. Not together with `similarity_threshold`.",
    ),
    _query(
        "image_id",
        {"type": "boolean", "default": False},
        "Tell of each subject the id of its most similar example.",
    ),
]
_SUBJECT: Final = _query("subject", {"type": "string"}, "The subject's name; all when absent.")
_PICTURE_QUERY: Final = [_LIMIT, _THRESHOLD, _PLUGINS, _STATUS]


def _pictures(*names: str) -> Document:
    """Describe a body of pictures, as a form and as base64 in JSON."""

    def body(kind: Document) -> Document:
        return {
            "schema": {
                "type": "object",
                "required": list(names),
                "properties": {name: {**kind, "description": _SENDABLE} for name in names},
            }
        }

    return {
        "required": True,
        "content": {
            "multipart/form-data": body({"type": "string", "format": "binary"}),
            "application/json": body({"type": "string", "contentEncoding": "base64"}),
        },
    }


def _json(model: type[BaseModel] | Document, example: object) -> Document:
    schema = model if isinstance(model, dict) else _inlined(model)
    return {
        "required": True,
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def _inlined(model: type[BaseModel]) -> Document:
    return model.model_json_schema()


def _operation(
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
    for number, description in (errors or {}).items():
        responses[number] = schemas.failure(description)
    return {"responses": responses, "status_code": status, "openapi_extra": extra}


_INVALID: Final = {400: "The request cannot be used; `code` says why."}
_GUARDED: Final = {**_INVALID, 404: "No service of this type has this key (10)."}
_PICTURE: Final = {
    400: "No face (28), several faces where one is wanted (31), no readable picture (21), "
    "a part or field missing (34, 33, 5), a parameter wrong (26), no key (20).",
    404: "No service of this type has this key (10).",
    413: "The picture or the request is too large.",
    415: "Neither a form nor JSON.",
    503: "Busy; try again after `Retry-After` seconds.",
}
_OF_SUBJECT: Final = {**_INVALID, 404: "No such service (10) or subject (42)."}
_OF_EXAMPLE: Final = {**_INVALID, 404: "No such service (10) or example (44)."}

CREATE_SUBJECT: Final = _operation(
    schemas.SubjectName,
    {"subject": "John"},
    status=201,
    body=_json(schemas.SubjectName, {"subject": "John"}),
    errors={400: "The name cannot be used (26), or the subject exists (43).", 404: _GUARDED[404]},
)
LIST_SUBJECTS: Final = _operation(
    schemas.SubjectNames, {"subjects": ["John", "Jane"]}, errors=_GUARDED
)
RENAME_SUBJECT: Final = _operation(
    schemas.Updated,
    {"updated": True},
    body=_json(schemas.SubjectName, {"subject": "Johnny"}),
    errors=_OF_SUBJECT,
)
DELETE_SUBJECT: Final = _operation(schemas.SubjectName, {"subject": "John"}, errors=_OF_SUBJECT)
DELETE_SUBJECTS: Final = _operation(schemas.Deleted, {"deleted": 2}, errors=_GUARDED)

_EXAMPLE: Final = {"image_id": _ID, "subject": "John"}
ADD_EXAMPLE: Final = _operation(
    schemas.Example,
    _EXAMPLE,
    status=201,
    query=[_query("subject", {"type": "string"}, "The subject's name.", required=True), _THRESHOLD],
    body=_pictures("file"),
    errors=_PICTURE,
)
ADD_EXAMPLES: Final = _operation(
    schemas.BatchResult,
    {"result": [_EXAMPLE, {"message": "No face is found in the given image", "code": 28}]},
    query=[
        _query(
            "subject", {"type": "string"}, "The subject of all pictures, unless parts name them."
        ),
        _THRESHOLD,
    ],
    body={
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": f"As often as there are pictures. {_SENDABLE}",
                        },
                        "subject": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": "The subject of all pictures, or one for each, in "
                            "their order.",
                        },
                    },
                }
            }
        },
    },
    errors={
        400: "Nothing was looked at: no picture (34), no subject (33), not as many subjects as "
        "pictures or another value wrong (26), no key (20).",
        404: _PICTURE[404],
        409: "The stored embeddings come from another model.",
        413: "The request is too large.",
        415: "Not a form.",
        503: _PICTURE[503],
    },
)
EXPORT: Final[Operation] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": "A ZIP archive: a folder of photographs for each subject, and "
            "manifest.csv, which comes last.",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        },
        **{status: schemas.failure(text) for status, text in _GUARDED.items()},
    },
    "openapi_extra": {
        "parameters": [
            _SUBJECT,
            _query(
                "embeddings",
                {"type": "boolean", "default": False},
                "Add embeddings.jsonl: one JSON object a line.",
            ),
        ]
    },
}
LIST_EXAMPLES: Final = _operation(
    schemas.ExamplePage,
    {
        "faces": [_EXAMPLE],
        "page_number": 0,
        "page_size": 20,
        "total_pages": 1,
        "total_elements": 1,
    },
    query=[
        _query("page", {"type": "integer", "minimum": 0, "default": 0}, "Number of the page."),
        _query(
            "size",
            {"type": "integer", "minimum": 1, "maximum": 2000, "default": 20},
            "Examples on a page.",
        ),
        _SUBJECT,
    ],
    errors=_GUARDED,
)
DELETE_EXAMPLES_OF: Final = _operation(
    schemas.Deleted, {"deleted": 3}, query=[_SUBJECT], errors=_GUARDED
)
DELETE_EXAMPLES: Final = _operation(
    list[schemas.Example],
    [_EXAMPLE],
    body=_json({"type": "array", "items": {"type": "string", "format": "uuid"}}, [_ID]),
    errors=_GUARDED,
)
DELETE_EXAMPLE: Final = _operation(schemas.Example, _EXAMPLE, errors=_OF_EXAMPLE)

RECOGNIZE: Final = _operation(
    schemas.Recognition,
    {"result": [{**_FACE, "subjects": [_MATCH]}], **_VERSIONS},
    query=[*_PICTURE_QUERY, *_SEARCH_QUERY, _DETECT],
    body=_pictures("file"),
    errors=_PICTURE,
)
VERIFY_EXAMPLE: Final = _operation(
    schemas.ExampleVerification,
    {"result": [{**_FACE, **_MATCH}], **_VERSIONS},
    query=_PICTURE_QUERY,
    body=_pictures("file"),
    errors={**_PICTURE, 404: _OF_EXAMPLE[404]},
)
DETECT: Final = _operation(
    schemas.Detection,
    {"result": [_FACE], **_VERSIONS},
    query=_PICTURE_QUERY,
    body=_pictures("file"),
    errors=_PICTURE,
)
VERIFY: Final = _operation(
    schemas.Verification,
    {
        "result": [
            {
                "source_image_face": _FACE,
                "face_matches": [{**_FACE, "similarity": 0.97858}],
                **_VERSIONS,
            }
        ]
    },
    query=_PICTURE_QUERY,
    body=_pictures("source_image", "target_image"),
    errors=_PICTURE,
)

_VERIFIED: Final = {"result": [{"embedding": _VECTOR, "similarity": 0.55988}]}
RECOGNIZE_EMBEDDINGS: Final = _operation(
    schemas.RecognizedEmbeddings,
    {"result": [{"embedding": _VECTOR, "similarities": [_MATCH]}]},
    query=[*_SEARCH_QUERY, _RATES],
    body=_json(schemas.Embeddings, {"embeddings": [_VECTOR]}),
    errors=_GUARDED,
)
VERIFY_EMBEDDINGS_WITH_EXAMPLE: Final = _operation(
    schemas.VerifiedEmbeddings,
    _VERIFIED,
    query=[_RATES],
    body=_json(schemas.Embeddings, {"embeddings": [_VECTOR]}),
    errors=_OF_EXAMPLE,
)
VERIFY_EMBEDDINGS: Final = _operation(
    schemas.VerifiedEmbeddings,
    _VERIFIED,
    query=[_RATES],
    body=_json(schemas.SourceAndTargets, {"source": _VECTOR, "targets": [_VECTOR]}),
    errors=_GUARDED,
)

_BYTES: Final = {
    "description": "The picture as it was sent; no bytes when there is none.",
    "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
}
_PICTURE_ANSWERS: Final = {200: _BYTES, 304: {"description": "You have it already."}}
DOWNLOAD: Final[Operation] = {
    "responses": {
        **_PICTURE_ANSWERS,
        **{
            status: {"model": schemas.Failure, "description": text}
            for status, text in _GUARDED.items()
        },
    }
}
STATIC: Final[Operation] = {
    "responses": {
        **_PICTURE_ANSWERS,
        400: {"model": schemas.Failure, "description": "The id is not a UUID (26)."},
    }
}

HEALTH: Final = _operation(schemas.Health, {"status": "ok", "version": "0.1.0"})
_CHECKS: Final = {"accepting": "ok", "database": "ok", "models": "ok", "inference": "ok"}
_READY: Final = {
    "status": "ready",
    "checks": _CHECKS,
    "models": {"yunet": "onnxruntime 1.32.0, 1 thread", "sface": "openvino 2026.3.0, 1 thread"},
    "limits": {"workers": 1, "slots": 2, "max_requests": 64, "index_memory": 0},
}
READY: Final[Operation] = {
    "responses": {
        200: {
            "model": schemas.Readiness,
            "content": {"application/json": {"example": _READY}},
        },
        503: {"model": schemas.Readiness, "description": "Not now; `checks` says why."},
    }
}
METRICS: Final[Operation] = {
    "responses": {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
}
CONFIG: Final = _operation(
    schemas.Config, {"clientMaxFileSize": 5 << 20, "clientMaxBodySize": 10 << 20}
)
CONSISTENCE: Final = _operation(
    schemas.Consistence,
    {
        "demoFaceCollectionIsInconsistent": False,
        "dbIsInconsistent": False,
        "saveImagesToDB": True,
        "status": "OK",
    },
)


def describe(server: FastAPI) -> Document:
    """Return the OpenAPI document, without the 422 that FastAPI promises and we never answer."""
    document = FastAPI.openapi(server)
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for unused in ("HTTPValidationError", "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(unused, None)
    return document
