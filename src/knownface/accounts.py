"""Who may call: applications, their services, and the API keys that open them.

A key is a UUID that is shown once, to whoever makes it. The Store keeps only its digest, so a
stolen database opens nothing, and a request still finds its service by one indexed look-up.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from knownface.errors import (
    ApplicationNotFound,
    InvalidRequest,
    MissingApiKey,
    NameTaken,
    ServiceNotFound,
)
from knownface.store import Recall
from knownface.store.names import name_key
from knownface.types import (
    LeftOut,
    Reembedding,
    ReembeddingState,
    Service,
    ServiceType,
    Threshold,
)

if TYPE_CHECKING:
    from knownface.store import Store, Transaction
    from knownface.store.tenants import Opened

DEFAULT_APPLICATION: Final = "default"
MAX_NAME: Final = 255
_MOST_TOLD: Final = 10  # applications that a message names
_MOST_KNOWN: Final = 4096  # keys whose service is known without asking the database

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DOMAIN: Final = b"knownface api key\x00"


def key_digest(key: str) -> bytes:
    """Return the 32 bytes under which a key is stored; keys that differ in case differ here.

    A key holds 122 random bits, so one round of SHA-256 cannot be searched backwards, and a slow
    hash would slow down every request for nothing. The prefix keeps digests of no use elsewhere.
    """
    return hashlib.sha256(_DOMAIN + key.encode()).digest()


def is_key(text: str) -> bool:
    """Tell whether a text could be an API key."""
    return _UUID.fullmatch(text) is not None


def key_hint(key: str) -> str:
    """Return the end of a key, by which people tell theirs apart and which opens nothing."""
    return key[-4:]


@dataclass(frozen=True, slots=True)
class EmbedderChange:
    """The model of a service's embeddings, its last change, and the examples that got none of it.

    While a change is under way, or after it failed, these are the ones that the new model left out.
    """

    model: str | None
    change: Reembedding | None
    left_out: list[LeftOut]


class Accounts:
    """Applications, services and keys of one Store.

    `on_use` hears the number of each key that opened something: it is called with every request.
    """

    def __init__(self, store: Store, on_use: Callable[[int], None] = lambda _: None) -> None:
        self._store = store
        self._opened: Recall[dict[bytes, Opened]] = Recall(store, dict)
        self._on_use = on_use

    def authorize(self, key: str | None, kind: ServiceType) -> Service:
        """Return the service of this type that the key opens.

        Raises MissingApiKey without a key, InvalidRequest when it is no UUID, ServiceNotFound when
        no service of this type has it, or when it has expired.
        """
        if key is None:
            raise MissingApiKey
        if not _UUID.fullmatch(key):
            raise InvalidRequest("Service API key should be UUID")
        found = self._opened_by(key_digest(key))
        name = kind.value.capitalize()
        if found is None or found.service.type is not kind:
            raise ServiceNotFound(f"{name} service with API Key {key} not found")
        if found.expired():
            raise ServiceNotFound(
                f"{name} service with API Key {key} not found: the key expired at "
                f"{found.expires_at:%Y-%m-%d %H:%M} UTC. Ask for another one."
            )
        self._on_use(found.key_id)
        return found.service

    def authorize_at_once(self, key: str | None, kind: ServiceType) -> Service | None:
        """Return what `authorize` would where nothing has to be waited for, None elsewhere.

        It raises nothing: that is left to `authorize`.
        """
        known = self._opened.at_once()
        found = known.get(key_digest(key)) if known and key else None
        if found is None or found.service.type is not kind or found.expired():
            return None
        self._on_use(found.key_id)
        return found.service

    def _opened_by(self, digest: bytes) -> Opened | None:
        known = self._opened.current()
        found = known.get(digest)
        if found is None:
            with self._store.snapshot() as tx:
                found = tx.key_by_digest(digest)
            # Of unknown keys there are any number: they are always looked for.
            if found is not None:
                if len(known) >= _MOST_KNOWN:
                    known.clear()
                known[digest] = found
        return found

    def create_service(
        self,
        application: str,
        name: str,
        kind: ServiceType,
        key: str | None = None,
        *,
        threshold: Threshold | None = None,
    ) -> tuple[Service, str]:
        """Create a service, and its application when there is none, and return it with its key.

        The key is made here unless the caller brings one. Raises InvalidRequest for a name or key
        that cannot be used and for a threshold of what recognises nobody, NameTaken when the name
        or the key is in use.
        """
        key = usable_key(key)
        application, name = _usable(application, "application"), _usable(name, "service")
        refuse_threshold(kind, threshold)
        with self._store.begin() as tx:
            return self._create(tx, application, name, kind, key, threshold), key

    def services(self) -> list[Service]:
        """Return every service, application by application."""
        with self._store.snapshot() as tx:
            return tx.services(None)

    def service(self, application: str, name: str) -> Service:
        """Return one service by its names; ApplicationNotFound or ServiceNotFound."""
        with self._store.snapshot() as tx:
            return _find(tx, application, name)

    def set_threshold(self, application: str, name: str, threshold: Threshold | None) -> Service:
        """Let a service name only subjects that reach this, or (None) always the most similar."""
        with self._store.begin() as tx:
            service = _find(tx, application, name)
            refuse_threshold(service.type, threshold)
            tx.set_threshold(service.id, threshold)
        return replace(service, threshold=threshold)

    def set_save_images(self, application: str, name: str, save_images: bool | None) -> Service:
        """Keep a service's photographs from now on or not; None is as the setting says."""
        with self._store.begin() as tx:
            service = _find(tx, application, name)
            tx.set_save_images(service.id, save_images)
        return replace(service, save_images=save_images)

    def change_embedder(self, service: Service, embedder: str) -> bool:
        """Begin to change the model that tells a service's faces apart; False if it has it.

        InvalidRequest for a service that holds no faces, and during another such change.
        """
        if service.type is not ServiceType.RECOGNITION:
            raise InvalidRequest(
                f"The {service.type.value} service {service.name} holds no faces: "
                "only those of a recognition service are re-embedded"
            )
        with self._store.begin() as tx:
            tx.refuse_while_copied(service.id)
            return tx.queue_reembedding(service.id, embedder)

    def reembedding(self, service: Service) -> tuple[Reembedding | None, bool]:
        """Return the last change of a service's model, and whether somebody works on any at all."""
        with self._store.snapshot() as tx:
            others = any(change.working for change in tx.open_reembeddings())
            return tx.reembedding(service.id), others

    def embedder_change(self, service: Service) -> EmbedderChange:
        """Return how the model of a service stands."""
        with self._store.snapshot() as tx:
            change, model = tx.reembedding(service.id), tx.model(service.id)
            # Of a change that failed the reasons are wanted; one that was cancelled left none.
            open_ = (ReembeddingState.RUNNING, ReembeddingState.FAILED)
            about = change.model if change and change.state in open_ else model
            return EmbedderChange(model, change, tx.left_out(service.id, about) if about else [])

    def cancel_embedder_change(self, service: Service) -> bool:
        """Leave a service at its model; False when nothing was under way."""
        with self._store.begin() as tx:
            return tx.cancel_reembedding(service.id)

    def without_photograph(self, service: Service) -> int:
        """Return how many of a service's examples are kept without their photograph."""
        with self._store.snapshot() as tx:
            return tx.without_photograph(service.id)

    def delete_service(self, application: str, name: str) -> Service:
        """Delete a service with all its subjects, embeddings and photographs."""
        with self._store.begin() as tx:
            service = _find(tx, application, name)
            tx.delete_service(service.id)
        return service

    def rotate_key(self, application: str, name: str, key: str | None = None) -> str:
        """Give a service a new key and return it; the old one opens nothing any more.

        InvalidRequest where it has several keys: then one of them has to be named.
        """
        key = usable_key(key)
        with self._store.begin() as tx:
            service = _find(tx, application, name)
            refuse_used(tx, key)
            if len(present := tx.keys(service.id)) > 1:
                names = ", ".join(one.name for one in present)
                raise InvalidRequest(
                    f"The service {service.name} has several keys: {names}. Say which one with "
                    f"`knownface service keys rotate NAME`."
                )
            tx.replace_key(service.id, key_digest(key), hint=key_hint(key))
        return key

    def bootstrap(self) -> list[tuple[Service, str]]:
        """On the first run create a service of each type and return them with keys, else []."""
        with self._store.snapshot() as tx:  # most starts need no write, nor wait for another's
            if tx.applications():
                return []
        keys = [(kind, str(uuid.uuid4())) for kind in ServiceType]
        try:
            with self._store.begin() as tx:
                if tx.applications():
                    return []
                return [
                    (self._create(tx, DEFAULT_APPLICATION, kind.value, kind, key), key)
                    for kind, key in keys
                ]
        except NameTaken:  # another server of the same database was first
            return []

    @staticmethod
    def _create(
        tx: Transaction,
        application: str,
        name: str,
        kind: ServiceType,
        key: str,
        threshold: Threshold | None = None,
    ) -> Service:
        refuse_used(tx, key)
        owner = tx.application(application) or tx.create_application(application)
        return tx.create_service(owner, name, kind, key_digest(key), threshold, hint=key_hint(key))


def _find(tx: Transaction, application: str, name: str) -> Service:
    owner = tx.application(application)
    if owner is None:
        raise no_such_application(tx, application)
    for service in tx.services(owner.id):
        if name_key(service.name) == name_key(name):
            return service
    raise ServiceNotFound(f"Service {name} not found in application {owner.name}")


def no_such_application(tx: Transaction, name: str) -> ApplicationNotFound:
    """Return what the operator, who may see them all, is told of a name that none has."""
    there = [one.name for one in tx.applications()]
    more = ", …" if len(there) > _MOST_TOLD else ""
    told = f"There are: {', '.join(there[:_MOST_TOLD])}{more}" if there else "There is none yet"
    return ApplicationNotFound(f"Application {name} not found. {told}.")


def refuse_used(tx: Transaction, key: str) -> None:
    """Raise NameTaken for a key that opens something already."""
    if tx.key_by_digest(key_digest(key)):
        raise NameTaken("A service with this API key exists already")


def refuse_threshold(kind: ServiceType, threshold: Threshold | None) -> None:
    """Raise InvalidRequest for a threshold of what recognises nobody."""
    if threshold is not None and kind is not ServiceType.RECOGNITION:
        raise InvalidRequest(
            f"A {kind.value} service recognises nobody: only a recognition service has a threshold"
        )


def usable_key(key: str | None) -> str:
    """Return this key, or a new one; InvalidRequest for what is no UUID."""
    if key is None:
        return str(uuid.uuid4())
    if not _UUID.fullmatch(key):
        raise InvalidRequest("Service API key should be UUID")
    return key


def _usable(name: str, what: str) -> str:
    """Return a name that can be shown on one line, or raise InvalidRequest."""
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidRequest(f"The {what}'s name must have 1 to {MAX_NAME} printable characters")
    return name
