"""The whole site: the API and the pages behind one address."""

from __future__ import annotations

from fastapi import FastAPI

from knownface.api.server import create_server
from knownface.app import App
from knownface.web import routes
from knownface.web.site import Site


def create_site(app: App) -> FastAPI:
    """Return the ASGI application that serves an App's API and its pages."""
    server = create_server(app)
    server.state.site = Site.load()
    for router in routes.ROUTERS:
        server.include_router(router)
    return server
