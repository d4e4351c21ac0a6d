"""Fetching one file over HTTPS: checked, within bounds, and going on where it broke off."""

from __future__ import annotations

import hashlib
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Final

from knownface import __version__
from knownface.errors import ModelUnavailable

Report = Callable[[int, int], None]

SECURE: Final = frozenset({"https"})
# Larger than any model of a face that is known.
LARGEST: Final = 1 << 30

_TIMEOUT_SECONDS: Final = 30.0
_PIECE: Final = 1 << 18
_NOTHING_LEFT: Final = 416  # what is here already is longer than the file


class Fetcher:
    """Fetches files into a folder; an unfinished one stays there and is gone on with next time.

    `schemes` are those that an address, and each that it leads on to, may have.
    """

    def __init__(self, folder: Path, *, schemes: Collection[str] = SECURE) -> None:
        self._folder = folder
        self._schemes = schemes
        self._opener = urllib.request.build_opener(_Redirects(schemes))

    def fetch(self, url: str, sha256: str | None, size: int | None, report: Report) -> Path:
        """Return the path of the fetched file, whose hash and size are the given ones.

        Without a hash the caller has to record what came. `report(done, total)` counts bytes, a
        total of 0 is unknown. Raises ModelUnavailable saying in a sentence what went wrong.
        """
        name = url.rsplit("/", 1)[-1]
        part = self._folder / f".{name}.download"
        if sha256 is None:
            part.unlink(missing_ok=True)  # nobody could tell whether both halves are of one file
        try:
            _check(url, self._schemes)
            self._complete(url, part, size, report)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == _NOTHING_LEFT:
                    part.unlink(missing_ok=True)
                raise ModelUnavailable(
                    f"{url} cannot be fetched: the server answers {error.code} {error.reason}."
                ) from error
        except (OSError, HTTPException, ValueError) as error:
            raise ModelUnavailable(f"{url} cannot be fetched: {_reason(error)}.") from error
        return _checked(part, url, sha256)

    def _complete(self, url: str, part: Path, size: int | None, report: Report) -> None:
        done = part.stat().st_size if part.exists() else 0
        if size is not None and done >= size:
            return  # all of it is here: its hash will tell whether it is sound
        headers = {"User-Agent": f"knownface/{__version__}", "Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - _check saw its scheme
        with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
            done = done if _goes_on(response, done) else 0
            total = done + int(response.headers.get("Content-Length") or 0)
            limit = size or LARGEST
            if total > limit:
                raise _TooLarge(limit)
            with part.open("ab" if done else "wb") as stream:
                reached = _copy(response, stream, done, limit, lambda n: report(n, size or total))
        if reached < (size or total):
            raise _Short(f"it broke off after {reached} of {size or total} bytes; run it again")


def copy_within(source: IO[bytes], target: IO[bytes], limit: int) -> str:
    """Copy a stream and return its SHA-256; ValueError when it holds more bytes than `limit`."""
    digest, done = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        done += len(piece)
        if done > limit:
            raise _TooLarge(limit)
        digest.update(piece)
        target.write(piece)
    return digest.hexdigest()


def _copy(
    response: HTTPResponse, stream: IO[bytes], done: int, limit: int, report: Callable[[int], None]
) -> int:
    report(done)
    while piece := response.read(_PIECE):
        done += len(piece)
        if done > limit:
            raise _TooLarge(limit)
        stream.write(piece)
        report(done)
    stream.flush()
    os.fsync(stream.fileno())
    return done


def _goes_on(response: HTTPResponse, done: int) -> bool:
    """Tell whether the answer is the rest of a file of which so many bytes are here."""
    given = response.headers.get("Content-Range", "")
    return bool(done) and response.status == 206 and given.startswith(f"bytes {done}-")


def _checked(part: Path, url: str, sha256: str | None) -> Path:
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 is not None and found != sha256:
        part.unlink()
        raise ModelUnavailable(
            f"What {url} gave is not the file that is known (SHA-256 {found}, not {sha256}); "
            "it was thrown away."
        )
    return part


def _check(url: str, schemes: Collection[str]) -> None:
    if url.partition("://")[0].lower() not in schemes:
        raise ValueError(f"only {', '.join(sorted(schemes))} is used, not {url}")


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, socket.gaierror):
        return "its host is not known; is there a network"
    if isinstance(reason, TimeoutError):
        return f"no answer within {_TIMEOUT_SECONDS:.0f} seconds"
    return str(reason) or type(reason).__name__


class _TooLarge(ValueError):
    def __init__(self, limit: int) -> None:
        super().__init__(f"it is larger than {limit} bytes")


class _Short(ValueError):
    """The connection ended before the file did."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to where the same holds: never from an encrypted address to one that is not."""

    def __init__(self, schemes: Collection[str]) -> None:
        self._schemes = schemes

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            _check(newurl, self._schemes)
        except ValueError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)
