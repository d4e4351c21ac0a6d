"""The pages about applications, people, the system and oneself.

They show the same documents as the admin API answers with, so that both always say the same.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from knownface.administration import Part
from knownface.api.admin import wire
from knownface.api.admin import wire_services as wires
from knownface.api.admin.deps import Number
from knownface.people import Right
from knownface.types import CopyState
from knownface.web.visits import Member, pages

router: Final = pages()

SIZE: Final = 50
EVERY: Final = Part(size=500)


@router.get("/")
async def applications(visit: Member) -> Response:
    """Show the applications that somebody may see."""
    part = Part(visit.search, visit.number("page"), SIZE)
    found = await visit.look(lambda actor: visit.app.administration.applications(actor, part))
    return visit.page(
        "applications.html",
        applications=[wires.application(one) for one in found.items],
        search=part.search,
        page=found.page,
        size=found.size,
        total=found.total,
    )


@router.get("/applications/{number}")
async def application(visit: Member, number: Number) -> Response:
    """Show one application: its services and its members."""
    admin = visit.app.administration
    info, services, members = await visit.look(
        lambda actor: (
            admin.application(actor, number),
            admin.services(actor, number, EVERY),
            admin.members(actor, number, EVERY),
        )
    )
    return visit.page(
        "application.html",
        application=wires.application(info),
        may_here=visit.rights(info.role),
        services=[wires.service(one) for one in services.items],
        members=[wires.member(one) for one in members.items],
        copying=any(one.copy and one.copy.state is CopyState.RUNNING for one in services.items),
    )


@router.get("/users")
async def users(visit: Member) -> Response:
    """Show the accounts and the open invitations."""
    visit.refuse_without(Right.MANAGE_USERS)
    search, page = visit.search, visit.number("page")
    found, invitations = await visit.look(
        lambda actor: (
            visit.app.users.list(actor, search, page, SIZE),
            visit.app.invitations.list(actor),
        )
    )
    return visit.page(
        "users.html",
        users=[wire.user(one) for one in found.users],
        invitations=[wire.invitation(one) for one in invitations],
        search=search,
        page=found.number,
        size=found.size,
        total=found.total,
    )


@router.get("/system")
async def system(visit: Member) -> Response:
    """Show how the server is doing."""
    found = await visit.look(visit.app.administration.system)
    return visit.page("system.html", system=wires.system(found))


@router.get("/profile")
async def profile(visit: Member) -> Response:
    """Show somebody what concerns himself alone."""
    identity = visit.app.identity
    sessions, tokens, ways, actor = await visit.look(
        lambda actor: (
            identity.sessions(actor),
            visit.app.tokens.list(actor),
            identity.ways_in(actor),
            actor,
        )
    )
    return visit.page(
        "profile.html",
        sessions=[wire.session(one, actor) for one in sessions],
        tokens=[wire.token(one) for one in tokens],
        ways=ways,
        oidc_name=visit.oidc_name,
    )
