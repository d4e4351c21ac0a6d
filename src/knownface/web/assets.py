"""Static files under an address that names their content, so that browsers may keep them for good.

All of them share one version: a module imports another by its relative path, and both are then of
the same version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from starlette.responses import Response

from knownface.errors import NotFound

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Assets:
    """The static files by their path, and the version of them all."""

    contents: Mapping[str, bytes]
    version: str

    @classmethod
    def load(cls) -> Assets:
        """Read the files that are part of the program."""
        contents = dict(sorted(_files(files("knownface.web").joinpath("static"))))
        digest = hashlib.sha256()
        for path, content in contents.items():
            digest.update(path.encode() + b"\0" + content)
        return cls(contents, digest.hexdigest()[:12])

    def address(self, path: str) -> str:
        """Return where a file is served; KeyError when there is none."""
        if path not in self.contents:
            raise KeyError(path)
        return f"/static/{self.version}/{path}"

    def answer(self, version: str, path: str) -> Response:
        """Answer with a file (NotFound); one of another version only for now.

        While servers are replaced one by one, a page of one may fetch its files from another.
        """
        content = self.contents.get(path)
        if content is None:
            raise NotFound(f"There is no file {path}")
        headers = {
            "cache-control": _FOR_GOOD if version == self.version else "no-cache",
            "x-content-type-options": "nosniff",
            # A picture in SVG is a document when it is opened by itself.
            "content-security-policy": "default-src 'none'; style-src 'self'",
        }
        return Response(content, headers=headers, media_type=_TYPES[path.rpartition(".")[2]])


def _files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _TYPES:
            yield prefix + entry.name, entry.read_bytes()
