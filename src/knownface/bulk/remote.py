"""The collection of a server elsewhere, filled over HTTP one picture a request."""

from __future__ import annotations

import http.client
import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from knownface.bulk.enrolment import Filed, Prepared
from knownface.errors import (
    ConfigurationError,
    InvalidRequest,
    KnownfaceError,
    NoFaceFound,
    PayloadTooLarge,
    TooManyFaces,
    Unavailable,
    UnreadableImage,
)
from knownface.subject_names import new_name
from knownface.types import Example

_PATH: Final = "/api/v1/recognition/faces/batch"
_SECONDS: Final = 120.0
# Not a moment for a connection that was merely too old; a server that restarts is back at the end.
_PAUSES: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
# What the codes say of one picture; every other failure concerns all of them.
_OF_THE_PICTURE: Final = (UnreadableImage, NoFaceFound, TooManyFaces, PayloadTooLarge)
_ERRORS: Final[Mapping[int, type[KnownfaceError]]] = {
    **{kind.code: kind for kind in _OF_THE_PICTURE},
    InvalidRequest.code: InvalidRequest,
}


class RemoteEnrolment:
    """Sends pictures to a server; safe to use from many threads, each with its own connection.

    The server takes no picture twice, so whatever is not answered is sent again.
    """

    def __init__(
        self,
        url: str,
        key: str,
        det_prob_threshold: float | None,
        *,
        pauses: Sequence[float] = _PAUSES,
    ) -> None:
        """Take the server's address (ConfigurationError), below which the API begins."""
        parts = urlsplit(url)
        try:
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            self._host = ""
        if parts.scheme not in ("http", "https") or not self._host:
            raise ConfigurationError(f"{url} is no address such as http://localhost:8000.")
        self._secure = parts.scheme == "https"
        query = {} if det_prob_threshold is None else {"det_prob_threshold": det_prob_threshold}
        self._path = f"{parts.path.rstrip('/')}{_PATH}?{urlencode(query)}"
        self._url = url
        self._key = key
        self._pauses = pauses
        self._closed = threading.Event()
        self._own = threading.local()
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPConnection] = []

    def examine(self, subject: str, data: bytes, image_id: UUID | None = None) -> Filed:
        """Let the server file a picture; its id is the server's affair.

        Raises what Enrolment.examine does, and Unavailable when the server stays away.
        """
        del image_id
        subject = new_name(subject)
        for pause in (*self._pauses, None):
            try:
                return _filed(self._url, *self._post(subject, data))
            except (OSError, http.client.HTTPException, Unavailable) as error:
                self._connection().close()  # the next request opens it again
                if pause is None or self._closed.wait(pause):
                    reason = getattr(error, "message", "") or type(error).__name__
                    raise Unavailable(f"{self._url} does not answer: {reason}.") from None
        raise AssertionError("the last of the attempts returns or raises")

    def file(self, faces: Sequence[Prepared]) -> list[Filed]:
        """Return nothing: the server files what it sees at once, so that nothing waits for it."""
        del faces
        return []

    def close(self) -> None:
        """Wait for the server no longer, and let go of all connections."""
        self._closed.set()
        with self._lock:
            for connection in self._connections:
                connection.close()

    def _post(self, subject: str, data: bytes) -> tuple[int, bytes]:
        boundary = secrets.token_hex(16)
        part = f"--{boundary}\r\nContent-Disposition: form-data; name="
        body = b"".join(
            (
                f'{part}"subject"\r\n\r\n{subject}\r\n'.encode(),
                f'{part}"file"; filename="picture"\r\n\r\n'.encode(),
                data,
                f"\r\n--{boundary}--\r\n".encode(),
            )
        )
        headers = {
            "x-api-key": self._key,
            "content-type": f"multipart/form-data; boundary={boundary}",
        }
        connection = self._connection()
        connection.request("POST", self._path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            connection = self._own.connection = kind(self._host, self._port, timeout=_SECONDS)
            with self._lock:
                self._connections.append(connection)
        return connection


def _filed(url: str, status: int, body: bytes) -> Filed:
    try:
        document = json.loads(body)
        found = document["result"][0] if status == http.HTTPStatus.OK else document
        if "image_id" in found:
            example = Example(0, UUID(found["image_id"]), found["subject"])
            return Filed(example, added=not found.get("duplicate", False))
        message, code = str(found["message"]), int(found["code"])
    except (ValueError, LookupError, TypeError):
        message, code = f"it answers {status}, and not as Knownface does", -1
    answered = status == http.HTTPStatus.OK
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or (answered and code == Unavailable.code):
        raise Unavailable(message)
    if status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise PayloadTooLarge(message)
    if answered and code in _ERRORS:
        raise _ERRORS[code](message)
    raise ConfigurationError(f"{url} does not take the pictures: {message}")
