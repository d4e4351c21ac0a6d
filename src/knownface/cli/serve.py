"""`knownface serve`: the server as a process, from its first line to its last request."""

from __future__ import annotations

import errno
import gc
import logging
import math
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING

import click

from knownface import __version__, memory
from knownface.cli import output
from knownface.cli.run import with_settings
from knownface.errors import ConfigurationError
from knownface.settings import Settings

if TYPE_CHECKING:
    import uvicorn

    from knownface.api.ledger import Page
    from knownface.app import App
    from knownface.cli.workers import Link

log = logging.getLogger(__name__)

# Longer than the 60 s for which proxies keep idle connections: they must be the ones to close them.
KEEP_ALIVE_SECONDS = 75
# What is left, after the last request had its time, to write its answer.
GRACE_SECONDS = 5
# So long the other workers wait for the first to measure threads; it goes on if that takes longer.
TUNING_SECONDS = 3
HTTP_SERVER = "knownface.web.server"
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - to be told apart, not to listen on


@click.command(short_help="Start the server.")
@with_settings(*Settings.model_fields, full=True)
def serve(settings: Settings) -> None:
    """Start the server, on port 8000 unless told otherwise.

    The first start makes the data folder, fetches the models, and creates one service of each type
    whose API keys it prints, once. SIGTERM and Ctrl-C let running requests end, then stop.

    \b
    Examples:
      knownface serve --data /srv/knownface
      knownface serve --host 127.0.0.1 --port 9000 --log-format text
      knownface serve --workers 4
      KNOWNFACE_DATABASE_URL=postgresql://me:secret@db/faces knownface serve
    """
    from knownface.api.logs import configure_logging

    # The kernel ignores this signal for the first process of a container unless it is asked for.
    signal.signal(signal.SIGTERM, _stop_starting)
    configure_logging(settings.log_level, settings.log_format)
    for chatty in ("uvicorn", "alembic", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with _bind(settings.host, settings.port) as listener:
        if settings.workers == 1:
            _serve(settings, listener)
        else:
            _serve_with_workers(settings, listener)


def _serve_with_workers(settings: Settings, listener: socket.socket) -> None:
    """Let several processes accept from one listener, each with its share of what is set."""
    from knownface.api.ledger import Ledger
    from knownface.cli.workers import Workers

    ledger = Ledger(settings.workers)

    def work(link: Link) -> None:
        from knownface.app import cores  # in the worker: the watcher stays small and has one thread

        with _beside(listener) as own:
            _serve(share(settings, cores()), own, link, ledger.page(link.number))

    if status := Workers(settings.workers, work, on_stop=listener.close).run():
        raise SystemExit(status)


def share(settings: Settings, cores: int) -> Settings:
    """Return what one of the workers takes of what is set for the whole server."""

    def part(whole: int) -> int:
        return -(-whole // settings.workers)

    return settings.model_copy(
        update={
            "slots": part(settings.slots) or max(1, cores // settings.workers),
            "max_requests": part(settings.max_requests),
            "index_memory": part(settings.index_memory),
        }
    )


def _serve(
    settings: Settings,
    listener: socket.socket,
    link: Link | None = None,
    page: Page | None = None,
) -> None:
    memory.share_heap()
    gc.disable()  # what the start makes stays: looking through it again and again is lost time
    from knownface.app import build

    app = build(settings)
    try:
        app.refuse_another_embedder()
        app.provide()  # before anybody can sign up
        # Reading and warming the models leaves the interpreter free to import the HTTP server.
        threading.Thread(target=import_module, args=(HTTP_SERVER,), daemon=True).start()
        with output.progress() as progress:
            app.start(progress)
        import uvicorn

        from knownface.api.protocol import Protocol
        from knownface.web.server import create_site

        config = uvicorn.Config(
            create_site(app, page),
            http=Protocol,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(settings.request_timeout) + GRACE_SECONDS,
        )

        def listening() -> None:
            app.rest()
            greet = partial(_greet, settings, listener, app)
            if link is None:
                greet()
            else:
                link.ready(greet)
            app.fetch_optional()
            app.tuner.start()
            app.reembedder.start()
            app.copier.start()
            app.keeper.start()
            app.counting.start()

        if link and link.number == 0:
            # Before it is ready it is alone: nothing of ours disturbs what the others take over.
            app.tuner.start()
            app.tuner.wait(TUNING_SECONDS)
        server = _server(config, app, listening)
        # Uvicorn restores these and raises the signal again when it is done; it must not find the
        # default there, which would end the process as if it had failed.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.handle_exit)
        server.run(sockets=[listener])
    finally:
        app.close()


def _server(config: uvicorn.Config, app: App, greet: Callable[[], None]) -> uvicorn.Server:
    """Return a server that greets when it listens and is "not ready" from the first signal on."""
    import uvicorn

    class Draining(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            gc.freeze()  # nor need any later collection look through it
            gc.enable()
            greet()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            log.info("stopping", extra={"connections": len(self.server_state.connections)})
            await super().shutdown(sockets)
            log.info("stopped")

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.begin_drain()
            super().handle_exit(sig, frame)

    return Draining(config)


def _bind(host: str, port: int) -> socket.socket:
    """Take the address before anything else is done; ConfigurationError when it is not free."""
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if listener:
            listener.close()
        raise ConfigurationError(_cannot_listen(host, port, error)) from None
    return listener


def _beside(listener: socket.socket) -> socket.socket:
    """Return a worker's own listener on the address that the watcher has taken.

    Linux then spreads connections by their addresses. From a listener that all share, whoever is
    awake first would take what comes.
    """
    if sys.platform != "linux":
        return listener.dup()
    own = socket.socket(listener.family, listener.type, listener.proto)
    for one in (listener, own):  # of the watcher's only now: other programs shall find it taken
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    own.bind(listener.getsockname())
    return own


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is taken by another program. "
            "Choose another with --port or KNOWNFACE_PORT, or stop that program."
        )
    reason = error.strerror or error
    return f"Cannot listen on {host} port {port}: {reason}. Choose with --host and --port."


def _greet(settings: Settings, listener: socket.socket, app: App) -> None:
    """Tell people where the server is and, on the first start only, the keys that open it."""
    port = listener.getsockname()[1]
    host = "localhost" if settings.host in EVERYWHERE else settings.host
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    log.info("serving", extra={"address": address, "version": __version__})
    click.echo(f"Knownface {__version__} serves {address} (how to call it: {address}/docs)")
    click.echo(f"The page, for your browser: {address}/")
    click.echo(f"Data folder: {settings.data.absolute()}")
    if made := app.accounts.bootstrap():
        click.echo("\nThese API keys are shown only now; `knownface service` makes others.\n")
        rows = ((service.name, service.type.value, key) for service, key in made)
        output.table(("service", "type", "API key"), rows)
    click.echo("Ready. Ctrl-C stops the server.")
    sys.stdout.flush()


def _stop_starting(signum: int, _: FrameType | None) -> None:
    raise SystemExit(128 + signum)
