"""`knownface user`: the people who administer the server, with or without it running."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, TextIO

import click

from knownface.cli import output
from knownface.cli.administering import STORE, as_json, yes
from knownface.cli.desks import LINKS, links_base, opened_desk, user_document
from knownface.cli.entrances import (
    create_token,
    delete_invitation,
    delete_token,
    email_of_user,
    end_sessions,
    invite,
    list_invitations,
    list_sessions,
    list_tokens,
    role_option,
)
from knownface.cli.run import with_settings
from knownface.people import Actor, Role, User
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.identity import Desk

_password_file = partial(
    click.option,
    "--password-file",
    type=click.File("r"),
    metavar="FILE",
)


@click.group(short_help="Create, list and delete users, change roles, reset passwords, invite.")
def user() -> None:
    """Keep the people who administer the server: accounts, roles, passwords and invitations.

    Works while a server runs on the same data folder, and takes effect at once.
    """


@user.command()
@email_of_user
@click.option("--first-name", default="", help="First name; without one the e-mail's beginning.")
@click.option("--last-name", default="-", help="Last name.")
@role_option(Role.USER, *Role)
@_password_file(
    help="File whose first line is the password, - for standard input; without it a link to choose "
    "one is printed.",
)
@as_json
@with_settings(*STORE, *LINKS)
def create(
    settings: Settings,
    email: str,
    first_name: str,
    last_name: str,
    role: str,
    password_file: TextIO | None,
    as_json: bool,
) -> None:
    """Create an account, and print a link with which its user chooses a password.

    \b
    Examples:
      knownface user create --email jane@example.org --role owner
      knownface user create --email bot@example.org --password-file secret.txt --json
    """
    password = _first_line(password_file) if password_file else None
    with opened_desk(settings) as desk:
        first = first_name or email.partition("@")[0][:50]
        made = desk.users.create(email, first, last_name, password, Role(role))
        link = None
        if password is None:
            link = desk.users.reset_link(None, links_base(settings), made.id)
    if as_json:
        output.json({**user_document(made), "link": link})
        return
    click.echo(f"Created {made.email} ({made.role.value}).")
    if link:
        click.echo(f"To choose a password within a day: {link}")


@user.command(name="list")
@click.option("--search", default="", help="Words that name or e-mail address have to hold.")
@as_json
@with_settings(*STORE)
def list_(settings: Settings, search: str, as_json: bool) -> None:
    """List all users, by name."""
    with opened_desk(settings) as desk:
        found = _all(desk, search)
    if as_json:
        output.json([user_document(one) for one in found])
    elif found:
        rows = [(u.email, u.first_name, u.last_name, u.role.value) for u in found]
        output.table(("e-mail", "first name", "last name", "role"), rows)
    else:
        click.echo("There is no such user: the first one to sign up owns the server.")


@user.command()
@email_of_user
@as_json
@with_settings(*STORE)
def show(settings: Settings, email: str, as_json: bool) -> None:
    """Tell of a user: names, role, the applications he owns, how he may sign in."""
    with opened_desk(settings) as desk:
        found = desk.users.by_email(email)
        owns = desk.users.profile(None, found.id).owns or ()
        ways = desk.identity.ways_in(Actor(found))
    document = {
        **user_document(found),
        "owns": list(owns),
        "has_password": ways.password,
        "connected": ways.oidc,
    }
    if as_json:
        output.json(document)
    else:
        shown = {**document, "owns": ", ".join(owns) or "-"}
        output.table(("", ""), [(name.replace("_", " "), value) for name, value in shown.items()])


@user.command()
@email_of_user
@click.option("--first-name", help="The new first name; without it that stays.")
@click.option("--last-name", help="The new last name; without it that stays.")
@as_json
@with_settings(*STORE)
def rename(
    settings: Settings, email: str, first_name: str | None, last_name: str | None, as_json: bool
) -> None:
    """Change a user's names."""
    if first_name is None and last_name is None:
        raise click.UsageError("Give --first-name, --last-name or both.")
    with opened_desk(settings) as desk:
        found = desk.users.by_email(email)
        first = found.first_name if first_name is None else first_name
        last = found.last_name if last_name is None else last_name
        changed = desk.identity.rename(Actor(found), first, last)
    if as_json:
        output.json(user_document(changed))
    else:
        click.echo(f"{changed.email} is {changed.first_name} {changed.last_name} now.")


@user.command(name="set-password")
@email_of_user
@_password_file(required=True, help="File whose first line is the password, - for standard input.")
@as_json
@with_settings(*STORE)
def set_password(settings: Settings, email: str, password_file: TextIO, as_json: bool) -> None:
    """Give a user another password, and sign him out everywhere.

    `knownface user reset-password` lets him choose it himself.
    """
    password = _first_line(password_file)
    with opened_desk(settings) as desk:
        changed = desk.users.set_password(desk.users.by_email(email).id, password)
    if as_json:
        output.json(user_document(changed))
    else:
        click.echo(f"{changed.email} has another password now, and is signed out everywhere.")


@user.command(name="set-role")
@email_of_user
@role_option(None, *Role)
@as_json
@with_settings(*STORE)
def set_role(settings: Settings, email: str, role: str, as_json: bool) -> None:
    """Change a user's role on the server; who was the owner is an administrator then."""
    with opened_desk(settings) as desk:
        changed = desk.users.set_role(None, desk.users.by_email(email).id, Role(role))
    if as_json:
        output.json(user_document(changed))
    else:
        click.echo(f"{changed.email} is {changed.role.value} now.")


@user.command()
@email_of_user
@yes
@as_json
@with_settings(*STORE)
def delete(settings: Settings, email: str, yes: bool, as_json: bool) -> None:
    """Delete a user; the applications he owns pass to the owner of the server."""
    with opened_desk(settings) as desk:
        found = desk.users.by_email(email)
        if not yes:
            click.confirm(f"Delete the account of {found.email}?", abort=True)
        desk.users.delete(None, found.id, to_owner=True)
    if as_json:
        output.json(user_document(found))
    else:
        click.echo(f"Deleted {found.email}.")


@user.command(name="reset-password")
@email_of_user
@as_json
@with_settings(*STORE, *LINKS)
def reset_password(settings: Settings, email: str, as_json: bool) -> None:
    """Print a link with which a user chooses a new password within a day."""
    with opened_desk(settings) as desk:
        link = desk.users.reset_link(None, links_base(settings), desk.users.by_email(email).id)
    if as_json:
        output.json({"email": email, "link": link})
    else:
        click.echo(link)


for command in (
    *(invite, list_invitations, delete_invitation),
    *(create_token, list_tokens, delete_token),
    *(list_sessions, end_sessions),
):
    user.add_command(command)


def _all(desk: Desk, search: str) -> Sequence[User]:
    size = 500
    first = desk.users.list(None, search, 0, size)
    pages = range(1, -(-first.total // size))
    return [*first.users, *(u for n in pages for u in desk.users.list(None, search, n, size).users)]


def _first_line(file: TextIO) -> str:
    return file.readline().rstrip("\r\n")
