"""HTTP below ASGI: what clients send against the letter of HTTP, understood or refused in shape."""

from __future__ import annotations

import re
import secrets
from typing import Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from knownface.errors import InvalidRequest

# A name typed into an address, as in `curl …?subject=Jürgen`; curl sends its bytes as they are.
_RAW_ADDRESS: Final = re.compile(rb"[A-Z]+ /[^\r\n ]*[\x80-\xff][^\r\n ]* HTTP/1\.[01]\r\n")
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")


class Protocol(HttpToolsProtocol):
    """Uvicorn's protocol, kinder about addresses, and with our shape where it must refuse."""

    def data_received(self, data: bytes) -> None:
        """Percent-encode what is not ASCII in the address, which the parser would refuse."""
        cycle: RequestResponseCycle | None = self.cycle  # None until the first request
        if (cycle is None or not cycle.more_body) and (line := _RAW_ADDRESS.match(data)):
            encoded = _NOT_ASCII.sub(lambda byte: b"%%%02X" % byte[0][0], line[0])
            data = encoded + data[line.end() :]
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Answer as every other error is answered, and end the connection."""
        error = InvalidRequest(f"This is not HTTP as it should be. {msg}")
        body = orjson.dumps({"message": error.message, "code": error.code})
        head = [
            b"HTTP/1.1 400 Bad Request",
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"cache-control: no-store",
            b"access-control-allow-origin: *",
            b"x-request-id: " + secrets.token_hex(8).encode(),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.close()
