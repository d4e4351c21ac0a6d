"""Bodies of requests: multipart forms, JSON documents, and the pictures and values inside them.

Everything stays in memory: no byte of a photograph is ever written to a temporary file.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final
from uuid import UUID

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from knownface.errors import (
    EmptyField,
    InvalidRequest,
    PayloadTooLarge,
    UnreadableImage,
)

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"

_JSON_KIND: Final = re.compile(r"application/(json|[\w.+-]+\+json)")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_MOST_PARTS: Final = 100
_MOST_PARTS_OF_A_BATCH: Final = 2000
_LONGEST_TEXT: Final = 64 << 10


def media_kind(content_type: str) -> str:
    """Return the type without its parameters, and `application/json` for every kind of JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    return JSON if _JSON_KIND.fullmatch(kind) else kind


# JSON


def parse_json(body: bytes) -> object:
    """Return the document (InvalidRequest)."""
    try:
        document: object = orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        raise InvalidRequest("The body is not valid JSON") from None
    return document


def fields_of(document: object) -> dict[str, object]:
    """Return a JSON object's fields (InvalidRequest for any other document)."""
    if not isinstance(document, dict):
        raise InvalidRequest("The body should be a JSON object")
    return document


def base64_fields(document: object, names: Sequence[str]) -> dict[str, str]:
    """Return the texts of these fields (EmptyField, InvalidRequest); other fields do not matter."""
    fields = fields_of(document)
    texts: dict[str, str] = {}
    for name in names:
        text = fields.get(name)
        if text is None or text == "":
            raise EmptyField(name)
        if not isinstance(text, str):
            raise InvalidRequest(f"Field {name} should be a base64 string")
        texts[name] = text
    return texts


def embedding_of(value: object, name: str) -> list[float]:
    """Return one embedding, a JSON array of numbers (EmptyField, InvalidRequest)."""
    if value is None or value == []:
        raise EmptyField(name)
    if not _is_vector(value):
        raise InvalidRequest(f"Field {name} should be an array of numbers")
    return value  # type: ignore[return-value]  # just checked


def embeddings_of(value: object, name: str) -> list[list[float]]:
    """Return a JSON array of embeddings (EmptyField, InvalidRequest)."""
    if value is None or value == []:
        raise EmptyField(name)
    if not isinstance(value, list) or not all(_is_vector(one) for one in value):
        raise InvalidRequest(f"Field {name} should be an array of arrays of numbers")
    return value


def _is_vector(value: object) -> bool:
    # A set of types, no loop: there may be a million numbers, and true and false are none.
    return isinstance(value, list) and {type(number) for number in value} <= {float, int}


def uuids_of(document: object, what: str = "The body") -> list[UUID]:
    """Return a JSON array of image ids (InvalidRequest, which says what should be one)."""
    if not isinstance(document, list) or not all(isinstance(one, str) for one in document):
        raise InvalidRequest(f"{what} should be a JSON array of image ids")
    return [uuid_of(one, "image_id") for one in document]


def uuid_of(text: str, name: str) -> UUID:
    """Return a UUID from its 36 characters (InvalidRequest)."""
    if not _UUID.fullmatch(text):
        raise InvalidRequest(f"{name} should be a UUID")
    return UUID(text)


# Pictures


def decode_base64(text: str, max_size: int) -> bytes:
    """Return the bytes behind base64 of the standard or URL-safe alphabet, `data:` prefix or not.

    Raises UnreadableImage when it is none, PayloadTooLarge when they are more than `max_size`.
    """
    head, comma, rest = text.partition(",")
    if comma and head.lstrip()[:5].lower() == "data:" and head.rstrip().endswith(";base64"):
        text = rest
    try:
        # The usual spelling needs no copy of its millions of digits.
        content = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        content = _decode_leniently(text)
    if len(content) > max_size:
        raise picture_too_large(max_size)
    return content


def _decode_leniently(text: str) -> bytes:
    """Decode URL-safe digits, white space between them and missing padding too."""
    try:
        digits = text.encode("ascii").translate(_URL_SAFE, b" \t\r\n\v\f").rstrip(b"=")
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)
    except ValueError:
        raise UnreadableImage("Provided value is not Base64") from None


def picture_too_large(limit: int) -> PayloadTooLarge:
    """Return the error that names the limit on one picture."""
    return PayloadTooLarge(f"The picture is larger than max_file_size, {readable_size(limit)}")


def readable_size(limit: int) -> str:
    """Return a number of bytes as people write it: `5 MB`, where a megabyte is 2**20 bytes."""
    for unit, name in ((1 << 20, "MB"), (1 << 10, "KB")):
        if limit >= unit and limit % unit == 0:
            return f"{limit // unit} {name}"
    return f"{limit} bytes"


# Multipart


@dataclass(slots=True)
class _Part:
    disposition: bytes = b""
    name: str = ""
    is_file: bool = False
    content: BytesIO = field(default_factory=BytesIO)
    too_long: bool = False


class Form:
    """A multipart body while it comes in: the first file of each name, and every text.

    A part is a file when it has a file name, however empty. `unusable` names the parts without one
    that are no text of a sane length either. Of the name `many`, if there is one, all files are
    kept, in `batch`, and one that is too large is only that file's failure.
    """

    def __init__(self, content_type: str, max_file_size: int, *, many: str | None = None) -> None:
        """Take the request's content type, which has to name a boundary (InvalidRequest)."""
        self.files: dict[str, bytes] = {}
        self.batch: list[bytes | PayloadTooLarge] = []
        self.texts: list[tuple[str, str]] = []
        self.unusable: list[str] = []
        self._max_file_size = max_file_size
        self._many = many
        self._most_parts = _MOST_PARTS if many is None else _MOST_PARTS_OF_A_BATCH
        self._part = _Part()
        self._parts = 0
        self._header, self._value = b"", b""
        self._complete = False
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise InvalidRequest("The content type multipart/form-data names no boundary")
        self._parser = self._open(boundary)

    def _open(self, boundary: bytes) -> MultipartParser:
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._add_header,
                    "on_header_value": self._add_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._start_content,
                    "on_part_data": self._add_content,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise _malformed() from None

    def write(self, chunk: bytes) -> None:
        """Take the next piece of the body (InvalidRequest, PayloadTooLarge)."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _malformed() from None

    def finish(self) -> None:
        """Say that the body is complete (InvalidRequest when it breaks off)."""
        if not self._complete:
            raise _malformed()

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._most_parts:
            raise InvalidRequest(f"The multipart body has more than {self._most_parts} parts")
        self._part = _Part()

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._part.disposition = self._value
        self._header, self._value = b"", b""

    def _start_content(self) -> None:
        options = parse_options_header(self._part.disposition)[1]
        self._part.name = options.get(b"name", b"").decode(errors="replace")
        self._part.is_file = b"filename" in options

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        size = part.content.tell() + end - start
        if size > (self._max_file_size if part.is_file else _LONGEST_TEXT):
            if part.is_file and part.name != self._many:
                raise picture_too_large(self._max_file_size)
            part.too_long = True
            part.content = BytesIO()
        if not part.too_long:
            part.content.write(memoryview(data)[start:end])

    def _end_part(self) -> None:
        part = self._part
        content = part.content.getvalue()
        text = None if part.is_file or part.too_long else _text(content)
        if part.is_file and part.name == self._many:
            too_large = picture_too_large(self._max_file_size)
            self.batch.append(too_large if part.too_long else content)
        elif part.is_file:
            self.files.setdefault(part.name, content)
        elif text is None:
            self.unusable.append(part.name)
        else:
            self.texts.append((part.name, text))

    def _end(self) -> None:
        self._complete = True


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _malformed() -> InvalidRequest:
    return InvalidRequest("The body is not valid multipart/form-data")
