"""Whatever the OpenAPI document allows, and much that it does not, gets an answer it tells of."""

from __future__ import annotations

from typing import Any, Final

import httpx2
import pytest
import requests
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.admin.callers import new_application, new_user, owner
from api.admin.permissions import Row, World
from api.admin.test_permissions import ROWS
from api.calls import failed
from knownface.app import App
from knownface.people import Role

# Measuring would take a third longer, and other tests run every line that these do.
pytestmark = pytest.mark.no_cover

# A row of the table of rights for each operation: it knows how to make what a path names.
OPERATIONS: Final = {row.operation: row for row in ROWS}
CALLERS: Final = ("nobody", "app user", "owner")
CHECKS: Final[list[CheckFunction]] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
MODES: Final = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
# Where a token is asked nothing, but the password in the body.
SIGN_IN: Final = "POST /admin/api/session"


@pytest.fixture(scope="module")
def document(client: TestClient) -> BaseSchema:
    return schemathesis.openapi.from_dict(client.get("/openapi.json").json())


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=OPERATIONS)
def test_every_answer_is_one_that_the_document_tells_of(
    app: App, client: TestClient, document: BaseSchema, row: Row
) -> None:
    @settings(
        max_examples=3,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # no shrinking: a failure names the call, as one for curl
        suppress_health_check=list(HealthCheck),  # what is slow or large is for schemathesis to say
    )
    @given(calls(document[row.path][row.method]), st.booleans())
    def ask(case: schemathesis.Case[Any], of_what_there_is: bool) -> None:
        real, world = of_what_there_is and bool(case.path_parameters), new_world(app)
        for caller in CALLERS:
            if real and caller != CALLERS[0]:
                world = new_world(app)  # the caller before may have deleted what there was
            world.actor = world.people.get(caller)
            if real:
                row.prepare(world)
                case.path_parameters = {n: world.values[n] for n in case.path_parameters}
            answer = send(client, case, token(world))
            case.validate_response(answer, checks=CHECKS)
            if answer.status_code >= 400:
                failed(answer)
            signed_out = answer.status_code == 401 and row.operation != SIGN_IN
            assert not (signed_out and world.actor), answer.text

    ask()


def calls(operation: APIOperation[Any, Any, Any, Any]) -> st.SearchStrategy[schemathesis.Case[Any]]:
    """Give calls as they are described, and such as differ from that somewhere."""
    return st.one_of([operation.as_strategy(mode) for mode in MODES])


def new_world(app: App) -> World:
    """Make what calls are about, and people whom no call before can have signed out."""
    people = {name: new_user(app, name=name.replace(" ", "-")) for name in ("app user", "target")}
    people |= {"owner": owner(app), "stranger": people["target"]}
    members = {"user": (people["app user"], Role.USER), "target": (people["target"], Role.USER)}
    application = new_application(app, **members)
    world = World(app, people, application, None)
    world.values = {"application_id": application, "user_id": people["target"].id}
    return world


def token(world: World) -> dict[str, str]:
    """Return the header that lets a program act for the world's actor."""
    if world.actor is None:
        return {}
    return {"Authorization": f"Bearer {world.app.tokens.issue(world.actor, 'test', None)[1]}"}


def send(
    client: TestClient, case: schemathesis.Case[Any], headers: dict[str, str]
) -> httpx2.Response:
    """Send a call byte by byte as schemathesis writes it."""
    written = requests.Request(**case.as_transport_kwargs("http://testserver", headers)).prepare()
    content = written.body
    assert content is None or isinstance(content, str | bytes)
    client.cookies.clear()
    return client.request(
        str(written.method),
        str(written.url),
        content=content,
        headers=[(_bytes(name), _bytes(value)) for name, value in written.headers.items()],
        follow_redirects=False,
    )


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
