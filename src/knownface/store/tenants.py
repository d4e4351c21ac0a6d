"""Applications, their services, and the keys that open these."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, select, update

from knownface.errors import ApplicationNotFound, NameTaken, ServiceNotFound
from knownface.store.names import name_key, normalized
from knownface.store.queries import Queries, now
from knownface.store.tables import FIRST_KEY, api_key, application, service
from knownface.types import ApiKey, Application, Service, ServiceType, Threshold

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

SERVICE_COLUMNS = (
    service.c.id,
    application.c.name.label("application"),
    service.c.name,
    service.c.type,
    service.c.similarity_threshold,
    service.c.max_fmr,
    service.c.embedder,
    service.c.save_images,
)
_services = select(*SERVICE_COLUMNS).join_from(service, application)


# Put together once: every request asks it.
_opened = (
    select(*SERVICE_COLUMNS, api_key.c.id.label("key_id"), api_key.c.expires_at)
    .join_from(api_key, service)
    .join(application)
    .where(api_key.c.digest == bindparam("digest"))
)


class Opened(NamedTuple):
    """What a key opens, the number of the key, and until when."""

    service: Service
    key_id: int
    expires_at: datetime | None

    def expired(self) -> bool:
        """Tell whether the key opens nothing any more."""
        return self.expires_at is not None and self.expires_at <= now()


class Tenants(Queries):
    """Who may use the server. Names are unique ignoring case; of keys there are only digests."""

    def create_application(self, name: str) -> Application:
        """NameTaken when there is one of that name."""
        name = normalized(name)
        number = self.insert_unless_taken(
            application,
            application.c.id,
            {"name": name, "name_key": name_key(name), "created_at": now()},
        )
        if number is None:
            raise NameTaken(f"An application named {name} exists already.")
        return Application(number, name)

    def applications(self) -> list[Application]:
        """All of them, oldest first."""
        rows = self.connection.execute(
            select(application.c.id, application.c.name).order_by(application.c.id)
        )
        return [Application(row.id, row.name) for row in rows]

    def application(self, name: str) -> Application | None:
        """The one of that name, in whatever letter case."""
        row = self.connection.execute(
            select(application.c.id, application.c.name).where(
                application.c.name_key == name_key(name)
            )
        ).one_or_none()
        return None if row is None else Application(row.id, row.name)

    def delete_application(self, application_id: int) -> None:
        """Erase it with its services and all their faces. ApplicationNotFound."""
        deleted = self.connection.execute(
            delete(application).where(application.c.id == application_id)
        )
        if deleted.rowcount == 0:
            raise ApplicationNotFound("The application does not exist any more.")
        self.erased = self.erased_elsewhere = True

    def create_service(
        self,
        parent: Application,
        name: str,
        type: ServiceType,
        key_digest: bytes,
        threshold: Threshold | None = None,
        *,
        hint: str | None = None,
        save_images: bool | None = None,
    ) -> Service:
        """Make a service with its first key, of which `hint` may be shown.

        NameTaken when its application has that name.
        """
        name = normalized(name)
        # The lock holds off whoever would delete the application before the service is in it.
        present = self.connection.execute(
            select(application.c.id).where(application.c.id == parent.id).with_for_update(read=True)
        )
        if present.one_or_none() is None:
            raise ApplicationNotFound(f"The application {parent.name} does not exist any more.")
        number = self.insert_unless_taken(
            service,
            service.c.id,
            {
                "application_id": parent.id,
                "name": name,
                "name_key": name_key(name),
                "type": type.value,
                "revision": 0,
                "log_floor": 0,
                "created_at": now(),
                "save_images": save_images,
                **_columns(threshold),
            },
        )
        if number is None:
            raise NameTaken(f"The application {parent.name} has a service named {name} already.")
        self._add_key(number, key_digest, hint)
        return Service(number, parent.name, name, type, threshold, save_images=save_images)

    def services(self, application_id: int | None = None) -> list[Service]:
        """The services of one application or of all, oldest first."""
        statement = _services.order_by(service.c.id)
        if application_id is not None:
            statement = statement.where(service.c.application_id == application_id)
        return [service_of(row) for row in self.connection.execute(statement)]

    def service(self, service_id: int) -> Service | None:
        """The service of that number."""
        statement = _services.where(service.c.id == service_id)
        row = self.connection.execute(statement).one_or_none()
        return None if row is None else service_of(row)

    def service_by_key(self, key_digest: bytes) -> Service | None:
        """The service that this key opens, unless it has expired: one look-up in an index."""
        found = self.key_by_digest(key_digest)
        return None if found is None or found.expired() else found.service

    def key_by_digest(self, key_digest: bytes) -> Opened | None:
        """What this key opens, be it expired or not: one look-up in an index."""
        row = self.connection.execute(_opened, {"digest": key_digest}).one_or_none()
        return None if row is None else Opened(service_of(row), row.key_id, row.expires_at)

    def set_threshold(self, service_id: int, threshold: Threshold | None) -> None:
        """From now on these subjects of the service are known; None names all. ServiceNotFound."""
        self._change_service(service_id, _columns(threshold))

    def set_save_images(self, service_id: int, save_images: bool | None) -> None:
        """Keep the service's photographs from now on or not; None is as the server's setting says.

        ServiceNotFound.
        """
        self._change_service(service_id, {"save_images": save_images})

    def rename_service(self, service_id: int, name: str) -> None:
        """NameTaken when its application has another service of that name; ServiceNotFound."""
        name = normalized(name)
        other = service.alias()
        taken = select(other.c.id).where(
            other.c.application_id == service.c.application_id,
            other.c.name_key == name_key(name),
            other.c.id != service.c.id,
        )
        self._hold_siblings(service_id)
        if self.connection.execute(
            select(service.c.id).where(service.c.id == service_id, taken.exists())
        ).first():
            raise NameTaken(f"The application has a service named {name} already.")
        self._change_service(service_id, {"name": name, "name_key": name_key(name)})

    def rename_application(self, application_id: int, name: str) -> None:
        """NameTaken when there is another of that name; ApplicationNotFound."""
        name = normalized(name)
        same = application.c.name_key == name_key(name)
        # One renaming at a time: two that take the same name at once must not both find it free.
        self.connection.execute(select(application.c.id).with_for_update())
        if self.connection.execute(
            select(application.c.id).where(same, application.c.id != application_id)
        ).first():
            raise NameTaken(f"An application named {name} exists already.")
        updated = self.connection.execute(
            update(application)
            .where(application.c.id == application_id)
            .values(name=name, name_key=name_key(name))
        )
        if updated.rowcount == 0:
            raise ApplicationNotFound("The application does not exist any more.")

    def replace_key(self, service_id: int, key_digest: bytes, *, hint: str | None = None) -> None:
        """Let this key, and no older one, open the service. ServiceNotFound, NameTaken."""
        present = self.connection.execute(
            select(service.c.id).where(service.c.id == service_id).with_for_update()
        )
        if present.one_or_none() is None:
            raise ServiceNotFound("The service does not exist any more.")
        self.connection.execute(delete(api_key).where(api_key.c.service_id == service_id))
        self._add_key(service_id, key_digest, hint)

    def delete_service(self, service_id: int) -> None:
        """Erase it with its keys and faces. ServiceNotFound."""
        deleted = self.connection.execute(delete(service).where(service.c.id == service_id))
        if deleted.rowcount == 0:
            raise ServiceNotFound("The service does not exist any more.")
        self.erased = self.erased_elsewhere = True

    def _change_service(self, service_id: int, values: Mapping[str, object]) -> None:
        updated = self.connection.execute(
            update(service).where(service.c.id == service_id).values(values)
        )
        if updated.rowcount == 0:
            raise ServiceNotFound("The service does not exist any more.")

    def _hold_siblings(self, service_id: int) -> None:
        """Let services of the same application be named one after the other."""
        parent = select(service.c.application_id).where(service.c.id == service_id)
        self.connection.execute(
            select(application.c.id)
            .where(application.c.id == parent.scalar_subquery())
            .with_for_update()
        )

    def _add_key(
        self,
        service_id: int,
        digest: bytes,
        hint: str | None,
        name: str = FIRST_KEY,
        expires_at: datetime | None = None,
    ) -> ApiKey:
        moment = now()
        values = {
            "service_id": service_id,
            "digest": digest,
            "created_at": moment,
            "name": name,
            "hint": hint,
            "expires_at": expires_at,
        }
        number = self.insert_unless_taken(api_key, api_key.c.id, values)
        if number is None:
            raise NameTaken("Another service has this API key already.")
        return ApiKey(number, name, hint, moment, expires_at, None)


def service_of(row: Row[*tuple[object, ...]]) -> Service:
    """Return the service that SERVICE_COLUMNS of a row tell of."""
    threshold = None
    if row.similarity_threshold is not None or row.max_fmr is not None:
        threshold = Threshold(row.similarity_threshold, row.max_fmr)
    type = ServiceType(row.type)
    return Service(
        *(row.id, row.application, row.name, type, threshold, row.embedder, row.save_images)
    )


def _columns(threshold: Threshold | None) -> dict[str, float | None]:
    if threshold is None:
        return {"similarity_threshold": None, "max_fmr": None}
    return {"similarity_threshold": threshold.similarity, "max_fmr": threshold.max_fmr}
