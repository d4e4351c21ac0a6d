"""`knownface reembed`: another model for a service that has faces, with or without a server."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from knownface.cli import output
from knownface.cli.administering import opened_accounts
from knownface.cli.run import Failure, with_settings
from knownface.errors import ConfigurationError
from knownface.settings import Settings
from knownface.types import Reembedding, ReembeddingState, Service

if TYPE_CHECKING:
    from knownface.accounts import Accounts, EmbedderChange
    from knownface.app import App
    from knownface.vision.catalog import ModelSpec

SETTINGS: Final = (
    *("data", "database_url", "models_dir", "detector", "embedder"),
    *("max_detect_size", "det_prob_threshold", "slots"),
)
# A running server looks for work every second, and renews its claim every few.
SECONDS_FOR_A_SERVER: Final = 5.0
SECONDS_BETWEEN_LOOKS: Final = 0.5
SECONDS_BETWEEN_LINES: Final = 10.0

Tell = Callable[[Reembedding], None]


@click.command(short_help="Change the embedder of a service that has faces.")
@click.argument("name", metavar="SERVICE")
@click.option("--model", metavar="NAME", help="Embedder to change to; `knownface models list`.")
@click.option(
    "--application",
    default="default",
    show_default=True,
    help="Application that the service belongs to.",
)
@click.option("--status", is_flag=True, help="Only tell how it stands, and what was left out.")
@click.option("--cancel", is_flag=True, help="Stay with the present model.")
@click.option("--no-wait", is_flag=True, help="Ask the running server for it, and be done.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@with_settings(*SETTINGS)
def reembed(
    settings: Settings,
    name: str,
    model: str | None,
    application: str,
    status: bool,
    cancel: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Compute the embeddings of a service anew with another model, from the stored photographs.

    A running server does it beside its requests, else this command does. Until all is done the
    service goes on with its present model; then it changes at once. Whoever is interrupted goes on
    where it was. Examples without a photograph, or without just one face, are listed and kept
    aside: they stay, but are not found until the service changes back.

    \b
    Examples:
      knownface reembed door --model sface-fp32
      knownface reembed door --status
      knownface reembed door --cancel
    """
    if sum((model is not None, status, cancel)) != 1:
        raise click.UsageError("Give one of --model, --status and --cancel.")
    with opened_accounts(settings) as accounts:
        service = accounts.service(application, name)
        if cancel:
            _cancel(accounts, service)
        elif model is not None:
            spec = _embedder(settings, model)
            if not _begin(accounts, service, spec):
                click.echo(f"{service.name} has the embedder {spec.name} already.", err=True)
            elif no_wait:
                click.echo("Asked for; --status tells how it stands.", err=True)
            else:
                _finish(settings, accounts, service, spec.name)
        _show(service, accounts.embedder_change(service), as_json)


def _embedder(settings: Settings, name: str) -> ModelSpec:
    """Return the installed embedder of that name or of that pack; Failure says what to do."""
    from knownface.vision.catalog import Catalog

    catalog = Catalog.load(settings.models_dir)
    try:
        spec = catalog.pick(name, "embedder")
    except ConfigurationError as error:
        raise Failure(
            f"{error.message} A folder with a model.toml in the models folder adds one."
        ) from None
    if (state := catalog.state(spec)) != "installed":
        raise Failure(f"The model {spec.name} is {state}: run `knownface models install {name}`.")
    return spec


def _begin(accounts: Accounts, service: Service, spec: ModelSpec) -> bool:
    """Ask for the change, unless it is plain that it would come to nothing; False without need."""
    if service.threshold is not None and service.threshold.max_fmr is not None:
        spec.similarity_at(service.threshold.max_fmr)  # or it would fail with every request
    needed = accounts.change_embedder(service, spec.name)
    if needed and (lacking := accounts.without_photograph(service)):
        click.echo(
            f"{lacking} examples have no photograph and will be kept aside; "
            "--cancel leaves all as it is.",
            err=True,
        )
    return needed


def _cancel(accounts: Accounts, service: Service) -> None:
    cancelled = accounts.cancel_embedder_change(service)
    click.echo("Cancelled." if cancelled else "There is nothing to cancel.", err=True)


def _finish(settings: Settings, accounts: Accounts, service: Service, model: str) -> None:
    """See to it that the work is done: watch a server, or do it here where none takes it on."""
    app: App | None = None
    try:
        with _progress() as tell:
            if not _watch(accounts, service, tell, patience=SECONDS_FOR_A_SERVER):
                from knownface.app import build

                click.echo("No server is running: working on it here.", err=True)
                app = build(settings)
                app.start_reembedding(service, model, lambda *_: None)
                _watch(accounts, service, tell)
    except KeyboardInterrupt:
        where = "The server goes on with it" if app is None else "Run the same command to go on"
        click.echo(f"{where}; --status tells how it stands, --cancel ends it.", err=True)
        raise click.exceptions.Exit(130) from None
    finally:
        if app:
            app.close()
    change, _ = accounts.reembedding(service)
    if change and change.state is not ReembeddingState.DONE:
        raise Failure(change.failure or f"The change to {model} was {change.state.value}.")


def _watch(accounts: Accounts, service: Service, tell: Tell, patience: float | None = None) -> bool:
    """Wait for the end of the work; False when for that long nobody was found working on it."""
    seen = time.monotonic()
    while True:
        change, somebody_works = accounts.reembedding(service)
        if change is None:
            return True
        tell(change)
        if not _running(change) and (patience is not None or not change.unclean):
            return True
        if somebody_works:  # if only on another service: this one's turn will come
            seen = time.monotonic()
        if patience is not None and time.monotonic() > seen + patience:
            return False
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _show(service: Service, now: EmbedderChange, as_json: bool) -> None:
    change = now.change
    if as_json:
        output.json(_document(service, now))
        return
    click.echo(f"{service.name} ({service.application}): embedder {now.model or 'of the server'}")
    if change is not None and change.state is not ReembeddingState.DONE:
        at_work = "" if change.working else ", nobody works on it now"
        state = f"{change.state.value}{at_work if _running(change) else ''}"
        click.echo(f"Change to {change.model}: {state}, {change.done} of {change.total} examples")
        if change.failure:
            click.echo(change.failure)
    if now.left_out:
        click.echo(f"Kept aside: {len(now.left_out)}")
        rows = [(one.example.image_id, one.example.subject, one.reason) for one in now.left_out]
        output.table(("image_id", "subject", "reason"), rows)


def _document(service: Service, now: EmbedderChange) -> dict[str, object]:
    change = now.change
    return {
        "application": service.application,
        "service": service.name,
        "embedder": now.model,
        "change": change
        and {
            "embedder": change.model,
            "state": change.state.value,
            "done": change.done,
            "total": change.total,
            "working": change.working,
            "failure": change.failure,
        },
        "kept_aside": [
            {
                "image_id": str(one.example.image_id),
                "subject": one.example.subject,
                "reason": one.reason,
            }
            for one in now.left_out
        ],
    }


def _running(change: Reembedding) -> bool:
    return change.state is ReembeddingState.RUNNING


@contextmanager
def _progress() -> Iterator[Tell]:
    """Show how the work goes on standard error: a bar on a screen, else a line now and then."""
    if not sys.stderr.isatty():
        due = time.monotonic()

        def line(change: Reembedding) -> None:
            nonlocal due
            if time.monotonic() >= due and change.working:
                due = time.monotonic() + SECONDS_BETWEEN_LINES
                click.echo(f"{change.done} of {change.total} examples", err=True)

        yield line
        return

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("{task.fields[rate]}"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("examples", total=None, rate="")

        def bar(change: Reembedding) -> None:
            total = max(change.done, change.total) or None
            speed = bars.tasks[0].speed
            rate = f"{speed:.1f}/s" if speed else ""
            bars.update(task, completed=change.done, total=total, rate=rate)

        yield bar
