"""`knownface user …-sessions|…-token(s)|…-invitation(s)`: what lets people in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from knownface.cli import output
from knownface.cli.administering import NOBODY, STORE, as_json, moment, show
from knownface.cli.desks import (
    LINKS,
    MAIL,
    invitation_document,
    links_base,
    opened_desk,
)
from knownface.cli.run import with_settings
from knownface.people import Actor, Role
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.identity import Desk

_TOKENS: Final = ("id", "name", "created_at", "expires_at", "last_used_at")
_SESSIONS: Final = ("id", "address", "agent", "created_at", "last_seen_at")
_INVITATIONS: Final = ("id", "email", "role", "application", "expires_at")

email_of_user = click.option("--email", required=True, help="E-mail address of the user.")


def role_option(
    default: Role | None, *roles: Role
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the flag of a role on the whole server, one of these."""
    return click.option(
        "--role",
        required=default is None,
        default=default.value if default else None,
        show_default=default is not None,
        type=click.Choice([role.value for role in roles]),
        help="Role on the whole server.",
    )


@click.command()
@click.option("--email", help="Address that the invitation is for; without one, whoever has it.")
@role_option(Role.USER, Role.ADMINISTRATOR, Role.USER)
@click.option("--application", help="Application to invite to, which the role is in then.")
@as_json
@with_settings(*STORE, *LINKS, *MAIL)
def invite(
    settings: Settings, email: str | None, role: str, application: str | None, as_json: bool
) -> None:
    """Print a link with which somebody makes himself an account, once, within a week.

    It is mailed to the address, too, if mail is set up.
    """
    with opened_desk(settings) as desk:
        made, link = desk.invitations.invite(
            None, links_base(settings), email, Role(role), _number(desk, application)
        )
    if as_json:
        output.json({**invitation_document(made), "link": link})
    else:
        click.echo(link)


@click.command(name="create-token")
@email_of_user
@click.option("--name", required=True, help="What the token is for.")
@click.option("--days", type=click.IntRange(1, 36500), help="Days it lasts; without, for good.")
@as_json
@with_settings(*STORE)
def create_token(
    settings: Settings, email: str, name: str, days: int | None, as_json: bool
) -> None:
    """Make a personal access token for a user, and print it, once: only its digest is kept."""
    from datetime import timedelta

    expires = datetime.now(UTC) + timedelta(days=days) if days else None
    with opened_desk(settings) as desk:
        _, text = desk.tokens.issue(desk.users.by_email(email), name, expires)
    if as_json:
        output.json({"email": email, "name": name, "token": text})
    else:
        click.echo(text)


@click.command(name="list-invitations")
@as_json
@with_settings(*STORE)
def list_invitations(settings: Settings, as_json: bool) -> None:
    """List the invitations that nobody has used yet, without their links."""
    with opened_desk(settings) as desk:
        found = desk.invitations.list(NOBODY)
    rows = [tuple(invitation_document(one)[name] for name in _INVITATIONS) for one in found]
    show(_INVITATIONS, rows, as_json)


@click.command(name="delete-invitation")
@click.argument("invitation_id", type=click.IntRange(1, 2**53), metavar="ID")
@as_json
@with_settings(*STORE)
def delete_invitation(settings: Settings, invitation_id: int, as_json: bool) -> None:
    """Take an invitation back: its link leads nowhere from now on."""
    with opened_desk(settings) as desk:
        desk.invitations.withdraw(NOBODY, invitation_id)
    _tell_gone(f"The link of invitation {invitation_id} leads nowhere.", [invitation_id], as_json)


@click.command(name="list-tokens")
@email_of_user
@as_json
@with_settings(*STORE)
def list_tokens(settings: Settings, email: str, as_json: bool) -> None:
    """List a user's personal access tokens, which nobody can read any more."""
    with opened_desk(settings) as desk:
        found = desk.tokens.list(Actor(desk.users.by_email(email)))
    rows = [
        (
            *(one.id, one.name, moment(one.created_at)),
            *(moment(one.expires_at), moment(one.last_used_at)),
        )
        for one in found
    ]
    show(_TOKENS, rows, as_json)


@click.command(name="delete-token")
@email_of_user
@click.argument("token_id", type=click.IntRange(1, 2**53), metavar="ID")
@as_json
@with_settings(*STORE)
def delete_token(settings: Settings, email: str, token_id: int, as_json: bool) -> None:
    """Take a personal access token back: it opens nothing from now on."""
    with opened_desk(settings) as desk:
        desk.tokens.remove(Actor(desk.users.by_email(email)), token_id)
    _tell_gone(f"The token {token_id} opens nothing any more.", [token_id], as_json)


@click.command(name="list-sessions")
@email_of_user
@as_json
@with_settings(*STORE)
def list_sessions(settings: Settings, email: str, as_json: bool) -> None:
    """Tell in which browsers a user is signed in, last seen first."""
    with opened_desk(settings) as desk:
        found = desk.identity.sessions(Actor(desk.users.by_email(email)))
    rows = [
        (one.id, one.address, one.agent, moment(one.created_at), moment(one.last_seen_at))
        for one in found
    ]
    show(_SESSIONS, rows, as_json)


@click.command(name="end-sessions")
@email_of_user
@click.argument("session_ids", type=click.IntRange(1, 2**53), metavar="[ID]...", nargs=-1)
@as_json
@with_settings(*STORE)
def end_sessions(
    settings: Settings, email: str, session_ids: tuple[int, ...], as_json: bool
) -> None:
    """Sign a user out: in the browsers of these sessions, or without any everywhere."""
    with opened_desk(settings) as desk:
        actor = Actor(desk.users.by_email(email))
        ended = session_ids or tuple(one.id for one in desk.identity.sessions(actor))
        for session_id in ended:
            desk.identity.end_session(actor, session_id)
    _tell_gone(f"Ended {len(ended)} sessions of {actor.user.email}.", list(ended), as_json)


def _tell_gone(text: str, numbers: list[int], as_json: bool) -> None:
    if as_json:
        output.json({"deleted": numbers})
    else:
        click.echo(text)


def _number(desk: Desk, application: str | None) -> int | None:
    if application is None:
        return None
    from knownface.accounts import no_such_application

    with desk.store.snapshot() as tx:
        found = tx.application(application)
        if found is None:
            raise no_such_application(tx, application)
    return found.id
