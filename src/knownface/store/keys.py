"""The keys of a service, each with a name, an end and the moment of its last use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Row, delete, or_, select, update

from knownface.errors import ApiKeyNotFound, NameTaken, ServiceNotFound
from knownface.store.names import name_key
from knownface.store.queries import now
from knownface.store.tables import api_key, service
from knownface.store.tenants import Tenants
from knownface.types import ApiKey

_keys = select(
    api_key.c.id,
    api_key.c.name,
    api_key.c.hint,
    api_key.c.created_at,
    api_key.c.expires_at,
    api_key.c.last_used_at,
)


class Keys(Tenants):
    """Names of a service's keys are unique ignoring case; ServiceNotFound where it is gone."""

    def keys(self, service_id: int) -> list[ApiKey]:
        """All of a service, oldest first."""
        rows = self.connection.execute(
            _keys.where(api_key.c.service_id == service_id).order_by(api_key.c.id)
        )
        return [_key(row) for row in rows]

    def key(self, service_id: int, key_id: int) -> ApiKey:
        """One of a service. ApiKeyNotFound."""
        for one in self.keys(service_id):
            if one.id == key_id:
                return one
        raise ApiKeyNotFound("The service has no such key.")

    def add_key(
        self,
        service_id: int,
        name: str,
        digest: bytes,
        *,
        hint: str,
        expires_at: datetime | None = None,
    ) -> ApiKey:
        """NameTaken where the service has a key of that name, or anybody the key itself."""
        self._hold_keys(service_id)
        self._refuse_taken(service_id, name)
        return self._add_key(service_id, digest, hint, name, expires_at)

    def change_key(
        self, service_id: int, key_id: int, *, name: str, expires_at: datetime | None
    ) -> ApiKey:
        """Give a key another name and end. ApiKeyNotFound, NameTaken."""
        self._hold_keys(service_id)
        self._refuse_taken(service_id, name, besides=key_id)
        return self._change_key(service_id, key_id, {"name": name, "expires_at": expires_at})

    def rotate_key(self, service_id: int, key_id: int, digest: bytes, *, hint: str) -> ApiKey:
        """Let another key take the place of one, with its name and its end. ApiKeyNotFound."""
        self._hold_keys(service_id)
        if self.key_by_digest(digest):
            raise NameTaken("Another service has this API key already.")
        values = {"digest": digest, "hint": hint, "created_at": now(), "last_used_at": None}
        return self._change_key(service_id, key_id, values)

    def delete_key(self, service_id: int, key_id: int) -> None:
        """Let a key open nothing any more. ApiKeyNotFound."""
        deleted = self.connection.execute(
            delete(api_key).where(api_key.c.service_id == service_id, api_key.c.id == key_id)
        )
        if deleted.rowcount == 0:
            raise ApiKeyNotFound("The service has no such key.")

    def note_use(self, moments: Mapping[int, datetime]) -> None:
        """Note when keys were used last; those that are gone are passed over."""
        for key_id, moment in sorted(moments.items()):
            older = or_(api_key.c.last_used_at.is_(None), api_key.c.last_used_at < moment)
            self.connection.execute(
                update(api_key).where(api_key.c.id == key_id, older).values(last_used_at=moment)
            )

    def _change_key(self, service_id: int, key_id: int, values: Mapping[str, object]) -> ApiKey:
        mine = (api_key.c.service_id == service_id, api_key.c.id == key_id)
        self.connection.execute(update(api_key).where(*mine).values(values))
        row = self.connection.execute(_keys.where(*mine)).one_or_none()
        if row is None:
            raise ApiKeyNotFound("The service has no such key.")
        return _key(row)

    def _refuse_taken(self, service_id: int, name: str, besides: int | None = None) -> None:
        for key in self.keys(service_id):
            if key.id != besides and name_key(key.name) == name_key(name):
                raise NameTaken(f"The service has a key named {key.name} already.")

    def _hold_keys(self, service_id: int) -> None:
        """Let the keys of a service be changed one after the other."""
        present = self.connection.execute(
            select(service.c.id).where(service.c.id == service_id).with_for_update()
        )
        if present.one_or_none() is None:
            raise ServiceNotFound("The service does not exist any more.")


def _key(row: Row[*tuple[object, ...]]) -> ApiKey:
    return ApiKey(*(row.id, row.name, row.hint, row.created_at, row.expires_at, row.last_used_at))
