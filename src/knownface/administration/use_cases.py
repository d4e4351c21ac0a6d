"""The use cases of administration, each in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from knownface.accounts import (
    key_digest,
    key_hint,
    no_such_application,
    refuse_threshold,
    refuse_used,
    usable_key,
)
from knownface.administration.access import (
    allowed_application,
    allowed_service,
    give,
    info_of,
    may,
    number,
    refuse_other_name,
    refuse_ownerless,
    role_of,
    seen,
    told,
)
from knownface.administration.values import (
    SAME,
    Listing,
    Made,
    Part,
    Same,
    future,
    listed,
    usable_key_name,
    usable_title,
)
from knownface.errors import (
    AlreadyMember,
    ApplicationNotFound,
    Forbidden,
    NotPossible,
    ServiceNotFound,
    UserNotFound,
)
from knownface.people import Actor, Member, Right, Role
from knownface.store.names import name_key, normalized
from knownface.types import ApiKey, Application, Service, ServiceType, Threshold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from knownface.status import Status, System
    from knownface.store import Store, Transaction
    from knownface.store.overview import ApplicationInfo, ServiceInfo
    from knownface.usage import Statistics, UsageCounter


class Administration:
    """The use cases of administration; safe to call from many threads.

    `similarity_at` raises InvalidRequest for a false match rate that an embedder, the server's
    where it is None, cannot tell the similarity of.
    """

    def __init__(
        self,
        store: Store,
        usage: UsageCounter,
        *,
        status: Status | None = None,
        similarity_at: Callable[[str | None, float], object] = lambda *_: None,
    ) -> None:
        self._store = store
        self._usage = usage
        self._status = status
        self._similarity_at = similarity_at

    # Applications

    def applications(
        self, actor: Actor | None, part: Part | None = None
    ) -> Listing[ApplicationInfo]:
        """Those that he may see."""
        with self._store.snapshot() as tx:
            found = tx.application_infos(number(actor), all=may(actor, Right.SEE))
        return listed(part, found, lambda one: one.name)

    def application_named(self, actor: Actor | None, name: str) -> ApplicationInfo:
        """ApplicationNotFound."""
        with self._store.snapshot() as tx:
            found = tx.application(name)
            if found is None:
                if actor is None:
                    raise no_such_application(tx, name)
                raise ApplicationNotFound(f"Application {name} not found")
            return seen(tx, actor, found.id)

    def application(self, actor: Actor | None, application_id: int) -> ApplicationInfo:
        """ApplicationNotFound."""
        with self._store.snapshot() as tx:
            return seen(tx, actor, application_id)

    def create_application(self, actor: Actor | None, name: str) -> ApplicationInfo:
        """Make an application that belongs to who asks. NameTaken, UnusableName."""
        if not may(actor, Right.CREATE_APPLICATION):
            raise Forbidden
        name = usable_title(name, "application")
        with self._store.begin() as tx:
            made = tx.create_application(name)
            if actor is not None:
                tx.set_membership(made.id, actor.user.id, Role.OWNER)
            return tx.application_info(number(actor), made.id)

    def rename_application(
        self, actor: Actor | None, application_id: int, name: str
    ) -> ApplicationInfo:
        """ApplicationNotFound, NameTaken, UnusableName."""
        with self._store.begin() as tx:
            found = allowed_application(tx, actor, application_id, Right.MANAGE_APPLICATION)
            if normalized(name) != found.name:  # an older name may be one that is refused today
                tx.rename_application(application_id, usable_title(name, "application"))
            return tx.application_info(number(actor), application_id)

    def delete_application(self, actor: Actor | None, application_id: int, name: str) -> None:
        """Erase an application and all below it, given its name. ApplicationNotFound."""
        with self._store.begin() as tx:
            found = allowed_application(tx, actor, application_id, Right.MANAGE_APPLICATION)
            refuse_other_name(name, found.name, "application")
            tx.delete_application(application_id)

    # Members

    def members(
        self, actor: Actor | None, application_id: int, part: Part | None = None
    ) -> Listing[Member]:
        """ApplicationNotFound."""
        with self._store.snapshot() as tx:
            seen(tx, actor, application_id)
            found = tx.members(application_id)
        return listed(part, found, lambda one: told(one.user))

    def add_member(
        self, actor: Actor | None, application_id: int, email: str, role: Role
    ) -> Member:
        """Let somebody who has an account belong to an application.

        ApplicationNotFound, UserNotFound, AlreadyMember.
        """
        with self._members(actor, application_id) as tx:
            user = tx.user_by_email(email.strip().lower())
            if user is None:
                raise UserNotFound
            if tx.membership(application_id, user.id) is not None:
                raise AlreadyMember(f"{user.email} belongs to the application already.")
            give(tx, application_id, user.id, role)
            return Member(user, role)

    def set_member(
        self, actor: Actor | None, application_id: int, user_id: int, role: Role
    ) -> Member:
        """Change somebody's role; who gets OWNER makes the one before an ADMINISTRATOR.

        ApplicationNotFound, UserNotFound, NotPossible for an owner who did not hand over.
        """
        with self._members(actor, application_id) as tx:
            refuse_ownerless(role_of(tx, application_id, user_id), role)
            give(tx, application_id, user_id, role)
            return Member(tx.user(user_id), role)

    def remove_member(self, actor: Actor | None, application_id: int, user_id: int) -> None:
        """ApplicationNotFound, UserNotFound, NotPossible for an owner who did not hand over."""
        with self._members(actor, application_id) as tx:
            refuse_ownerless(role_of(tx, application_id, user_id), None)
            tx.remove_membership(application_id, user_id)

    @contextmanager
    def _members(self, actor: Actor | None, application_id: int) -> Iterator[Transaction]:
        with self._store.begin() as tx:
            tx.hold_application(application_id)
            allowed_application(tx, actor, application_id, Right.MANAGE_APPLICATION)
            yield tx

    # Services

    def services(
        self, actor: Actor | None, application_id: int, part: Part | None = None
    ) -> Listing[ServiceInfo]:
        """ApplicationNotFound."""
        with self._store.snapshot() as tx:
            seen(tx, actor, application_id)
            found = tx.service_infos(application_id)
        return listed(part, found, lambda one: one.service.name)

    def service(self, actor: Actor | None, service_id: int) -> ServiceInfo:
        """ServiceNotFound."""
        with self._store.snapshot() as tx:
            return allowed_service(tx, actor, service_id, Right.SEE)

    def service_named(self, actor: Actor | None, application: str, name: str) -> ServiceInfo:
        """ApplicationNotFound, ServiceNotFound."""
        parent = self.application_named(actor, application)
        with self._store.snapshot() as tx:
            for one in tx.services(parent.id):
                if name_key(one.name) == name_key(name):
                    return info_of(tx, one.id)
        raise ServiceNotFound(f"Service {name} not found in application {parent.name}")

    def service_to_use(
        self, actor: Actor | None, service_id: int, kind: ServiceType | None = None
    ) -> Service:
        """Return a service for a call in its name; ServiceNotFound, also where its type differs."""
        with self._store.snapshot() as tx:
            found = allowed_service(tx, actor, service_id, Right.USE_SERVICES).service
        if kind not in (None, found.type):
            raise ServiceNotFound(f"The {found.type.value} service {found.name} does no such thing")
        return found

    def create_service(
        self,
        actor: Actor | None,
        application_id: int,
        name: str,
        kind: ServiceType,
        *,
        threshold: Threshold | None = None,
        save_images: bool | None = None,
        key: str | None = None,
    ) -> Made:
        """ApplicationNotFound, NameTaken, UnusableName; InvalidRequest for a threshold or a key of
        one's own that cannot be used.
        """
        key = usable_key(key)
        name = usable_title(name, "service")
        self._check_threshold(kind, threshold, None)
        with self._store.begin() as tx:
            parent = allowed_application(tx, actor, application_id, Right.MANAGE_SERVICES)
            refuse_used(tx, key)
            made = tx.create_service(
                Application(parent.id, parent.name),
                name,
                kind,
                key_digest(key),
                threshold,
                hint=key_hint(key),
                save_images=save_images,
            )
            return Made(info_of(tx, made.id), key)

    def change_service(
        self,
        actor: Actor | None,
        service_id: int,
        *,
        name: str | Same = SAME,
        threshold: Threshold | Same | None = SAME,
        save_images: bool | Same | None = SAME,
    ) -> ServiceInfo:
        """ServiceNotFound, NameTaken, UnusableName; InvalidRequest for an unusable threshold."""
        with self._store.begin() as tx:
            service = allowed_service(tx, actor, service_id, Right.MANAGE_SERVICES).service
            if not isinstance(name, Same) and normalized(name) != service.name:
                tx.rename_service(service_id, usable_title(name, "service"))
            if not isinstance(threshold, Same):
                self._check_threshold(service.type, threshold, service.embedder)
                tx.set_threshold(service_id, threshold)
            if not isinstance(save_images, Same):
                tx.set_save_images(service_id, save_images)
            return info_of(tx, service_id)

    def delete_service(self, actor: Actor | None, service_id: int, name: str) -> None:
        """Erase a service and all that it holds, given its name. ServiceNotFound."""
        with self._store.begin() as tx:
            found = allowed_service(tx, actor, service_id, Right.MANAGE_SERVICES)
            refuse_other_name(name, found.service.name, "service")
            tx.delete_service(service_id)

    def clone_service(
        self, actor: Actor | None, service_id: int, name: str, key: str | None = None
    ) -> Made:
        """Make a service that holds what another holds at this moment; it is copied afterwards.

        ServiceNotFound, NameTaken, UnusableName; InvalidRequest while its embedder is changed.
        """
        key = usable_key(key)
        name = usable_title(name, "service")
        with self._store.begin() as tx:
            found = allowed_service(tx, actor, service_id, Right.MANAGE_SERVICES)
            source = found.service
            refuse_used(tx, key)
            made = tx.create_service(
                Application(found.application_id, source.application),
                name,
                source.type,
                key_digest(key),
                source.threshold,
                hint=key_hint(key),
                save_images=source.save_images,
            )
            if source.type is ServiceType.RECOGNITION:
                tx.queue_copy(source.id, made.id)
            return Made(info_of(tx, made.id), key)

    # Keys

    def keys(
        self, actor: Actor | None, service_id: int, part: Part | None = None
    ) -> Listing[ApiKey]:
        """ServiceNotFound."""
        with self._store.snapshot() as tx:
            allowed_service(tx, actor, service_id, Right.SEE)
            found = tx.keys(service_id)
        return listed(part, found, lambda one: one.name)

    def add_key(
        self,
        actor: Actor | None,
        service_id: int,
        name: str,
        expires_at: datetime | None = None,
        key: str | None = None,
    ) -> tuple[ApiKey, str]:
        """ServiceNotFound, NameTaken; InvalidRequest for a name, an end or a key of no use."""
        key = usable_key(key)
        name, expires_at = usable_key_name(name), future(expires_at)
        with self._store.begin() as tx:
            allowed_service(tx, actor, service_id, Right.MANAGE_SERVICES)
            refuse_used(tx, key)
            added = tx.add_key(
                service_id, name, key_digest(key), hint=key_hint(key), expires_at=expires_at
            )
        return added, key

    def change_key(
        self,
        actor: Actor | None,
        service_id: int,
        key_id: int,
        *,
        name: str | Same = SAME,
        expires_at: datetime | Same | None = SAME,
    ) -> ApiKey:
        """ServiceNotFound, ApiKeyNotFound, NameTaken; InvalidRequest for an end that is over."""
        with self._store.begin() as tx:
            allowed_service(tx, actor, service_id, Right.MANAGE_SERVICES)
            now = tx.key(service_id, key_id)
            new_name = now.name if isinstance(name, Same) else usable_key_name(name)
            end = now.expires_at if isinstance(expires_at, Same) else future(expires_at)
            return tx.change_key(service_id, key_id, name=new_name, expires_at=end)

    def rotate_key(
        self, actor: Actor | None, service_id: int, key_id: int, key: str | None = None
    ) -> tuple[ApiKey, str]:
        """Put a new key in the place of one; ServiceNotFound, ApiKeyNotFound, NameTaken."""
        key = usable_key(key)
        with self._store.begin() as tx:
            allowed_service(tx, actor, service_id, Right.MANAGE_SERVICES)
            rotated = tx.rotate_key(service_id, key_id, key_digest(key), hint=key_hint(key))
        return rotated, key

    def delete_key(self, actor: Actor | None, service_id: int, key_id: int) -> None:
        """ServiceNotFound, ApiKeyNotFound."""
        with self._store.begin() as tx:
            allowed_service(tx, actor, service_id, Right.MANAGE_SERVICES)
            tx.delete_key(service_id, key_id)

    # Numbers

    def statistics(
        self, actor: Actor | None, service_id: int, *, days: int = 30, months: int = 6
    ) -> Statistics:
        """ServiceNotFound; InvalidRequest for more days or months than are kept."""
        self.service(actor, service_id)
        return self._usage.statistics(service_id, days, months)

    def system(self, actor: Actor | None) -> System:
        """How this process of the server is doing."""
        if not may(actor, Right.SEE_SYSTEM):
            raise Forbidden
        if self._status is None:
            raise NotPossible("No server runs in this process.")
        return self._status.look()

    def _check_threshold(
        self, kind: ServiceType, threshold: Threshold | None, embedder: str | None
    ) -> None:
        refuse_threshold(kind, threshold)
        if threshold is not None and threshold.max_fmr is not None:
            self._similarity_at(embedder, threshold.max_fmr)
