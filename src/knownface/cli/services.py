"""`knownface service show|rename|clone|statistics`: what people do beside making services."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from knownface.cli import output
from knownface.cli.administering import (
    NOBODY,
    STORE,
    administration,
    as_json,
    opened,
    own_key,
    service_document,
    service_named,
    show,
    show_service,
)
from knownface.cli.run import Failure, with_settings
from knownface.errors import ServiceNotFound
from knownface.settings import Settings
from knownface.types import CopyState

if TYPE_CHECKING:
    from collections.abc import Callable

    from knownface.administration import Administration, Made
    from knownface.store import Store
    from knownface.store.overview import ServiceInfo
    from knownface.usage import Span

# A running server looks for work every second, and renews its claim with every piece.
SECONDS_FOR_A_SERVER: Final = 5.0
SECONDS_BETWEEN_LOOKS: Final = 0.25
_SPAN: Final = ("requests", "errors", "mean_ms", "p95_ms")

_to = click.option("--to", required=True, metavar="NAME", help="The new name.")


@click.command(name="show")
@service_named
@as_json
@with_settings(*STORE)
def show_(settings: Settings, name: str, application: str, as_json: bool) -> None:
    """Tell of a service: its settings, how many faces it holds, how far it is as a copy."""
    with administration(settings) as admin:
        show_service(admin.service_named(NOBODY, application, name), as_json)


@click.command()
@service_named
@_to
@as_json
@with_settings(*STORE)
def rename(settings: Settings, name: str, application: str, to: str, as_json: bool) -> None:
    """Give a service another name; its keys stay."""
    with administration(settings) as admin:
        found = admin.service_named(NOBODY, application, name)
        show_service(admin.change_service(NOBODY, found.id, name=to), as_json)


@click.command()
@service_named
@_to
@own_key
@click.option("--no-wait", is_flag=True, help="Leave the copying to the running server.")
@as_json
@with_settings(*STORE)
def clone(
    settings: Settings,
    name: str,
    application: str,
    to: str,
    key: str | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Make a service that holds what another holds, and print its key, once.

    A running server copies faces and photographs beside its requests, else this command does.
    The copy holds what there is at this moment; both services can be used meanwhile. After an
    interruption a running server goes on with it, or the same command does.

    \b
    Examples:
      knownface service clone --name door --to gate
      knownface service clone --name door --to gate --no-wait --json
    """
    with opened(settings) as (admin, store):
        found = admin.service_named(NOBODY, application, name)
        info = _begun(admin, found, to)
        api_key: str | None = None
        if info is None:
            made = admin.clone_service(NOBODY, found.id, to, key)
            info, api_key = made.info, made.key
            _tell_key(made, as_json)
        try:
            if info.copy is not None and not no_wait:
                _finish(admin, store, info)
        finally:  # whatever becomes of the copy, nobody can read its key later
            if as_json:
                now = admin.service(NOBODY, info.id)
                output.json({**service_document(now), "api_key": api_key})


@click.command()
@service_named
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True)
@click.option("--months", type=click.IntRange(1, 24), default=6, show_default=True)
@as_json
@with_settings(*STORE)
def statistics(
    settings: Settings, name: str, application: str, days: int, months: int, as_json: bool
) -> None:
    """Tell how often a service was called, how that ended and how long it took.

    Days are those of UTC. A running server adds what it counted every ten seconds.
    """
    with administration(settings) as admin:
        found = admin.service_named(NOBODY, application, name)
        told = admin.statistics(NOBODY, found.id, days=days, months=months)
    daily = [(day.isoformat(), *_cells(span)) for day, span in told.days.items()]
    monthly = [(month.isoformat()[:7], *_cells(span)) for month, span in told.months.items()]
    if as_json:
        output.json(
            {
                "days": [dict(zip(("date", *_SPAN), row, strict=True)) for row in daily],
                "months": [dict(zip(("month", *_SPAN), row, strict=True)) for row in monthly],
                "total": dict(zip(_SPAN, _cells(told.total), strict=True)),
            }
        )
        return
    show(("day", *_SPAN), [row for row in daily if row[1]], as_json)
    show(("month", *_SPAN), [row for row in monthly if row[1]], as_json)
    click.echo(f"In all {told.total.requests} requests, {told.total.errors} of them failed.")


def _cells(span: Span) -> tuple[object, ...]:
    times = (span.mean_ms, span.p95_ms)
    return (
        *(span.requests, span.errors),
        *(None if one is None else round(one, 1) for one in times),
    )


def _tell_key(made: Made, as_json: bool) -> None:
    """Print the key before the copying begins, which may be interrupted."""
    if not as_json:
        one = made.info.service
        row = (one.application, one.name, one.type.value, made.key)
        output.table(("application", "service", "type", "API key"), [row])
        click.echo("The key is shown only now.")


def _begun(admin: Administration, source: ServiceInfo, to: str) -> ServiceInfo | None:
    """Return the copy of that name, if it is one of this service and not complete."""
    try:
        found = admin.service_named(NOBODY, source.service.application, to)
    except ServiceNotFound:
        return None
    copy = found.copy
    unfinished = copy and copy.state is CopyState.RUNNING and copy.source_id == source.id
    return found if unfinished else None


def _finish(admin: Administration, store: Store, info: ServiceInfo) -> None:
    """See to it that the copy is made: watch a server, or do it here where none takes it on."""
    from knownface.copying import Copier

    total = info.copy.total if info.copy else 0
    copier = Copier(store)
    copier.only = info.id
    try:
        with output.counting("examples", total) as tell:
            if not _watch(admin, info, tell, SECONDS_FOR_A_SERVER):
                copier.start()
                _watch(admin, info, tell, None)
    except KeyboardInterrupt:
        click.echo("A running server goes on with the copy, or the next one to start.", err=True)
        raise click.exceptions.Exit(130) from None
    finally:
        copier.stop()
    ended = admin.service(NOBODY, info.id).copy
    if ended and ended.state is CopyState.FAILED:
        raise Failure(ended.failure or "The copy could not be made.")


def _watch(
    admin: Administration, info: ServiceInfo, tell: Callable[[int], None], patience: float | None
) -> bool:
    """Wait for the end of a copy; False when for that long nobody was found working on it."""
    seen = time.monotonic()
    while True:
        job = admin.service(NOBODY, info.id).copy
        if job is None or job.state is not CopyState.RUNNING:
            tell(job.done if job else 0)
            return True
        tell(job.done)
        if job.working:
            seen = time.monotonic()
        if patience is not None and time.monotonic() > seen + patience:
            return False
        time.sleep(SECONDS_BETWEEN_LOOKS)
