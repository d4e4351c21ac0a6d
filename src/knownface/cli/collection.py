"""`knownface service subjects` and `examples`: a face collection, with or without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from uuid import UUID

import click

from knownface.cli import output
from knownface.cli.administering import (
    NOBODY,
    STORE,
    as_json,
    moment,
    opened,
    service_named,
    show,
    yes,
)
from knownface.cli.run import Failure, with_settings
from knownface.errors import WouldMerge
from knownface.settings import Settings
from knownface.types import Service, ServiceType

if TYPE_CHECKING:
    from knownface.store import Store

_USUAL: Final = 50
_MOST: Final = 500
_ids = click.argument("image_ids", metavar="IMAGE_ID...", nargs=-1, required=True, type=click.UUID)
_subject = click.option("--subject", required=True, metavar="NAME", help="Which subject.")


def _paged(command: Callable[..., None]) -> Callable[..., None]:
    page = click.option(
        "--page", type=click.IntRange(0), default=0, show_default=True, help="Which page, from 0."
    )
    size = click.option(
        "--size",
        type=click.IntRange(1, _MOST),
        default=_USUAL,
        show_default=True,
        help="How many a page has.",
    )
    return page(size(command))


@click.group(short_help="The subjects of a recognition service.")
def subjects() -> None:
    """List, rename, merge and delete the subjects of a recognition service.

    Pictures are added with `knownface import`.
    """


@subjects.command(name="list")
@service_named
@click.option("--search", metavar="TEXT", default="", help="Only names that hold this.")
@_paged
@as_json
@with_settings(*STORE)
def list_subjects(
    settings: Settings,
    name: str,
    application: str,
    search: str,
    page: int,
    size: int,
    as_json: bool,
) -> None:
    """List subjects by name, with how many examples each has."""
    with _collection(settings, application, name) as (store, service), store.snapshot() as tx:
        seen, total = tx.browse_subjects(service.id, search=search, page=page, size=size)
    rows = [(one.name, one.examples) for one in seen]
    _print_page("subjects", ("subject", "examples"), rows, (page, size, total), as_json)


@subjects.command(name="rename")
@service_named
@_subject
@click.option("--to", required=True, metavar="NAME", help="The new name.")
@click.option("--merge", is_flag=True, help="Join the two where another has this name already.")
@as_json
@with_settings(*STORE)
def rename_subject(
    settings: Settings,
    name: str,
    application: str,
    subject: str,
    to: str,
    merge: bool,
    as_json: bool,
) -> None:
    """Give a subject another name, or make it one with the subject that has that name.

    \b
    Examples:
      knownface service subjects rename --name door --subject Ada --to "Ada Lovelace"
      knownface service subjects rename --name door --subject ada2 --to Ada --merge
    """
    from knownface.subject_names import checked_name, new_name

    old, new = checked_name(subject), new_name(to)
    with _collection(settings, application, name) as (store, service):
        try:
            with store.begin() as tx:
                done = tx.rename_subject(service.id, old, new, merge=merge)
        except WouldMerge as error:
            raise Failure(error.message.replace("Send merge=true", "Give --merge")) from None
    if as_json:
        output.json({"updated": done.updated, "merged": done.merged})
    elif done.merged:
        click.echo(f"{old} is one with {new} now.")
    else:
        click.echo(f"{old} is called {new} now." if done.updated else "Nothing has changed.")


@subjects.command(name="delete")
@service_named
@_subject
@yes
@as_json
@with_settings(*STORE)
def delete_subject(
    settings: Settings, name: str, application: str, subject: str, yes: bool, as_json: bool
) -> None:
    """Erase a subject with its examples and photographs."""
    from knownface.subject_names import checked_name

    subject = checked_name(subject)
    with _collection(settings, application, name) as (store, service):
        if not yes:
            with store.snapshot() as tx:
                _, held = tx.browse_examples(service.id, subject_name=subject, page=0, size=1)
            _confirm(f"Erase {subject} with {held} examples?")
        with store.begin() as tx:
            deleted = tx.delete_subject(service.id, subject)
    if as_json:
        output.json({"deleted": deleted.name})
    else:
        click.echo(f"Deleted {deleted.name}.")


@click.group(short_help="The examples of a recognition service.")
def examples() -> None:
    """List, move and delete the examples of a recognition service.

    Pictures are added with `knownface import`.
    """


@examples.command(name="list")
@service_named
@click.option("--subject", metavar="NAME", help="Only those of this subject.")
@_paged
@as_json
@with_settings(*STORE)
def list_examples(
    settings: Settings,
    name: str,
    application: str,
    subject: str | None,
    page: int,
    size: int,
    as_json: bool,
) -> None:
    """List examples, oldest first, and whether the photograph of each is kept."""
    with _collection(settings, application, name) as (store, service), store.snapshot() as tx:
        seen, total = tx.browse_examples(service.id, subject_name=subject, page=page, size=size)
    rows = [(str(one.image_id), one.subject, moment(one.created_at), one.pictured) for one in seen]
    columns = ("image_id", "subject", "created_at", "photograph")
    _print_page("examples", columns, rows, (page, size, total), as_json)


@examples.command(name="move")
@_ids
@service_named
@click.option("--to", required=True, metavar="NAME", help="Subject, which is made if need be.")
@as_json
@with_settings(*STORE)
def move_examples(
    settings: Settings,
    image_ids: tuple[UUID, ...],
    name: str,
    application: str,
    to: str,
    as_json: bool,
) -> None:
    """File examples under another subject; one whose last example is moved away goes.

    Ids that do not exist are passed over, and so are examples that the subject has already.
    """
    from knownface.subject_names import new_name

    to = new_name(to)
    with _collection(settings, application, name) as (store, service), store.begin() as tx:
        moved = tx.move_examples(service.id, image_ids, to)
    if as_json:
        output.json({"moved": len(moved)})
    else:
        click.echo(f"Moved {len(moved)} of {len(set(image_ids))} examples to {to}.")


@examples.command(name="delete")
@_ids
@service_named
@yes
@as_json
@with_settings(*STORE)
def delete_examples(
    settings: Settings,
    image_ids: tuple[UUID, ...],
    name: str,
    application: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase examples with their photographs; a subject whose last example goes, goes too.

    Ids that do not exist are passed over.
    """
    asked = len(set(image_ids))
    with _collection(settings, application, name) as (store, service):
        if not yes:
            _confirm(f"Erase {asked} examples of {service.name}?")
        with store.begin() as tx:
            deleted = tx.delete_examples(service.id, image_ids)
    if as_json:
        output.json({"deleted": len(deleted)})
    else:
        click.echo(f"Deleted {len(deleted)} of {asked} examples.")


@contextmanager
def _collection(settings: Settings, application: str, name: str) -> Iterator[tuple[Store, Service]]:
    """Give the database and a recognition service; what is erased leaves kept indexes, too."""
    with opened(settings) as (admin, store):
        found = admin.service_named(NOBODY, application, name)
        yield store, admin.service_to_use(NOBODY, found.id, ServiceType.RECOGNITION)


def _confirm(question: str) -> None:
    """Ask where no output for programs is disturbed; anything but yes ends the command."""
    click.confirm(question, abort=True, err=True)


def _print_page(
    what: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    part: tuple[int, int, int],
    as_json: bool,
) -> None:
    page, size, total = part
    if as_json:
        items = [dict(zip(columns, row, strict=True)) for row in rows]
        output.json({what: items, "page": page, "size": size, "total": total})
        return
    show(columns, [tuple(_word(cell) for cell in row) for row in rows], as_json)
    click.echo(
        f"Page {page} of {max(1, -(-total // size))}, counted from 0; {total} {what} in all."
    )


def _word(cell: object) -> object:
    return ("no", "yes")[cell] if isinstance(cell, bool) else cell
