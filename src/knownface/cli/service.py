"""`knownface service`: services and their API keys, with or without a running server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from knownface.cli import output
from knownface.cli.run import with_settings
from knownface.settings import Settings
from knownface.types import Service, ServiceType

if TYPE_CHECKING:
    from knownface.accounts import Accounts

STORE = ("data", "database_url")


def _named(command: Callable[..., None]) -> Callable[..., None]:
    named = click.option("--name", required=True, help="Name of the service.")
    application = click.option(
        "--application",
        default="default",
        show_default=True,
        help="Application that the service belongs to.",
    )
    return named(application(command))


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
_own_key = click.option("--key", metavar="UUID", help="Key to use; without it one is made.")


@click.group(short_help="Create and delete services, renew their API keys.")
def service() -> None:
    """Create, list and delete services, and renew their API keys.

    A service is what an API key opens: a face collection (recognition), or the right to detect or
    to verify. Works while a server runs on the same data folder, and takes effect at once.
    """


@service.command()
@click.option(
    "--type",
    "kind",
    required=True,
    type=click.Choice([kind.value for kind in ServiceType]),
    help="What the key is for.",
)
@_named
@_own_key
@_as_json
@with_settings(*STORE)
def create(
    settings: Settings, kind: str, name: str, application: str, key: str | None, as_json: bool
) -> None:
    """Create a service and print its key, once: only its digest is kept.

    \b
    Examples:
      knownface service create --type recognition --name door
      knownface service create --type detection --name cam --application home --json
    """
    with _accounts(settings) as accounts:
        made, key = accounts.create_service(application, name, ServiceType(kind), key)
    _print_key(made, key, as_json)


@service.command(name="list")
@_as_json
@with_settings(*STORE)
def list_(settings: Settings, as_json: bool) -> None:
    """List all services, without their keys, which nobody can read any more."""
    with _accounts(settings) as accounts:
        rows = [(one.application, one.name, one.type.value) for one in accounts.services()]
    if as_json:
        output.json([dict(zip(("application", "name", "type"), row, strict=True)) for row in rows])
    elif rows:
        output.table(("application", "service", "type"), rows)
    else:
        click.echo("There is no service yet: `knownface serve` creates one of each type.")


@service.command()
@_named
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings(*STORE)
def delete(settings: Settings, name: str, application: str, yes: bool) -> None:
    """Delete a service with all its subjects, faces and photographs; its key opens nothing more."""
    with _accounts(settings) as accounts:
        found = accounts.service(application, name)
        if not yes:
            question = f"Erase the {found.type.value} service {found.name} and all it holds?"
            click.confirm(question, abort=True)
        accounts.delete_service(application, name)
    click.echo(f"Deleted {found.name} of {found.application}.")


@service.command(name="rotate-key")
@_named
@_own_key
@_as_json
@with_settings(*STORE)
def rotate_key(
    settings: Settings, name: str, application: str, key: str | None, as_json: bool
) -> None:
    """Give a service a new key and print it, once; the old key opens nothing from now on."""
    with _accounts(settings) as accounts:
        key = accounts.rotate_key(application, name, key)
        found = accounts.service(application, name)
    _print_key(found, key, as_json)


@contextmanager
def _accounts(settings: Settings) -> Iterator[Accounts]:
    from knownface.accounts import Accounts
    from knownface.app import open_store

    store = open_store(settings)
    try:
        yield Accounts(store)
    finally:
        store.close()


def _print_key(service: Service, key: str, as_json: bool) -> None:
    shown = {
        "application": service.application,
        "name": service.name,
        "type": service.type.value,
        "api_key": key,
    }
    if as_json:
        output.json(shown)
    else:
        output.table(("application", "service", "type", "API key"), [list(shown.values())])
        click.echo("The key is shown only now.")
