"""Who may try services and keep face collections."""

from __future__ import annotations

import uuid
from typing import Any

import tiny_models
from api.admin.permissions import Row, World
from knownface.api.admin.pictures import signed
from knownface.recognition import Options
from knownface.types import Example, Service, ServiceType

USED = "200 200 200 200 200 404 401"
MADE = "201 201 201 201 201 404 401"
ANYBODY = "200 200 200 200 200 200 200"
SERVICE = "/admin/api/services/{service_id}"
PICTURE = tiny_models.portrait(1)


def new_service(world: World, kind: ServiceType) -> Service:
    with world.app.store.snapshot() as tx:
        parent = next(one for one in tx.applications() if one.id == world.application_id)
    name = uuid.uuid4().hex
    service, _ = world.app.accounts.create_service(parent.name, name, kind)
    world.values["service_id"] = service.id
    return service


def collection(world: World) -> Example:
    """Make a service that knows Ada, and return her example."""
    service = new_service(world, ServiceType.RECOGNITION)
    world.values["subject"] = "Ada"
    return world.app.recognition.add_example(service, "Ada", PICTURE, Options())


def empty(world: World) -> None:
    collection(world)


def detection(world: World) -> None:
    new_service(world, ServiceType.DETECTION)


def verification(world: World) -> None:
    new_service(world, ServiceType.VERIFICATION)


def bob(world: World) -> dict[str, Any]:
    collection(world)
    return {"subject": "Bob"}


def ids(world: World) -> dict[str, Any]:
    return {"image_ids": [str(collection(world).image_id)]}


def address(world: World) -> None:
    image_id = collection(world).image_id
    world.values["signed"] = signed(world.app, world.values["service_id"], image_id)


def picture(_: World) -> dict[str, Any]:
    return {"file": ("a.png", PICTURE)}


def two_pictures(_: World) -> dict[str, Any]:
    return {"source_image": ("a.png", PICTURE), "target_image": ("b.png", PICTURE)}


ROWS = (
    Row(f"GET {SERVICE}/subjects", USED, empty),
    Row(f"POST {SERVICE}/subjects", MADE, bob),
    Row(
        f"PUT {SERVICE}/subjects/{{subject}}",
        USED,
        bob,
    ),
    Row(f"DELETE {SERVICE}/subjects/{{subject}}", USED, empty),
    Row(f"PUT {SERVICE}/subjects", USED, bob, query="?subject=Ada"),
    Row(f"DELETE {SERVICE}/subjects", USED, empty, query="?subject=Ada"),
    Row(f"GET {SERVICE}/examples", USED, empty),
    Row(f"POST {SERVICE}/examples", MADE, empty, query="?subject=Bob", files=picture),
    Row(f"POST {SERVICE}/examples/delete", USED, ids),
    Row(f"POST {SERVICE}/examples/move", USED, lambda world: ids(world) | {"subject": "Bob"}),
    Row(f"POST {SERVICE}/recognize", USED, empty, files=picture),
    Row(f"POST {SERVICE}/detect", USED, detection, files=picture),
    Row(f"POST {SERVICE}/verify", USED, verification, files=two_pictures),
    Row("GET /admin/pictures/{signed}", ANYBODY, address, "with its address"),
)
