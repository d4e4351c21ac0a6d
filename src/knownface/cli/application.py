"""`knownface application`: tenants and their members, with or without a running server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from knownface.cli import output
from knownface.cli.administering import (
    NOBODY,
    STORE,
    administration,
    as_json,
    moment,
    opened,
    show,
    typed_name,
    yes,
)
from knownface.cli.desks import LINKS, MAIL, desk_on, invitation_document, links_base
from knownface.cli.run import Failure, with_settings
from knownface.errors import UserNotFound
from knownface.people import Role
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.people import Member
    from knownface.store.overview import ApplicationInfo

_COLUMNS: Final = ("name", "owner", "services", "members", "created_at")
_MEMBERS: Final = ("email", "first_name", "last_name", "role")

_name = click.argument("name")
_email = click.option("--email", required=True, help="E-mail address of the user.")
_role = click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.USER.value,
    show_default=True,
    help="What the user is in the application.",
)


@click.group(short_help="Create, rename and delete applications, choose their members.")
def application() -> None:
    """Create, list, rename and delete applications, and choose who belongs to each.

    An application holds services, and the people who belong to it see them on the page. Works while
    a server runs on the same data folder, and takes effect at once.
    """


@application.command()
@_name
@click.option("--owner", metavar="EMAIL", help="User whom it belongs to; without it nobody yet.")
@as_json
@with_settings(*STORE)
def create(settings: Settings, name: str, owner: str | None, as_json: bool) -> None:
    """Create an application without services.

    \b
    Examples:
      knownface application create home
      knownface application create home --owner jane@example.org
    """
    with administration(settings) as admin:
        made = admin.create_application(NOBODY, name)
        if owner is not None:
            try:
                admin.add_member(NOBODY, made.id, owner, Role.OWNER)
            except BaseException:
                admin.delete_application(NOBODY, made.id, made.name)
                raise
            made = admin.application(NOBODY, made.id)
    _print([made], as_json, one=True)


@application.command(name="list")
@as_json
@with_settings(*STORE)
def list_(settings: Settings, as_json: bool) -> None:
    """List all applications."""
    with administration(settings) as admin:
        found = admin.applications(NOBODY, None).items
    _print(found, as_json)


@application.command()
@_name
@click.option("--to", required=True, metavar="NAME", help="The new name.")
@as_json
@with_settings(*STORE)
def rename(settings: Settings, name: str, to: str, as_json: bool) -> None:
    """Give an application another name."""
    with administration(settings) as admin:
        found = admin.application_named(NOBODY, name)
        _print([admin.rename_application(NOBODY, found.id, to)], as_json, one=True)


@application.command()
@_name
@yes
@as_json
@with_settings(*STORE)
def delete(settings: Settings, name: str, yes: bool, as_json: bool) -> None:
    """Erase an application with its services, their faces and photographs.

    Unless --yes is given, its name has to be typed once more.
    """
    with administration(settings) as admin:
        found = admin.application_named(NOBODY, name)
        typed = found.name
        if not yes:
            typed = typed_name(
                f"This erases {found.name}: {found.services} services and all they hold."
            )
        admin.delete_application(NOBODY, found.id, typed)
    if as_json:
        output.json({"deleted": found.name})
    else:
        click.echo(f"Deleted {found.name}.")


@application.group(short_help="Choose who belongs to an application.")
def members() -> None:
    """Choose who belongs to an application, and in which role.

    `knownface user` makes accounts.
    """


@members.command(name="list")
@_name
@as_json
@with_settings(*STORE)
def list_members(settings: Settings, name: str, as_json: bool) -> None:
    """List who belongs to an application."""
    with administration(settings) as admin:
        found = admin.members(NOBODY, admin.application_named(NOBODY, name).id, None).items
    show(_MEMBERS, [_row(one) for one in found], as_json)


@members.command(name="add")
@_name
@_email
@_role
@as_json
@with_settings(*STORE, *LINKS, *MAIL)
def add(settings: Settings, name: str, email: str, role: str, as_json: bool) -> None:
    """Let somebody belong to an application; who has no account is invited to make one.

    Then the link of the invitation is printed. It is mailed, too, if mail is set up.
    """
    with opened(settings) as (admin, store):
        found = admin.application_named(NOBODY, name)
        try:
            added = admin.add_member(NOBODY, found.id, email, Role(role))
        except UserNotFound:
            with desk_on(store, settings) as desk:
                made, link = desk.invitations.invite(
                    NOBODY, links_base(settings), email, Role(role), found.id
                )
            document = {"invitation": {**invitation_document(made), "link": link}}
            text = f"{made.email} has no account yet. To make one within a week: {link}"
        else:
            row = _row(added)
            document = {"member": dict(zip(_MEMBERS, row, strict=True))}
            text = f"{added.user.email} belongs to {found.name} now ({added.role.value})."
    if as_json:
        output.json(document)
    else:
        click.echo(text)


@members.command(name="set")
@_name
@_email
@_role
@as_json
@with_settings(*STORE)
def set_(settings: Settings, name: str, email: str, role: str, as_json: bool) -> None:
    """Change somebody's role; a new owner makes the one before an administrator."""
    with administration(settings) as admin:
        found = admin.application_named(NOBODY, name)
        user_id = _number([*admin.members(NOBODY, found.id, None).items], email)
        changed = admin.set_member(NOBODY, found.id, user_id, Role(role))
    show(_MEMBERS, [_row(changed)], as_json)


@members.command(name="remove")
@_name
@_email
@as_json
@with_settings(*STORE)
def remove(settings: Settings, name: str, email: str, as_json: bool) -> None:
    """Let somebody not belong to an application any more; the account stays."""
    with administration(settings) as admin:
        found = admin.application_named(NOBODY, name)
        user_id = _number([*admin.members(NOBODY, found.id, None).items], email)
        admin.remove_member(NOBODY, found.id, user_id)
    if as_json:
        output.json({"removed": email.strip().lower()})
    else:
        click.echo(f"{email} does not belong to {found.name} any more.")


def _number(found: list[Member], email: str) -> int:
    for one in found:
        if one.user.email == email.strip().lower():
            return one.user.id
    raise Failure(f"{email} does not belong to the application.")


def _row(one: Member) -> tuple[str, ...]:
    return one.user.email, one.user.first_name, one.user.last_name, one.role.value


def _print(found: Sequence[ApplicationInfo], as_json: bool, *, one: bool = False) -> None:
    rows = [
        (
            info.name,
            info.owner and f"{info.owner.first_name} {info.owner.last_name}",
            *(info.services, info.members, moment(info.created_at)),
        )
        for info in found
    ]
    if as_json and one:
        output.json(dict(zip(_COLUMNS, rows[0], strict=True)))
    else:
        show(_COLUMNS, rows, as_json)
