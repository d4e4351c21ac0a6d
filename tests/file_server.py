"""A real HTTP server that misbehaves as told: redirects, breaks off, forgets what it served."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


@dataclass
class Files:
    """What is served, by path. `cut` breaks off after so many bytes, once each time it is set."""

    served: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    ranges: bool = True
    announces_length: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: ClassVar[Files]

    def do_GET(self) -> None:
        files = self.files
        files.asked.append((self.path, self.headers.get("Range")))
        if self.path in files.redirects:
            self._head(302, {"Location": files.redirects[self.path], "Content-Length": "0"})
        elif self.path not in files.served:
            self._head(404, {"Content-Length": "0"})
        else:
            self._file(files.served[self.path])

    def _file(self, content: bytes) -> None:
        status, start = 200, 0
        headers: dict[str, str] = {}
        wanted = self.headers.get("Range")
        if wanted and self.files.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self._head(416, {"Content-Length": "0"})
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        if self.files.announces_length:
            headers["Content-Length"] = str(len(body))
        self.close_connection = True
        self._head(status, headers)
        cut, self.files.cut = self.files.cut, None
        self.wfile.write(body[:cut])

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on the console."""


@contextmanager
def serving(files: Files) -> Iterator[Files]:
    """Serve these files on a port of this machine until the block ends; `files.url` says where."""
    bound = type("Bound", (_Handler,), {"files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
    files.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
