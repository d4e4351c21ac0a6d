"""Whatever is sent, the answer is JSON of a known shape and never an error of the server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.calls import Caller, failed

# Measuring would take a third longer, and other tests run every line that these do.
pytestmark = pytest.mark.no_cover

CONTENT_TYPES = (
    "application/json",
    "application/json; charset=latin-1",
    "multipart/form-data; boundary=X",
    "multipart/form-data",
    "text/plain",
    "",
)
NAMES = (
    "limit",
    "status",
    "prediction_count",
    "face_plugins",
    "det_prob_threshold",
    "subject",
    "detect_faces",
    "page",
    "size",
)
EMBEDDINGS: st.SearchStrategy[Any] = st.lists(st.lists(st.floats(width=32) | st.integers()))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = ("file", "source_image", "target_image", "subject", "embeddings", "source", "targets")
OBJECTS = st.dictionaries(st.sampled_from(FIELDS), JSON | EMBEDDINGS)
FORM = st.lists(
    st.tuples(st.sampled_from((*FIELDS, *NAMES)), st.booleans(), st.binary(max_size=50)), max_size=4
)


def encoded(form: list[tuple[str, bool, bytes]]) -> bytes:
    parts = (
        b'--X\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
        % (name.encode(), b'; filename="a"' if is_file else b"", content)
        for name, is_file, content in form
    )
    return b"".join(parts) + b"--X--\r\n"


def dumped(document: object) -> bytes:
    return json.dumps(document).encode()


BODIES = st.binary(max_size=100) | (JSON | OBJECTS).map(dumped) | FORM.map(encoded)
OPERATIONS = st.sampled_from(
    [
        ("POST", "/api/v1/recognition/subjects"),
        ("GET", "/api/v1/recognition/subjects"),
        ("PUT", "/api/v1/recognition/subjects/{}"),
        ("DELETE", "/api/v1/recognition/subjects/{}"),
        ("POST", "/api/v1/recognition/faces"),
        ("GET", "/api/v1/recognition/faces"),
        ("DELETE", "/api/v1/recognition/faces"),
        ("DELETE", "/api/v1/recognition/faces/{}"),
        ("POST", "/api/v1/recognition/faces/delete"),
        ("POST", "/api/v1/recognition/faces/batch"),
        ("GET", "/api/v1/recognition/faces/batch"),
        ("GET", "/api/v1/recognition/faces/{}/img"),
        ("POST", "/api/v1/recognition/faces/{}/verify"),
        ("GET", "/api/v1/static/{}/images/{}"),
        ("POST", "/api/v1/recognition/recognize"),
        ("POST", "/api/v1/recognition/embeddings/recognize"),
        ("POST", "/api/v1/recognition/embeddings/faces/{}/verify"),
        ("POST", "/api/v1/detection/detect"),
        ("POST", "/api/v1/verification/verify"),
        ("POST", "/api/v1/verification/embeddings/verify"),
        ("PATCH", "/api/v1/{}"),
        ("GET", "/{}"),
    ]
)
SEGMENTS = st.just("0f9d3a52-6c1b-4e7a-9d44-2b8e5f70c316") | st.binary(min_size=1, max_size=8).map(
    lambda raw: "".join(f"%{byte:02X}" for byte in raw)
)
QUERIES = st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=8)), max_size=4)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    operation=OPERATIONS,
    segment=SEGMENTS,
    query=QUERIES,
    body=BODIES,
    content_type=st.sampled_from(CONTENT_TYPES),
)
def test_no_input_breaks_the_server(
    recognition: Caller,
    detection: Caller,
    verification: Caller,
    operation: tuple[str, str],
    segment: str,
    query: list[tuple[str, str]],
    body: bytes,
    content_type: str,
) -> None:
    method, path = operation
    callers = {"detection": detection, "verification": verification}
    caller = next((c for kind, c in callers.items() if kind in path), recognition)
    sent = [(name, text.encode("utf-8", "replace").decode()) for name, text in query]
    answer = caller(
        method,
        path.format(segment, segment),
        params=sent,
        content=body,
        headers={"content-type": content_type},
    )
    assert answer.status_code < 500, answer.text
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400:
        failed(answer)
