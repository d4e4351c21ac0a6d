"""Who may do what with sessions, users, invitations and oneself."""

from __future__ import annotations

from typing import Any

from api.admin.callers import PASSWORD
from api.admin.permissions import EVERYBODY_SIGNED_IN, Row, World, credentials, new_session
from knownface.people import Role

ANYBODY = "200 200 200 200 200 200 200"
DONE = "204 204 204 204 204 204 401"
NAMES = {"first_name": "Jane", "last_name": "Doe"}


def reset_link(world: World) -> Any:
    link = world.app.users.reset_link(None, "", world.target.id)
    world.values["token"] = link.rpartition("/")[2]
    return {"password": PASSWORD}


def own_session(world: World) -> None:
    world.values["session_id"] = new_session(world)


def own_token(world: World) -> None:
    made, _ = world.app.tokens.issue(world.actor or world.target, "another", None)
    world.values["token_id"] = made.id


def invitation(world: World) -> None:
    made, link = world.app.invitations.invite(None, "", None, Role.USER, world.application_id)
    world.values |= {"invitation_id": made.id, "token": link.rpartition("/")[2]}


ROWS = (
    Row("GET /admin/api/session", ANYBODY),
    Row("POST /admin/api/session", ANYBODY, lambda world: credentials(world.target)),
    Row("DELETE /admin/api/session", DONE),
    Row(
        "POST /admin/api/users",
        "403 403 403 403 403 403 403",
        lambda _: {**NAMES, "email": "new@example.org", "password": PASSWORD},
        "without an invitation",
    ),
    Row(
        "POST /admin/api/password-resets",
        "202 202 202 202 202 202 202",
        lambda world: {"email": world.target.email},
    ),
    Row(
        "PUT /admin/api/password-resets/{token}",
        "204 204 204 204 204 204 204",
        reset_link,
    ),
    Row("GET /admin/api/users", EVERYBODY_SIGNED_IN),
    Row("GET /admin/api/users/{user_id}", "200 200 200 200 200 404 401"),
    Row(
        "PUT /admin/api/users/{user_id}/role",
        "200 200 403 403 403 404 401",
        lambda _: {"role": "ADMINISTRATOR"},
    ),
    Row("DELETE /admin/api/users/{user_id}", "204 204 403 403 403 404 401"),
    Row(
        "POST /admin/api/users/{user_id}/password-reset",
        "403 403 403 403 403 404 401",
        note="by a token",
    ),
    Row("GET /admin/api/me", EVERYBODY_SIGNED_IN),
    Row("PUT /admin/api/me", EVERYBODY_SIGNED_IN, lambda _: NAMES),
    Row(
        "PUT /admin/api/me/password",
        DONE,
        lambda _: {"old_password": PASSWORD, "new_password": PASSWORD},
    ),
    Row("GET /admin/api/me/sessions", EVERYBODY_SIGNED_IN),
    Row("DELETE /admin/api/me/sessions/{session_id}", DONE, own_session),
    Row("GET /admin/api/me/tokens", EVERYBODY_SIGNED_IN),
    Row(
        "POST /admin/api/me/tokens",
        "403 403 403 403 403 403 401",
        lambda _: {"name": "another"},
        "by a token",
    ),
    Row("DELETE /admin/api/me/tokens/{token_id}", DONE, own_token),
    Row("POST /admin/api/me/oidc", "404 404 404 404 404 404 401", note="without a provider"),
    Row("DELETE /admin/api/me/oidc", DONE),
    Row("GET /admin/oidc/login", "404 404 404 404 404 404 404", note="without a provider"),
    Row("GET /admin/oidc/callback", "404 404 404 404 404 404 404", note="without a provider"),
    Row("GET /admin/api/invitations", EVERYBODY_SIGNED_IN),
    Row(
        "POST /admin/api/invitations",
        "201 201 403 403 403 403 401",
        lambda _: {},
        "to the server",
    ),
    Row(
        "POST /admin/api/invitations",
        "403 403 403 403 403 403 401",
        lambda _: {"role": "ADMINISTRATOR"},
        "to administer the server, by a token",
    ),
    Row(
        "POST /admin/api/invitations",
        "201 201 201 403 403 404 401",
        lambda world: {"application_id": world.application_id},
        "to an application",
    ),
    Row(
        "DELETE /admin/api/invitations/{invitation_id}",
        "204 204 204 404 404 404 401",
        invitation,
    ),
    Row("GET /admin/api/join/{token}", ANYBODY, invitation),
    Row("POST /admin/api/join/{token}", EVERYBODY_SIGNED_IN, invitation),
)
