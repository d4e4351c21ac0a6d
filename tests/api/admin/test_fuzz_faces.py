"""Whatever is sent about faces, the answer is never an error of the server."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api.admin.callers import API, owner
from api.calls import failed
from knownface.app import App
from knownface.types import ServiceType

# Measuring would take a third longer, and other tests run every line that these do.
pytestmark = pytest.mark.no_cover

OPERATIONS = (
    "GET /subjects",
    "POST /subjects",
    "PUT /subjects/{name}",
    "DELETE /subjects/{name}",
    "GET /examples",
    "POST /examples",
    "POST /examples/delete",
    "POST /examples/move",
    "POST /recognize",
    "GET picture",
)
TEXT = st.text() | st.sampled_from(["Ann", "ann", "\0", "\ud800", "%", "/", "x" * 300])
LEAF: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
FIELD = st.sampled_from(["subject", "merge", "image_ids", "file"])
BODY = st.dictionaries(FIELD, LEAF | st.lists(LEAF, max_size=3), max_size=4) | st.lists(LEAF) | LEAF
QUERY = st.dictionaries(
    st.sampled_from(["search", "subject", "page", "size", "limit", "face_plugins"]),
    st.text() | st.integers(),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example("GET /subjects", "", None, {"search": "\0", "page": 2**31 - 1, "size": 500})
@example("GET /examples", "", None, {"subject": "Ann", "page": 2**31 - 1})
@example("PUT /subjects/{name}", "Ann", {"subject": "half \ud800"}, {})
@example("POST /examples/move", "", {"image_ids": [], "subject": "Ann"}, {})
@example("GET picture", "ä", None, {"size": 10**9})
@given(st.sampled_from(OPERATIONS), TEXT, BODY, QUERY)
def test_nothing_that_is_sent_about_faces_breaks_the_server(
    app: App, server: FastAPI, client: TestClient, operation: str, name: str, body: Any, query: Any
) -> None:
    assert client.app is server
    services = [one for one in app.accounts.services() if one.name == "fuzzed"]
    if not services:
        services = [app.accounts.create_service("tests", "fuzzed", ServiceType.RECOGNITION)[0]]
        app.known_faces.create_subject(services[0], "Ann")
    token = app.tokens.issue(owner(app), "fuzz", None)[1]
    method, path = operation.split(" ")
    segment = quote(name, safe="", errors="ignore")
    path = path.format(name=segment)
    base = "/admin/pictures/" + segment if path == "picture" else None
    answer = client.request(
        method,
        base or f"{API}/services/{services[0].id}{path}",
        content=json.dumps(body).encode(),
        params=query,
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        failed(answer)
