"""`knownface service keys`: what opens a service, with or without a running server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from knownface.cli import output
from knownface.cli.administering import (
    NOBODY,
    STORE,
    administration,
    as_json,
    moment,
    own_key,
    service_named,
    show,
)
from knownface.cli.run import Failure, with_settings
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.administration import Administration
    from knownface.types import ApiKey

_COLUMNS: Final = ("key", "ends_with", "created_at", "expires_at", "last_used_at")
_key_name = click.argument("key_name", metavar="KEY_NAME")


class _Moment(click.ParamType[datetime]):
    """A day or moment of UTC, or so many days from now."""

    name = "WHEN"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        text = str(value)
        if text.endswith("d") and text[:-1].isdecimal() and int(text[:-1]) < 100_000:
            return datetime.now(UTC) + timedelta(days=int(text[:-1]))
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            self.fail("should be as 2027-01-31, 2027-01-31T12:00, or 90d", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


_expires = click.option(
    "--expires",
    type=_Moment(),
    help="When the key stops to open anything: 2027-01-31 (UTC), or 90d from now.",
)


@click.group(short_help="Several keys for a service, with names and ends.")
def keys() -> None:
    """List, make, renew and delete the keys of a service.

    A key is shown once, when it is made. Every key has a name within its service; the first one is
    called default.
    """


@keys.command(name="list")
@service_named
@as_json
@with_settings(*STORE)
def list_(settings: Settings, name: str, application: str, as_json: bool) -> None:
    """List the keys of a service by their last characters, and when each was used last."""
    with administration(settings) as admin:
        service = admin.service_named(NOBODY, application, name)
        rows = [_row(one) for one in admin.keys(NOBODY, service.id, None).items]
    show(_COLUMNS, rows, as_json)


@keys.command()
@_key_name
@service_named
@_expires
@own_key
@as_json
@with_settings(*STORE)
def add(
    settings: Settings,
    key_name: str,
    name: str,
    application: str,
    expires: datetime | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Make another key for a service and print it, once.

    \b
    Examples:
      knownface service keys add camera --name door
      knownface service keys add visitor --name door --expires 30d
    """
    with administration(settings) as admin:
        service = admin.service_named(NOBODY, application, name)
        made, key = admin.add_key(NOBODY, service.id, key_name, expires, key)
    _print_key(made, key, as_json)


@keys.command()
@_key_name
@service_named
@click.option("--to", metavar="NAME", help="Another name for the key.")
@_expires
@click.option("--no-expiry", is_flag=True, help="Let the key open the service for ever.")
@as_json
@with_settings(*STORE)
def update(
    settings: Settings,
    key_name: str,
    name: str,
    application: str,
    to: str | None,
    expires: datetime | None,
    no_expiry: bool,
    as_json: bool,
) -> None:
    """Change the name or the end of a key."""
    from knownface.administration import SAME

    if expires is not None and no_expiry:
        raise click.UsageError("Give one of --expires and --no-expiry.")
    if to is None and expires is None and not no_expiry:
        raise click.UsageError("Give at least one of --to, --expires and --no-expiry.")
    with administration(settings) as admin:
        service = admin.service_named(NOBODY, application, name)
        changed = admin.change_key(
            NOBODY,
            service.id,
            _number(admin, service.id, key_name),
            name=SAME if to is None else to,
            expires_at=None if no_expiry else expires or SAME,
        )
    show(_COLUMNS, [_row(changed)], as_json)


@keys.command()
@_key_name
@service_named
@own_key
@as_json
@with_settings(*STORE)
def rotate(
    settings: Settings, key_name: str, name: str, application: str, key: str | None, as_json: bool
) -> None:
    """Put a new key in the place of one and print it, once; the old one opens nothing more."""
    with administration(settings) as admin:
        service = admin.service_named(NOBODY, application, name)
        number = _number(admin, service.id, key_name)
        rotated, key = admin.rotate_key(NOBODY, service.id, number, key)
    _print_key(rotated, key, as_json)


@keys.command()
@_key_name
@service_named
@as_json
@with_settings(*STORE)
def delete(settings: Settings, key_name: str, name: str, application: str, as_json: bool) -> None:
    """Let a key open nothing any more."""
    with administration(settings) as admin:
        service = admin.service_named(NOBODY, application, name)
        admin.delete_key(NOBODY, service.id, _number(admin, service.id, key_name))
    if as_json:
        output.json({"deleted": key_name})
    else:
        click.echo(f"The key {key_name} opens nothing any more.")


def _number(admin: Administration, service_id: int, key_name: str) -> int:
    found = admin.keys(NOBODY, service_id, None).items
    for one in found:
        if one.name.casefold() == key_name.casefold():
            return one.id
    names = ", ".join(one.name for one in found) or "none at all"
    raise Failure(f"The service has no key named {key_name}; there are: {names}.")


def _row(one: ApiKey) -> tuple[object, ...]:
    return (
        *(one.name, one.hint, moment(one.created_at)),
        *(moment(one.expires_at), moment(one.last_used_at)),
    )


def _print_key(made: ApiKey, key: str, as_json: bool) -> None:
    shown = {"key": made.name, "expires_at": moment(made.expires_at), "api_key": key}
    if as_json:
        output.json(shown)
    else:
        output.table(("key", "expires at", "API key"), [[cell or "-" for cell in shown.values()]])
        click.echo("The key is shown only now.")
