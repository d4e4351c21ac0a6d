"""Applications and services as people see them: with their numbers and who they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Row, Select, and_, func, literal, select

from knownface.errors import ApplicationNotFound
from knownface.people import Role
from knownface.store.copies import Copies
from knownface.store.people_tables import membership, person
from knownface.store.tables import application, copying, example, service, subject
from knownface.store.tenants import SERVICE_COLUMNS, service_of
from knownface.types import Copying, Service, ServiceType


@dataclass(frozen=True, slots=True)
class OwnerName:
    """Whom an application belongs to."""

    id: int
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class ApplicationInfo:
    """An application; `role` is what somebody who asks is in it, None for who is no member."""

    id: int
    name: str
    role: Role | None
    owner: OwnerName | None
    services: int
    members: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """A service with how much it holds; `model` is the one whose embeddings are compared."""

    service: Service
    application_id: int
    created_at: datetime
    model: str | None
    subjects: int
    examples: int
    copy: Copying | None

    @property
    def id(self) -> int:
        return self.service.id

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def type(self) -> ServiceType:
        return self.service.type


class Overview(Copies):
    """Reads for people, who look at a few of them at a time."""

    def application_infos(self, user_id: int, *, all: bool) -> list[ApplicationInfo]:
        """Those that somebody belongs to, or all of them, oldest first."""
        return self._application_infos(user_id, *(() if all else (_OWN.c.role.is_not(None),)))

    def application_info(self, user_id: int, application_id: int) -> ApplicationInfo:
        """One of them, as somebody sees it, be he a member or not. ApplicationNotFound."""
        found = self._application_infos(user_id, application.c.id == application_id)
        if not found:
            raise ApplicationNotFound("There is no such application.")
        return found[0]

    def hold_application(self, application_id: int) -> None:
        """Let the members of an application be changed one after the other."""
        self.connection.execute(
            select(application.c.id).where(application.c.id == application_id).with_for_update()
        )

    def service_infos(self, application_id: int) -> list[ServiceInfo]:
        """The services of an application, oldest first."""
        return self._service_infos(service.c.application_id == application_id)

    def service_info(self, service_id: int) -> ServiceInfo | None:
        """One service."""
        found = self._service_infos(service.c.id == service_id)
        return found[0] if found else None

    def _application_infos(
        self, user_id: int, *which: ColumnElement[bool]
    ) -> list[ApplicationInfo]:
        rows = self.connection.execute(
            _applications(user_id).where(*which).order_by(application.c.id)
        )
        return [_application_info(row) for row in rows]

    def _service_infos(self, which: ColumnElement[bool]) -> list[ServiceInfo]:
        rows = self.connection.execute(_service_infos.where(which).order_by(service.c.id)).all()
        copies: dict[int, Copying] = {}
        if any(row.copied for row in rows):
            ids = select(service.c.id).where(which)
            copies = {one.target_id: one for one in self._copies(copying.c.target_id.in_(ids))}
        return [
            ServiceInfo(
                *(service_of(row), row.application_id, row.created_at, row.model),
                *(row.subjects, row.examples, copies.get(row.id)),
            )
            for row in rows
        ]


_OWN = membership.alias("own")
_OWNERS = membership.alias("owners")


def _applications(user_id: int) -> Select[*tuple[object, ...]]:
    services = _count(service.c.application_id == application.c.id)
    members = _count(membership.c.application_id == application.c.id)
    return (
        select(
            application.c.id,
            application.c.name,
            application.c.created_at,
            _OWN.c.role,
            _OWNERS.c.user_id.label("owner_id"),
            person.c.first_name,
            person.c.last_name,
            services.label("services"),
            members.label("members"),
        )
        .select_from(application)
        .outerjoin(_OWN, and_(_OWN.c.application_id == application.c.id, _OWN.c.user_id == user_id))
        .outerjoin(
            _OWNERS,
            and_(
                _OWNERS.c.application_id == application.c.id,
                _OWNERS.c.role == Role.OWNER.value,
            ),
        )
        .outerjoin(person, person.c.id == _OWNERS.c.user_id)
    )


def _count(which: ColumnElement[bool]) -> ColumnElement[int]:
    return select(func.count(literal(1))).where(which).scalar_subquery()


_service_infos = select(
    *SERVICE_COLUMNS,
    service.c.application_id,
    service.c.created_at,
    service.c.model,
    _count(subject.c.service_id == service.c.id).label("subjects"),
    _count(example.c.service_id == service.c.id).label("examples"),
    select(copying.c.target_id)
    .where(copying.c.target_id == service.c.id)
    .scalar_subquery()
    .label("copied"),
).join_from(service, application)


def _application_info(row: Row[*tuple[object, ...]]) -> ApplicationInfo:
    owner = None
    if row.owner_id is not None:
        owner = OwnerName(row.owner_id, row.first_name, row.last_name)
    return ApplicationInfo(
        *(row.id, row.name, None if row.role is None else Role(row.role), owner),
        *(row.services, row.members, row.created_at),
    )
