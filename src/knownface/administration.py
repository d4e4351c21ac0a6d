"""What people do with applications, services and keys, each according to his role.

Every use case takes who asks for it. What somebody may not even see is not found; what he may see
but not do is Forbidden. None in the place of somebody is the operator at the server's own command
line, who may do everything that is possible at all.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from knownface.accounts import key_digest, key_hint, refuse_threshold, refuse_used, usable_key
from knownface.errors import (
    AlreadyMember,
    ApplicationNotFound,
    Forbidden,
    InvalidRequest,
    NotPossible,
    ServiceNotFound,
    UnusableName,
    UserNotFound,
)
from knownface.people import Actor, Member, Right, Role, User
from knownface.store.names import name_key, normalized
from knownface.types import ApiKey, Application, Service, ServiceType, Threshold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from knownface.status import Status, System
    from knownface.store import Store, Transaction
    from knownface.store.overview import ApplicationInfo, ServiceInfo
    from knownface.usage import Statistics, UsageCounter

T = TypeVar("T")

LONGEST_NAME: Final = 50
NOT_IN_NAMES: Final = frozenset(";/\\")


class Same(enum.Enum):
    """Stands for a value that is to stay as it is."""

    SAME = "same"


SAME: Final = Same.SAME


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of what there is, and how many there are in all."""

    items: Sequence[T]
    page: int
    size: int
    total: int


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a list is wanted: names that hold `search`, the page and its size.

    Where none is given to a use case, it is all of the list.
    """

    search: str = ""
    page: int = 0
    size: int = 50

    def of(self, items: Sequence[T], name: Callable[[T], str]) -> Listing[T]:
        """Return the part of a list."""
        wanted = normalized(self.search).strip().casefold()
        found = [one for one in items if wanted in name(one).casefold()]
        first = self.page * self.size
        return Listing(found[first : first + self.size], self.page, self.size, len(found))


@dataclass(frozen=True, slots=True)
class Made:
    """A service that was just made, with its key, which nobody can read any more later."""

    info: ServiceInfo
    key: str


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
            found = tx.application_infos(_number(actor), all=_may(actor, Right.SEE))
        return _listed(part, found, lambda one: one.name)

    def application_named(self, actor: Actor | None, name: str) -> ApplicationInfo:
        """ApplicationNotFound."""
        with self._store.snapshot() as tx:
            found = tx.application(name)
            if found is None:
                raise ApplicationNotFound(f"Application {name} not found")
            return _seen(tx, actor, found.id)

    def application(self, actor: Actor | None, application_id: int) -> ApplicationInfo:
        """ApplicationNotFound."""
        with self._store.snapshot() as tx:
            return _seen(tx, actor, application_id)

    def create_application(self, actor: Actor | None, name: str) -> ApplicationInfo:
        """Make an application that belongs to who asks. NameTaken, UnusableName."""
        if not _may(actor, Right.CREATE_APPLICATION):
            raise Forbidden
        name = usable_title(name, "application")
        with self._store.begin() as tx:
            made = tx.create_application(name)
            if actor is not None:
                tx.set_membership(made.id, actor.user.id, Role.OWNER)
            return tx.application_info(_number(actor), made.id)

    def rename_application(
        self, actor: Actor | None, application_id: int, name: str
    ) -> ApplicationInfo:
        """ApplicationNotFound, NameTaken, UnusableName."""
        with self._store.begin() as tx:
            found = _allowed(tx, actor, application_id, Right.MANAGE_APPLICATION)
            if normalized(name) != found.name:  # an older name may be one that is refused today
                tx.rename_application(application_id, usable_title(name, "application"))
            return tx.application_info(_number(actor), application_id)

    def delete_application(self, actor: Actor | None, application_id: int, name: str) -> None:
        """Erase an application and all below it, given its name. ApplicationNotFound."""
        with self._store.begin() as tx:
            found = _allowed(tx, actor, application_id, Right.MANAGE_APPLICATION)
            _refuse_other_name(name, found.name, "application")
            tx.delete_application(application_id)

    # Members

    def members(
        self, actor: Actor | None, application_id: int, part: Part | None = None
    ) -> Listing[Member]:
        """ApplicationNotFound."""
        with self._store.snapshot() as tx:
            _seen(tx, actor, application_id)
            found = tx.members(application_id)
        return _listed(part, found, lambda one: _told(one.user))

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
            _give(tx, application_id, user.id, role)
            return Member(user, role)

    def set_member(
        self, actor: Actor | None, application_id: int, user_id: int, role: Role
    ) -> Member:
        """Change somebody's role; who gets OWNER makes the one before an ADMINISTRATOR.

        ApplicationNotFound, UserNotFound, NotPossible for an owner who did not hand over.
        """
        with self._members(actor, application_id) as tx:
            _refuse_ownerless(_member(tx, application_id, user_id), role)
            _give(tx, application_id, user_id, role)
            return Member(tx.user(user_id), role)

    def remove_member(self, actor: Actor | None, application_id: int, user_id: int) -> None:
        """ApplicationNotFound, UserNotFound, NotPossible for an owner who did not hand over."""
        with self._members(actor, application_id) as tx:
            _refuse_ownerless(_member(tx, application_id, user_id), None)
            tx.remove_membership(application_id, user_id)

    @contextmanager
    def _members(self, actor: Actor | None, application_id: int) -> Iterator[Transaction]:
        with self._store.begin() as tx:
            tx.hold_application(application_id)
            _allowed(tx, actor, application_id, Right.MANAGE_APPLICATION)
            yield tx

    # Services

    def services(
        self, actor: Actor | None, application_id: int, part: Part | None = None
    ) -> Listing[ServiceInfo]:
        """ApplicationNotFound."""
        with self._store.snapshot() as tx:
            _seen(tx, actor, application_id)
            found = tx.service_infos(application_id)
        return _listed(part, found, lambda one: one.service.name)

    def service(self, actor: Actor | None, service_id: int) -> ServiceInfo:
        """ServiceNotFound."""
        with self._store.snapshot() as tx:
            return _service(tx, actor, service_id, Right.SEE)

    def service_named(self, actor: Actor | None, application: str, name: str) -> ServiceInfo:
        """ApplicationNotFound, ServiceNotFound."""
        parent = self.application_named(actor, application)
        with self._store.snapshot() as tx:
            for one in tx.services(parent.id):
                if name_key(one.name) == name_key(name):
                    return _info(tx, one.id)
        raise ServiceNotFound(f"Service {name} not found in application {parent.name}")

    def service_to_use(
        self, actor: Actor | None, service_id: int, kind: ServiceType | None = None
    ) -> Service:
        """Return a service for a call in its name; ServiceNotFound, also where its type differs."""
        with self._store.snapshot() as tx:
            found = _service(tx, actor, service_id, Right.USE_SERVICES).service
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
            parent = _allowed(tx, actor, application_id, Right.MANAGE_SERVICES)
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
            return Made(_info(tx, made.id), key)

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
            service = _service(tx, actor, service_id, Right.MANAGE_SERVICES).service
            if not isinstance(name, Same) and normalized(name) != service.name:
                tx.rename_service(service_id, usable_title(name, "service"))
            if not isinstance(threshold, Same):
                self._check_threshold(service.type, threshold, service.embedder)
                tx.set_threshold(service_id, threshold)
            if not isinstance(save_images, Same):
                tx.set_save_images(service_id, save_images)
            return _info(tx, service_id)

    def delete_service(self, actor: Actor | None, service_id: int, name: str) -> None:
        """Erase a service and all that it holds, given its name. ServiceNotFound."""
        with self._store.begin() as tx:
            found = _service(tx, actor, service_id, Right.MANAGE_SERVICES)
            _refuse_other_name(name, found.service.name, "service")
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
            found = _service(tx, actor, service_id, Right.MANAGE_SERVICES)
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
            return Made(_info(tx, made.id), key)

    # Keys

    def keys(
        self, actor: Actor | None, service_id: int, part: Part | None = None
    ) -> Listing[ApiKey]:
        """ServiceNotFound."""
        with self._store.snapshot() as tx:
            _service(tx, actor, service_id, Right.SEE)
            found = tx.keys(service_id)
        return _listed(part, found, lambda one: one.name)

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
        name, expires_at = _usable_key_name(name), _future(expires_at)
        with self._store.begin() as tx:
            _service(tx, actor, service_id, Right.MANAGE_SERVICES)
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
            _service(tx, actor, service_id, Right.MANAGE_SERVICES)
            now = tx.key(service_id, key_id)
            new_name = now.name if isinstance(name, Same) else _usable_key_name(name)
            end = now.expires_at if isinstance(expires_at, Same) else _future(expires_at)
            return tx.change_key(service_id, key_id, name=new_name, expires_at=end)

    def rotate_key(
        self, actor: Actor | None, service_id: int, key_id: int, key: str | None = None
    ) -> tuple[ApiKey, str]:
        """Put a new key in the place of one; ServiceNotFound, ApiKeyNotFound, NameTaken."""
        key = usable_key(key)
        with self._store.begin() as tx:
            _service(tx, actor, service_id, Right.MANAGE_SERVICES)
            rotated = tx.rotate_key(service_id, key_id, key_digest(key), hint=key_hint(key))
        return rotated, key

    def delete_key(self, actor: Actor | None, service_id: int, key_id: int) -> None:
        """ServiceNotFound, ApiKeyNotFound."""
        with self._store.begin() as tx:
            _service(tx, actor, service_id, Right.MANAGE_SERVICES)
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
        if not _may(actor, Right.SEE_SYSTEM):
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


def usable_title(name: str, what: str) -> str:
    """Return the name for an application or service, as CompreFace has them.

    InvalidRequest where it is blank or too long, UnusableName for characters that it has not.
    """
    name = normalized(name).strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(
            f"The {what}'s name must have 1 to {LONGEST_NAME} printable characters"
        )
    if NOT_IN_NAMES.intersection(name):
        raise UnusableName
    return name


def _listed(part: Part | None, found: Sequence[T], name: Callable[[T], str]) -> Listing[T]:
    return part.of(found, name) if part else Listing(found, 0, len(found), len(found))


def _usable_key_name(name: str) -> str:
    name = normalized(name).strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"The key's name must have 1 to {LONGEST_NAME} printable characters")
    return name


def _future(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        raise InvalidRequest("expires_at lies in the past")
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the last hours of the year 9999, in the west
        raise InvalidRequest("expires_at lies too far ahead") from None


def _may(actor: Actor | None, right: Right, membership: Role | None = None) -> bool:
    return actor is None or actor.may(right, membership)


def _number(actor: Actor | None) -> int:
    """Return who is asked about as a member; nobody has the number of the operator."""
    return actor.user.id if actor else 0


def _seen(tx: Transaction, actor: Actor | None, application_id: int) -> ApplicationInfo:
    return _allowed(tx, actor, application_id, Right.SEE)


def _allowed(
    tx: Transaction, actor: Actor | None, application_id: int, right: Right
) -> ApplicationInfo:
    """Return an application that he may do this in, else ApplicationNotFound or Forbidden."""
    found = tx.application_info(_number(actor), application_id)
    if not _may(actor, Right.SEE, found.role):
        raise ApplicationNotFound("There is no such application.")
    if not _may(actor, right, found.role):
        raise Forbidden
    return found


def _service(tx: Transaction, actor: Actor | None, service_id: int, right: Right) -> ServiceInfo:
    """Return a service that he may do this with, else ServiceNotFound or Forbidden."""
    try:
        found = _info(tx, service_id)
        _allowed(tx, actor, found.application_id, right)
    except ApplicationNotFound:
        raise ServiceNotFound("There is no such service.") from None
    return found


def _info(tx: Transaction, service_id: int) -> ServiceInfo:
    found = tx.service_info(service_id)
    if found is None:
        raise ServiceNotFound("There is no such service.")
    return found


def _member(tx: Transaction, application_id: int, user_id: int) -> Role:
    role = tx.membership(application_id, user_id)
    if role is None:
        raise UserNotFound("There is no such user in this application.")
    return role


def _give(tx: Transaction, application_id: int, user_id: int, role: Role) -> None:
    """Give somebody a role in an application, of which there is one owner."""
    if role is Role.OWNER:
        for member in tx.members(application_id):
            if member.role is Role.OWNER and member.user.id != user_id:
                tx.set_membership(application_id, member.user.id, Role.ADMINISTRATOR)
    tx.set_membership(application_id, user_id, role)


def _refuse_ownerless(present: Role, future: Role | None) -> None:
    if present is Role.OWNER and future is not Role.OWNER:
        raise NotPossible(
            "The owner of an application cannot leave it or give up the role: "
            "make somebody else its owner first."
        )


def _refuse_other_name(given: str, name: str, what: str) -> None:
    if normalized(given) != name:
        raise InvalidRequest(f"Nothing was deleted: give the {what}'s name, exactly as it is.")


def _told(user: User) -> str:
    return f"{user.first_name} {user.last_name} {user.email}"
