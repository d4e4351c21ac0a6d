"""Who may do what with applications, members, services, keys, and the state of the server."""

from __future__ import annotations

from itertools import count
from typing import Any

from api.admin.permissions import EVERYBODY_SIGNED_IN, Row, World
from knownface.types import ServiceType

SEE = "200 200 200 200 200 404 401"
SERVICES = "200 200 200 200 403 404 401"  # owners and administrators of the application, too
SERVICE_MADE = "201 201 201 201 403 404 401"
SERVICE_GONE = "204 204 204 204 403 404 401"
APPLICATION = "200 200 200 403 403 404 401"  # its owner, too
APPLICATION_GONE = "204 204 204 403 403 404 401"

_numbers = count(1)


def another_name(_: World) -> dict[str, str]:
    return {"name": f"another {next(_numbers)}"}


def application_name(world: World) -> dict[str, str]:
    found = world.app.administration.application(None, world.application_id)
    return {"name": found.name}


def service(world: World) -> dict[str, str]:
    """Make a service with a key, and return the body that its deletion needs."""
    made = world.app.administration.create_service(
        None, world.application_id, "door", ServiceType.RECOGNITION
    )
    (key,) = world.app.administration.keys(None, made.info.id).items
    world.values |= {"service_id": made.info.id, "key_id": key.id}
    return {"name": "door"}


def body(**fields: object) -> Any:
    def prepare(world: World) -> dict[str, object]:
        service(world)
        return fields

    return prepare


ROWS = (
    Row("GET /admin/api/applications", EVERYBODY_SIGNED_IN),
    Row("POST /admin/api/applications", "201 201 403 403 403 403 401", another_name),
    Row("GET /admin/api/applications/{application_id}", SEE),
    Row("PUT /admin/api/applications/{application_id}", APPLICATION, another_name),
    Row("DELETE /admin/api/applications/{application_id}", APPLICATION_GONE, application_name),
    Row("GET /admin/api/applications/{application_id}/members", SEE),
    Row(
        "POST /admin/api/applications/{application_id}/members",
        "201 201 201 403 403 404 401",
        lambda world: {"email": world.people["stranger"].email},
    ),
    Row(
        "POST /admin/api/applications/{application_id}/members",
        "201 201 201 403 403 404 401",
        lambda _: {"email": f"invited{next(_numbers)}@example.org"},
        "without an account",
    ),
    Row(
        "PUT /admin/api/applications/{application_id}/members/{user_id}",
        APPLICATION,
        lambda _: {"role": "ADMINISTRATOR"},
    ),
    Row(
        "DELETE /admin/api/applications/{application_id}/members/{user_id}",
        APPLICATION_GONE,
    ),
    Row("GET /admin/api/applications/{application_id}/services", SEE),
    Row(
        "POST /admin/api/applications/{application_id}/services",
        SERVICE_MADE,
        lambda _: {"name": "cam", "type": "DETECTION"},
    ),
    Row("GET /admin/api/services/{service_id}", SEE, service),
    Row("PUT /admin/api/services/{service_id}", SERVICES, body(save_images=False)),
    Row("DELETE /admin/api/services/{service_id}", SERVICE_GONE, service),
    Row(
        "POST /admin/api/services/{service_id}/clone",
        "202 202 202 202 403 404 401",
        body(name="gate"),
    ),
    Row("GET /admin/api/services/{service_id}/statistics", SEE, service),
    Row("GET /admin/api/services/{service_id}/keys", SEE, service),
    Row("POST /admin/api/services/{service_id}/keys", SERVICE_MADE, body(name="camera")),
    Row("PUT /admin/api/services/{service_id}/keys/{key_id}", SERVICES, body(name="camera")),
    Row("DELETE /admin/api/services/{service_id}/keys/{key_id}", SERVICE_GONE, service),
    Row("POST /admin/api/services/{service_id}/keys/{key_id}/rotate", SERVICES, service),
    Row("GET /admin/api/system", "200 200 403 403 403 403 401"),
)
