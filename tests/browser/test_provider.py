"""Signing in with a provider's word, as it is set up in the profile."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browsing import Site, Tabs, Visits, accessible, sign_up
from oidc_provider import running_provider
from servers import running_server, tiny_settings

pytestmark = pytest.mark.browser


def free_port() -> int:
    """Return a port for a server that has to know its address before it starts."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_an_account_is_connected_with_a_provider_and_disconnected(
    tabs: Tabs, tmp_path: Path
) -> None:
    port = free_port()
    with running_provider() as provider:
        provider.claims = {"sub": "vera-1", "email": "vera@example.org", "email_verified": True}
        settings = {
            **tiny_settings(tmp_path),
            "KNOWNFACE_PORT": str(port),
            "KNOWNFACE_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "KNOWNFACE_OIDC_ISSUER": provider.issuer,
            "KNOWNFACE_OIDC_CLIENT_ID": "knownface",
            "KNOWNFACE_OIDC_CLIENT_SECRET": "secret",
            "KNOWNFACE_OIDC_NAME": "Example",
        }
        with running_server(tmp_path, settings) as server:
            vera = sign_up(server.address, "vera@example.org", "Vera", "Okafor")
            visits = Visits(tabs, Site(server, vera))
            page = visits("/profile", vera)
            accessible(page)
            page.get_by_role("button", name="Connect").click()
            expect(page.get_by_text("with your password or with Example")).to_be_visible()
            assert vera.call("GET", "/me")["connected"] is True
            page.get_by_role("button", name="Disconnect").click()
            expect(page.get_by_role("button", name="Connect", exact=True)).to_be_visible()
            assert vera.call("GET", "/me")["connected"] is False
            visits.close()
            vera.client.close()
            assert visits.complaints == []


def test_a_profile_speaks_of_no_provider_where_there_is_none(visit: Visits, site: Site) -> None:
    page = visit("/profile", site.owner)
    expect(page.get_by_role("heading", name="Password", exact=True)).to_be_visible()
    expect(page.locator("#provider")).to_have_count(0)
