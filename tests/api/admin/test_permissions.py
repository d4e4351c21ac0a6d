"""Every call of administration by every role, against the table of who may do what."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.admin.callers import new_user, signed_in
from api.admin.permissions import ROLES, Row, new_world
from api.calls import failed
from knownface.app import App

# Measuring would take a third longer, and other tests run every line that these do.
pytestmark = pytest.mark.no_cover

TABLES = sorted(path.stem for path in Path(__file__).parent.glob("permissions_*.py"))
ROWS: list[Row] = [row for name in TABLES for row in import_module(f"api.admin.{name}").ROWS]
UNSAFE = {"POST", "PUT", "DELETE", "PATCH"}


def operations(server: FastAPI) -> set[str]:
    """Return each call below /admin that the OpenAPI document tells of."""
    return {
        f"{method.upper()} {path}"
        for path, methods in server.openapi()["paths"].items()
        for method in methods
        if path.startswith("/admin")
    }


def test_the_table_has_a_row_for_every_call_and_no_other(server: FastAPI) -> None:
    assert {row.operation for row in ROWS} == operations(server)


def test_no_call_is_hidden_from_the_document(server: FastAPI) -> None:
    shown = {operation.split(" ")[1] for operation in operations(server)}
    hidden = {path for path in _paths(server) if path.startswith("/admin")} - shown
    assert hidden == set()


def _paths(server: FastAPI) -> set[str]:
    paths = set()
    for included in server.routes:
        router = getattr(included, "original_router", None)
        for route in router.routes if router else (included,):
            paths.add(str(getattr(route, "path", "")))
    return paths


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_role_gets_what_the_table_says(app: App, client: TestClient, row: Row, role: str) -> None:
    world = new_world(app, role)
    body = row.prepare(world)
    headers = {}
    if world.actor is not None:
        headers["authorization"] = f"Bearer {app.tokens.issue(world.actor, 'test', None)[1]}"
    answer = client.request(
        row.method,
        row.path.format(**world.values) + row.query,
        json=body,
        files=row.files(world),
        headers=headers,
        follow_redirects=False,
    )
    client.cookies.clear()
    assert answer.status_code == row.expected(role), answer.text
    if answer.status_code >= 400:
        failed(answer)


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.method in UNSAFE and r.expected("nobody") == 401], ids=str
)
def test_a_cookie_changes_nothing_without_its_csrf_token(
    app: App, server: FastAPI, client: TestClient, row: Row
) -> None:
    del client  # it runs the server
    world = new_world(app, "owner")
    body = row.prepare(world)
    own = signed_in(app, server, new_user(app))
    for headers in ({}, {"X-CSRF-Token": "0" * 64}):
        answer = own.client.request(
            row.method, row.path.format(**world.values), json=body, headers=headers
        )
        assert failed(answer) == (403, 1), answer.text
