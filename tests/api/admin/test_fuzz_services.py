"""Whatever is sent to administer services, the answer is JSON and never an error of the server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api.admin.callers import API, owner
from api.calls import failed
from knownface.administration import Administration
from knownface.app import App
from knownface.types import ServiceType

# Measuring would take a third longer, and other tests run every line that these do.
pytestmark = pytest.mark.no_cover

OPERATIONS = (
    "GET /applications",
    "POST /applications",
    "PUT /applications/{application}",
    "DELETE /applications/{application}",
    "GET /applications/{application}/members",
    "POST /applications/{application}/members",
    "PUT /applications/{application}/members/{user}",
    "GET /applications/{application}/services",
    "POST /applications/{application}/services",
    "PUT /services/{service}",
    "DELETE /services/{service}",
    "POST /services/{service}/clone",
    "GET /services/{service}/statistics",
    "GET /services/{service}/keys",
    "POST /services/{service}/keys",
    "PUT /services/{service}/keys/{key}",
    "POST /services/{service}/keys/{key}/rotate",
)
LEAF: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
    | st.sampled_from(["OWNER", "USER", "RECOGNITION", "DETECTION", "a@example.org", "door", "\0"])
)
FIELDS = (
    *("name", "email", "role", "type", "expires_at"),
    *("similarity_threshold", "max_fmr", "save_images"),
)
BODY = st.dictionaries(st.sampled_from(FIELDS), LEAF, max_size=4) | st.lists(LEAF) | LEAF
QUERY = st.dictionaries(
    st.sampled_from(["search", "page", "size", "days", "months"]), st.text() | st.integers()
)


def places(admin: Administration, user: int) -> dict[str, int]:
    """Make whatever a path needs, unless it is still there."""
    if not admin.applications(None).items:
        admin.create_application(None, "fuzzed")
    application = admin.applications(None).items[0].id
    if not admin.services(None, application).items:
        admin.create_service(None, application, "door", ServiceType.RECOGNITION)
    service = admin.services(None, application).items[0].id
    (key, *_) = admin.keys(None, service).items
    return {"application": application, "service": service, "key": key.id, "user": user}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example("POST /services/{service}/keys", {"name": "x", "expires_at": "9999-12-31T23:59:59-12"}, {})
@example("POST /applications", {"name": "half \ud800"}, {})
@example("GET /applications", None, {"search": "\0"})
@given(st.sampled_from(OPERATIONS), BODY, QUERY)
def test_nothing_that_is_sent_breaks_the_server(
    app: App, server: FastAPI, client: TestClient, operation: str, body: Any, query: Any
) -> None:
    assert client.app is server
    boss = owner(app)
    token = app.tokens.issue(boss, "fuzz", None)[1]
    method, path = operation.split(" ")
    answer = client.request(
        method,
        API + path.format(**places(app.administration, boss.id)),
        content=json.dumps(body).encode(),
        params=query,
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        failed(answer)
