"""Requests against the letter of HTTP, byte by byte: understood, or refused in the usual shape."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest

import tiny_models
from sending import SUBJECTS
from servers import SECONDS, Server

pytestmark = pytest.mark.e2e


def talk(server: Server, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send these bytes and return status, headers and body of the one answer."""
    address = urlsplit(server.address)
    with socket.create_connection((address.hostname, address.port or 80), SECONDS) as line:
        line.sendall(request)
        answer = b""
        while chunk := line.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = dict(one.split(": ", 1) for one in rest)
    return int(first.split()[1]), {n.lower(): v for n, v in headers.items()}, body


def test_a_name_typed_into_the_address_is_understood(
    server: Server, recognition: httpx.Client
) -> None:
    key = server.keys["recognition"]
    picture = tiny_models.portrait(1)
    form = b"\r\n".join(
        [
            b"--x",
            b'Content-Disposition: form-data; name="file"; filename="a.png"',
            b"",
            picture,
            b"--x--",
            b"",
        ]
    )
    head = (
        "POST /api/v1/recognition/faces?subject=Jürgen HTTP/1.1\r\n"
        f"Host: here\r\nx-api-key: {key}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(form)}\r\n"
        "Connection: close\r\n\r\n"
    )

    status, _, body = talk(server, head.encode() + form)

    assert (status, json.loads(body)["subject"]) == (201, "Jürgen")
    assert recognition.get(SUBJECTS).json() == {"subjects": ["Jürgen"]}
    gone = f"DELETE {SUBJECTS}/Jürgen HTTP/1.1\r\nHost: here\r\nx-api-key: {key}\r\n"
    status, _, body = talk(server, f"{gone}Connection: close\r\n\r\n".encode())
    assert (status, json.loads(body)) == (200, {"subject": "Jürgen"})


@pytest.mark.parametrize(
    "request_line",
    [
        b"FOO /api/v1/recognition/subjects HTTP/1.1\r\n\r\n",
        b"GET /api/v1/config HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET /a b c HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_as_everything_is(server: Server, request_line: bytes) -> None:
    status, headers, body = talk(server, request_line)

    assert status == 400
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]
    assert headers["access-control-allow-origin"] == "*"
    answer = json.loads(body)
    assert set(answer) == {"message", "code"}
    assert answer["code"] == 26
