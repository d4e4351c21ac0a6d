"""The pages for who is not signed in yet, and the first-run wizard that leads from there."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from knownface.api.admin import wire_services as wires
from knownface.errors import KnownfaceError
from knownface.people import Invitation, Right
from knownface.web.visits import Member, Visit, Visitor, pages, redirect, safe_next

router: Final = pages()

# Why a provider's word did not let somebody in, each told by the page in its own words.
_REASONS: Final = {name: name for name in ("provider", "link", "account", "closed")}


@router.get("/login")
async def login(visit: Visitor) -> Response:
    """Let somebody sign in."""
    after = safe_next(visit.query.get("next"))
    if visit.actor is not None:
        return redirect(after)
    if await _nobody_yet(visit):
        return redirect("/welcome")
    return visit.page(
        "login.html",
        next=after,
        failed=_REASONS.get(visit.query.get("failed", "")),
        oidc_name=visit.oidc_name,
        registration=visit.app.settings.registration,
    )


@router.get("/signup")
async def sign_up(visit: Visitor) -> Response:
    """Let anybody make an account, where registration is open."""
    if await _nobody_yet(visit):
        return redirect("/welcome")
    if visit.app.settings.registration != "open":
        return visit.page("signup.html", closed=True)
    return visit.page(
        "signup.html", closed=False, email=None, invitation=None, oidc_name=visit.oidc_name
    )


@router.get("/join/{invitation}")
async def join(visit: Visitor, invitation: str) -> Response:
    """Let the holder of an invitation make an account, or use it with the one that he has."""
    found = await visit.use(lambda: _invitation(visit, invitation))
    if found is None:
        return visit.page("signup.html", 404, closed=True)
    if visit.actor is not None:
        return visit.page("join.html", invitation=invitation, found=found)
    return visit.page(
        "signup.html",
        closed=False,
        email=found.email,
        invitation=invitation,
        oidc_name=visit.oidc_name,
    )


@router.get("/forgot")
async def forgot(visit: Visitor) -> Response:
    """Let somebody ask for a link to set a new password with."""
    return visit.page("forgot.html", sent="sent" in visit.query, mail=visit.app.identity.mails)


@router.get("/reset/{token}")
async def reset(visit: Visitor, token: str) -> Response:
    """Let the holder of a link set a new password."""
    return visit.page("reset.html", token=token)


@router.get("/welcome")
async def welcome(visit: Visitor) -> Response:
    """Begin with the owner's account; once there is one, this is no entrance."""
    if await _nobody_yet(visit):
        return visit.page("welcome.html", step="owner")
    return redirect("/welcome/application" if visit.actor else "/login")


@router.get("/welcome/application")
async def first_application(visit: Member) -> Response:
    """Go on with an application."""
    visit.refuse_without(Right.CREATE_APPLICATION)
    return visit.page("welcome.html", step="application")


@router.get("/welcome/service")
async def first_service(visit: Member) -> Response:
    """Go on with a service in it, whose key is shown once."""
    number = visit.number("application")
    info = await visit.look(lambda actor: visit.app.administration.application(actor, number))
    return visit.page("welcome.html", step="service", application=wires.application(info))


def _invitation(visit: Visit, token: str) -> Invitation | None:
    try:
        return visit.app.invitations.look(token)
    except KnownfaceError:
        return None


async def _nobody_yet(visit: Visit) -> bool:
    return visit.actor is None and not await visit.use(visit.app.identity.owner_exists)
