"""The client of an OpenID Connect provider: Authlib, and what may go wrong with it as one error.

It is imported only where a provider is set up: it brings a client of HTTP and cryptography along.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response

log = logging.getLogger(__name__)

_DISCOVERY: Final = "/.well-known/openid-configuration"
_FAILURES: Final = (httpx2.HTTPError, AuthlibBaseError, JoseError, RuntimeError, ValueError)

Claims = dict[str, Any]


class ProviderClient:
    """Speaks with one provider; what it said of itself and its keys is kept."""

    def __init__(self, issuer: str, client_id: str, client_secret: str) -> None:
        self.issuer = issuer
        self._client = OAuth().register(
            name="provider",
            server_metadata_url=issuer + _DISCOVERY,
            client_id=client_id,
            client_secret=client_secret or None,
            client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256"},
        )

    async def depart(self, request: Request, back: str) -> tuple[Response, dict[str, Any]] | None:
        """Return the redirection to the provider and what to remember; None if it fails."""
        session: dict[str, Any] = {}
        request.scope["session"] = session
        try:
            return await self._client.authorize_redirect(request, back), session
        except _FAILURES as error:
            _note(error)
            return None

    async def claims(self, request: Request, session: dict[str, Any]) -> Claims | None:
        """Return what the provider says of who comes back from it; None if that is not sound.

        Authlib checks the signature, the nonce, the receiver, the time and the state.
        """
        request.scope["session"] = session
        try:
            token = await self._client.authorize_access_token(request)
            claims: Claims = dict(token.get("userinfo") or {})
            if str(claims.get("iss", "")).rstrip("/") != self.issuer:
                raise ValueError("another issuer than was set")
            if "email" not in claims:
                told = await self._client.userinfo(token=token)
                if told.get("sub") == claims.get("sub"):
                    claims = {**told, **claims}
            if not claims.get("sub") or not claims.get("email"):
                raise ValueError("no subject or e-mail address")
        except _FAILURES as error:
            _note(error)
            return None
        return claims


def _note(error: Exception) -> None:
    # Its class, not its text, which may name a person.
    log.warning("the provider of sign-ins failed", extra={"error": type(error).__name__})
