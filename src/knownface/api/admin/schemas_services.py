"""Bodies of the calls about applications, services and keys, as they are sent and answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from knownface.api.admin.schemas import Changes, Moment, RoleName, Sent
from knownface.api.schemas import Schema

TypeName = Literal["RECOGNITION", "DETECTION", "VERIFICATION"]
Title = Annotated[
    str,
    StringConstraints(max_length=1000),
    Field(description="1 to 50 characters, without ; / and \\."),
]
Text = Annotated[str, StringConstraints(max_length=1000)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]

_SIMILARITY = "Similarity that a subject has to reach; not together with `max_fmr`."
_RATE = "The same as a false match rate, by the table of the model."
_SAVE = "Whether photographs are kept; null: as the server's setting says."


# Sent


class Named(Sent):
    name: Title


class NewMember(Sent):
    email: Text
    role: RoleName = "USER"


class MemberRole(Sent):
    role: RoleName


class NewService(Sent):
    name: Title
    type: TypeName
    similarity_threshold: Share | None = Field(None, description=_SIMILARITY)
    max_fmr: Rate | None = Field(None, description=_RATE)
    save_images: bool | None = Field(None, description=_SAVE)


class ServiceChanges(Changes):
    """Only what is sent is changed; a threshold that is sent as null is removed."""

    name: Title | None = None
    similarity_threshold: Share | None = Field(None, description=_SIMILARITY)
    max_fmr: Rate | None = Field(None, description=_RATE)
    save_images: bool | None = Field(None, description=_SAVE)


class NewKey(Sent):
    name: Text = Field(description="1 to 50 characters; unique within the service.")
    expires_at: AwareDatetime | None = Field(
        None, description="From then on the key opens nothing; null: never."
    )


class KeyChanges(Changes):
    """Only what is sent is changed."""

    name: Text | None = None
    expires_at: AwareDatetime | None = None


# Answered


class Owner(Schema):
    id: int
    first_name: str
    last_name: str


class Application(Schema):
    id: int
    name: str
    role: RoleName | None = Field(description="One's own in it; null for who is no member.")
    owner: Owner | None
    services: int
    members: int
    created_at: Moment


class Paged(Schema):
    page: int
    size: int
    total: int


class ApplicationList(Paged):
    applications: list[Application]


class Member(Schema):
    id: int = Field(description="Of the user.")
    email: str
    first_name: str
    last_name: str
    role: RoleName = Field(description="In this application.")


class MemberList(Paged):
    members: list[Member]


class MadeMember(Schema):
    member: Member | None = Field(None, description="Who belongs to the application now.")
    invitation: dict[str, object] | None = Field(
        None, description="Where nobody has this address: what was sent, as of `/invitations`."
    )


class Copy(Schema):
    state: Literal["running", "done", "failed"]
    done: int = Field(description="Examples that are through.")
    total: int
    failure: str | None


class Service(Schema):
    id: int
    application_id: int
    name: str
    type: TypeName
    similarity_threshold: float | None
    max_fmr: float | None
    save_images: bool | None = Field(description="null: as the server's setting says.")
    embedder: str | None = Field(description="Model of its own; null: the server's.")
    subjects: int
    examples: int
    created_at: Moment
    copy_: Copy | None = Field(alias="copy", description="How far it is as a copy of another.")


class ServiceList(Paged):
    services: list[Service]


class MadeService(Schema):
    service: Service
    key: str = Field(description="Shown only now.")


class Key(Schema):
    id: int
    name: str
    hint: str | None = Field(description="Its last characters; null of keys from older versions.")
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None = Field(description="Up to ten seconds behind.")


class KeyList(Paged):
    keys: list[Key]


class MadeKey(Key):
    key: str = Field(description="Shown only now.")


class Span(Schema):
    requests: int
    errors: int = Field(description="Of these, answered with 400 and above.")
    client_errors: int = Field(description="Of these, the callers' fault.")
    mean_ms: float | None = Field(description="Of answers; null where there are none.")
    p95_ms: float | None = Field(description="What 95 of 100 took at most, give or take a tenth.")


class Day(Span):
    date: str = Field(json_schema_extra={"format": "date"})


class Month(Span):
    month: str = Field(description="As 2026-11.")


class Statistics(Schema):
    days: list[Day] = Field(description="Oldest first, none left out; by UTC.")
    months: list[Month] = Field(description="Oldest first, none left out.")
    total: Span


class Machine(Schema):
    system: str
    processor: str
    cores: int
    memory_bytes: int | None
    python: str


class Database(Schema):
    kind: Literal["sqlite", "postgresql"]
    bytes: int | None


class Disk(Schema):
    free_bytes: int | None


class Model(Schema):
    name: str
    task: Literal["detector", "embedder", "attribute"]
    version: str
    state: str
    runtime: str
    required: bool


class Index(Schema):
    service_id: int
    service: str
    application: str
    faces: int
    bytes: int


class System(Schema):
    version: str
    started_at: Moment
    machine: Machine
    database: Database
    disk: Disk = Field(description="Of the data folder.")
    models: list[Model]
    indexes: list[Index] = Field(description="Those in memory.")
    queue: dict[str, int] = Field(description="Items that wait, by model.")
    checks: dict[str, str]
    ready: bool
