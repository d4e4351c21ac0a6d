"""`knownface user`: the people who administer the server, with or without it running."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

import click

from knownface.accounts import no_such_application
from knownface.cli import output
from knownface.cli.run import with_settings
from knownface.people import Role, User
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.identity import Desk

STORE = ("data", "database_url")
LINKS = ("public_url", "port")  # what links begin with
MAIL = ("smtp_url", "mail_from")

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
_email = click.option("--email", required=True, help="E-mail address of the user.")


def _role(
    default: Role | None, *roles: Role
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--role",
        required=default is None,
        default=default.value if default else None,
        show_default=default is not None,
        type=click.Choice([role.value for role in roles]),
        help="Role on the whole server.",
    )


@click.group(short_help="Create, list and delete users, change roles, reset passwords, invite.")
def user() -> None:
    """Keep the people who administer the server: accounts, roles, passwords and invitations.

    Works while a server runs on the same data folder, and takes effect at once.
    """


@user.command()
@_email
@click.option("--first-name", default="", help="First name; without one the e-mail's beginning.")
@click.option("--last-name", default="-", help="Last name.")
@_role(Role.USER, *Role)
@click.option(
    "--password-file",
    type=click.File("r"),
    metavar="FILE",
    help="File whose first line is the password, - for standard input; without it a link to choose "
    "one is printed.",
)
@_as_json
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
    password = password_file.readline().rstrip("\r\n") if password_file else None
    with _desk(settings) as desk:
        first = first_name or email.partition("@")[0][:50]
        made = desk.users.create(email, first, last_name, password, Role(role))
        link = None
        if password is None:
            link = desk.users.reset_link(None, _base(settings), made.id)
    if as_json:
        output.json({**_document(made), "link": link})
        return
    click.echo(f"Created {made.email} ({made.role.value}).")
    if link:
        click.echo(f"To choose a password within a day: {link}")


@user.command(name="list")
@click.option("--search", default="", help="Words that name or e-mail address have to hold.")
@_as_json
@with_settings(*STORE)
def list_(settings: Settings, search: str, as_json: bool) -> None:
    """List all users, by name."""
    with _desk(settings) as desk:
        found = _all(desk, search)
    if as_json:
        output.json([_document(one) for one in found])
    elif found:
        rows = [(u.email, u.first_name, u.last_name, u.role.value) for u in found]
        output.table(("e-mail", "first name", "last name", "role"), rows)
    else:
        click.echo("There is no such user: the first one to sign up owns the server.")


@user.command(name="set-role")
@_email
@_role(None, *Role)
@_as_json
@with_settings(*STORE)
def set_role(settings: Settings, email: str, role: str, as_json: bool) -> None:
    """Change a user's role on the server; who was the owner is an administrator then."""
    with _desk(settings) as desk:
        changed = desk.users.set_role(None, desk.users.by_email(email).id, Role(role))
    if as_json:
        output.json(_document(changed))
    else:
        click.echo(f"{changed.email} is {changed.role.value} now.")


@user.command()
@_email
@click.option("--yes", is_flag=True, help="Do not ask.")
@_as_json
@with_settings(*STORE)
def delete(settings: Settings, email: str, yes: bool, as_json: bool) -> None:
    """Delete a user; the applications he owns pass to the owner of the server."""
    with _desk(settings) as desk:
        found = desk.users.by_email(email)
        if not yes:
            click.confirm(f"Delete the account of {found.email}?", abort=True)
        desk.users.delete(None, found.id, to_owner=True)
    if as_json:
        output.json(_document(found))
    else:
        click.echo(f"Deleted {found.email}.")


@user.command(name="reset-password")
@_email
@_as_json
@with_settings(*STORE, *LINKS)
def reset_password(settings: Settings, email: str, as_json: bool) -> None:
    """Print a link with which a user chooses a new password within a day."""
    with _desk(settings) as desk:
        link = desk.users.reset_link(None, _base(settings), desk.users.by_email(email).id)
    if as_json:
        output.json({"email": email, "link": link})
    else:
        click.echo(link)


@user.command()
@click.option("--email", help="Address that the invitation is for; without one, whoever has it.")
@_role(Role.USER, Role.ADMINISTRATOR, Role.USER)
@click.option("--application", help="Application to invite to, which the role is in then.")
@_as_json
@with_settings(*STORE, *LINKS, *MAIL)
def invite(
    settings: Settings, email: str | None, role: str, application: str | None, as_json: bool
) -> None:
    """Print a link with which somebody makes himself an account, once, within a week.

    It is mailed to the address, too, if mail is set up.
    """
    with _desk(settings) as desk:
        made, link = desk.invitations.invite(
            None, _base(settings), email, Role(role), _number(desk, application)
        )
    if as_json:
        expires = made.expires_at.astimezone(UTC).isoformat(timespec="seconds")
        output.json({"id": made.id, "email": made.email, "link": link, "expires_at": expires})
    else:
        click.echo(link)


@user.command(name="create-token")
@_email
@click.option("--name", required=True, help="What the token is for.")
@click.option("--days", type=click.IntRange(1, 36500), help="Days it lasts; without, for good.")
@_as_json
@with_settings(*STORE)
def create_token(
    settings: Settings, email: str, name: str, days: int | None, as_json: bool
) -> None:
    """Make a personal access token for a user, and print it, once: only its digest is kept."""
    from datetime import timedelta

    expires = datetime.now(UTC) + timedelta(days=days) if days else None
    with _desk(settings) as desk:
        _, text = desk.tokens.issue(desk.users.by_email(email), name, expires)
    if as_json:
        output.json({"email": email, "name": name, "token": text})
    else:
        click.echo(text)


def _number(desk: Desk, application: str | None) -> int | None:
    if application is None:
        return None
    with desk.store.snapshot() as tx:
        found = tx.application(application)
        if found is None:
            raise no_such_application(tx, application)
    return found.id


def _all(desk: Desk, search: str) -> Sequence[User]:
    size = 500
    first = desk.users.list(None, search, 0, size)
    pages = range(1, -(-first.total // size))
    return [*first.users, *(u for n in pages for u in desk.users.list(None, search, n, size).users)]


def _document(found: User) -> dict[str, object]:
    return {
        "id": found.id,
        "email": found.email,
        "first_name": found.first_name,
        "last_name": found.last_name,
        "role": found.role.name,
        "created_at": found.created_at.astimezone(UTC).isoformat(timespec="seconds"),
    }


def _base(settings: Settings) -> str:
    return settings.public_url or f"http://localhost:{settings.port}"


@contextmanager
def _desk(settings: Settings) -> Iterator[Desk]:
    from knownface.app import open_desk, open_store

    store = open_store(settings)
    try:
        desk = open_desk(store, settings)
        try:
            yield desk
        finally:
            desk.close()
    finally:
        store.close()
