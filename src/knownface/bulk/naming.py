"""File names for subjects, which may be called anything, on any file system."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from knownface.store.names import name_key

_EXTENSIONS: Final = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "image/webp": "webp",
    "image/x-icon": "ico",
}
_FORBIDDEN: Final = frozenset('<>:"/\\|?*')
# Names of devices on Windows, and of what stands beside the folders.
_TAKEN: Final = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|manifest\.csv|embeddings\.jsonl|__macosx", re.IGNORECASE
)
_LONGEST: Final = 100  # bytes, so that the rest of the path has room as well


def folder_name(subject: str) -> str:
    """Return the subject's name if it can be a folder's, else one like it that no other gets."""
    shown = "".join(c if c.isprintable() and c not in _FORBIDDEN else "_" for c in subject)
    shown = shown.encode()[:_LONGEST].decode(errors="ignore").strip(" .")
    if shown == subject and not _TAKEN.fullmatch(subject):
        return subject
    return f"{shown or '_'}-{name_key(subject).hex()[:12]}"


def file_name(subject: str, image_id: UUID, media_type: str) -> str:
    """Return the path of a photograph inside an export; its parts are parted by `/`."""
    return f"{folder_name(subject)}/{image_id}.{_EXTENSIONS.get(media_type, 'bin')}"
