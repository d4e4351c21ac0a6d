"""How the texts of settings are read: sizes, addresses, networks; and what is wrong with others."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LARGEST: Final = 1 << 40
_ORIGIN: Final = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/,]+", re.IGNORECASE)


def _bytes(value: object) -> object:
    """Read `5MB`, `10M`, `5 MiB` or `5242880`; M is MiB, as in CompreFace."""
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if not found:
        raise ValueError("should be a size such as 5MB, 10M or 5242880")
    size = float(found[1]) * _UNITS[found[2].upper()]
    if size > _LARGEST:
        raise ValueError("is larger than any file")
    return int(size)


def _origins(value: object) -> object:
    """Refuse what no browser sends: an origin is a scheme and a host, without a path."""
    if isinstance(value, str):
        for origin in value.split(","):
            if not _ORIGIN.fullmatch(origin.strip().rstrip("/")):
                raise ValueError("should be * or origins such as https://faces.example:8443")
    return value


def lower(value: object) -> object:
    """Let a word be written in whatever letter case."""
    return value.strip().lower() if isinstance(value, str) else value


def _port(value: object) -> object:
    """Pass over the `tcp://…` that Kubernetes sets it to beside a service of the same name."""
    return 8000 if isinstance(value, str) and value.startswith(("tcp://", "udp://")) else value


def _address(value: object) -> object:
    """Refuse what is no address of a web server; take it without its last slash."""
    if not isinstance(value, str) or not value:
        return value
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("should be an address such as https://faces.example")
    return value.rstrip("/")


def _smtp(value: object) -> object:
    if isinstance(value, str) and value:
        try:
            parts = urlsplit(value)
            sound = parts.scheme in {"smtp", "smtps"} and parts.hostname and parts.port != 0
        except ValueError:  # the port is no number
            sound = False
        if not sound:
            raise ValueError("should be smtp://USER:PASSWORD@HOST:PORT or smtps://…")
    return value


def _networks(value: object) -> object:
    if isinstance(value, str):
        for network in filter(None, map(str.strip, value.split(","))):
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError("should be addresses or networks such as 10.0.0.0/8") from None
    return value


ByteCount = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
Budget = Annotated[int, BeforeValidator(_bytes), Field(ge=0)]
Port = Annotated[int, BeforeValidator(_port)]
Origins = Annotated[str, BeforeValidator(_origins)]
WebAddress = Annotated[str, BeforeValidator(_address)]
Networks = Annotated[str, BeforeValidator(_networks)]
SmtpUrl = Annotated[str, BeforeValidator(_smtp)]
