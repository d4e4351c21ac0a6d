"""The whole site: the API and the pages behind one address."""

from __future__ import annotations

from fastapi import FastAPI

from knownface.api.ledger import Page
from knownface.api.server import create_server
from knownface.app import App
from knownface.web import routes
from knownface.web.site import Site


def create_site(app: App, page: Page | None = None) -> FastAPI:
    """Return the ASGI application that serves an App's API and its pages; it counts on `page`."""
    server = create_server(app, page)
    server.state.site = Site.load()
    for router in routes.ROUTERS:
        server.include_router(router)
    return server
