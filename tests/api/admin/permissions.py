"""The table of who may do what, as rows; `permissions_<topic>.py` beside this hold them.

A row names an operation of the OpenAPI document and the status that each role gets, in the order of
ROLES. The test of the table asks each of them in a world of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.admin.callers import PASSWORD, new_application, new_user, owner
from knownface.app import App
from knownface.identity import Place
from knownface.people import Role, User

# The first two on the server, the next three as members of the application, then a user who belongs
# to nothing, and somebody who is not signed in.
ROLES = (
    "owner",
    "administrator",
    "app owner",
    "app administrator",
    "app user",
    "stranger",
    "nobody",
)
EVERYBODY_SIGNED_IN = "200 200 200 200 200 200 401"


@dataclass
class World:
    """One application with a member of each role, and who acts in it."""

    app: App
    people: Mapping[str, User]
    application_id: int
    actor: User | None
    # What stands in the places of a path: each preparation adds its own.
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> User:
        """A plain member of the application, who never acts."""
        return self.people["target"]


Prepare = Callable[[World], Any]


@dataclass(frozen=True)
class Row:
    """What each role gets for one operation: `statuses` in the order of ROLES.

    `prepare` makes what the call needs, fills `world.values` for the places of its path, and
    returns the JSON body, or None. `query` and `files` are sent as they are.
    """

    operation: str
    statuses: str
    prepare: Prepare = lambda _: None
    note: str = ""
    query: str = ""
    files: Callable[[World], Any] = lambda _: None

    @property
    def method(self) -> str:
        return self.operation.split(" ")[0]

    @property
    def path(self) -> str:
        return self.operation.split(" ")[1]

    def expected(self, role: str) -> int:
        statuses = [int(status) for status in self.statuses.split()]
        assert len(statuses) == len(ROLES), self
        return statuses[ROLES.index(role)]

    def __str__(self) -> str:
        return " ".join(filter(None, (self.operation, self.note)))


def new_world(app: App, role: str) -> World:
    """Make an application with members, and let somebody of this role act."""
    boss = owner(app)
    people = {
        "owner": boss,
        "administrator": new_user(app, Role.ADMINISTRATOR, "administrator"),
        "app owner": new_user(app, name="app-owner"),
        "app administrator": new_user(app, name="app-administrator"),
        "app user": new_user(app, name="app-user"),
        "stranger": new_user(app, name="stranger"),
        "target": new_user(app, name="target"),
    }
    application = new_application(
        app,
        owner=(people["app owner"], Role.OWNER),
        administrator=(people["app administrator"], Role.ADMINISTRATOR),
        user=(people["app user"], Role.USER),
        target=(people["target"], Role.USER),
    )
    world = World(app, people, application, people.get(role))
    world.values = {"application_id": application, "user_id": people["target"].id}
    return world


def credentials(user: User) -> dict[str, str]:
    return {"email": user.email, "password": PASSWORD}


def new_session(world: World) -> int:
    """Sign the actor, or else the target, in somewhere, and return the session's number."""
    user = world.actor or world.target
    entered = world.app.identity.sign_in(user.email, PASSWORD, Place("192.0.2.9"))
    actor = world.app.identity.actor_by_cookie(entered.cookie, "192.0.2.9")
    assert actor
    assert actor.session
    return actor.session
