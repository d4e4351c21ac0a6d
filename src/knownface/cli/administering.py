"""What the commands for applications and services share: who is meant, and what is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from knownface.cli import output
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.accounts import Accounts
    from knownface.administration import Administration
    from knownface.store import Store
    from knownface.store.overview import ServiceInfo

STORE: Final = ("data", "database_url")
NOBODY: Final = None  # who acts here is the operator

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
own_key = click.option("--key", metavar="UUID", help="Key to use; without it one is made.")
yes = click.option("--yes", is_flag=True, help="Do not ask.")


def service_named(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags that say which service is meant."""
    named = click.option("--name", required=True, help="Name of the service.")
    application = click.option(
        "--application",
        default="default",
        show_default=True,
        help="Application that the service belongs to.",
    )
    return named(application(command))


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[Administration, Store]]:
    """Give the use cases of administration on the database of the settings."""
    from knownface.administration import Administration
    from knownface.app import open_store
    from knownface.usage import UsageCounter

    store = open_store(settings)
    try:
        yield Administration(store, UsageCounter(store)), store
    finally:
        store.close()


@contextmanager
def opened_accounts(settings: Settings) -> Iterator[Accounts]:
    """Give the use cases of services and their models on the database of the settings."""
    from knownface.accounts import Accounts
    from knownface.app import open_store

    store = open_store(settings)
    try:
        yield Accounts(store)
    finally:
        store.close()


@contextmanager
def administration(settings: Settings) -> Iterator[Administration]:
    """Give the use cases alone."""
    with opened(settings) as (admin, _):
        yield admin


def typed_name(warning: str) -> str:
    """Ask for the name of what is about to be erased; questions are no output for programs."""
    click.echo(warning, err=True)
    return str(click.prompt("Type its name to go on", err=True))


def show_service(info: ServiceInfo, as_json: bool) -> None:
    """Print what there is to know of a service."""
    document = service_document(info)
    if as_json:
        output.json(document)
    else:
        output.table(("", ""), [(name, _plain(value)) for name, value in document.items()])


def service_document(info: ServiceInfo) -> dict[str, object]:
    """Return what programs are told of a service."""
    one, copy = info.service, info.copy
    return {
        "application": one.application,
        "name": one.name,
        "type": one.type.value,
        "similarity_threshold": one.threshold and one.threshold.similarity,
        "max_fmr": one.threshold and one.threshold.max_fmr,
        "embedder": one.embedder,
        "save_images": one.save_images,
        "subjects": info.subjects,
        "examples": info.examples,
        "created_at": moment(info.created_at),
        "copy": copy
        and {
            "state": copy.state.value,
            "done": copy.done,
            "total": copy.total,
            "working": copy.working,
            "failure": copy.failure,
        },
    }


def show(columns: Sequence[str], rows: Sequence[Sequence[object]], as_json: bool) -> None:
    """Print rows as a table, or as JSON objects with these columns."""
    if as_json:
        output.json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        output.table(
            [column.replace("_", " ") for column in columns],
            [[_plain(cell) for cell in row] for row in rows],
        )


def moment(value: datetime | None) -> str | None:
    """Return a moment as ISO 8601 in UTC."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _plain(value: object) -> object:
    return "-" if value is None else value
