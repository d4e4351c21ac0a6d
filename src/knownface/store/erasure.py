"""Why nothing of an erased face stays behind in a SQLite file.

`secure_delete` zeroes what is deleted, yet when SQLite balances its tree it copies neighbouring
rows from page to page and may leave the old copy in a page's unused part; deleting the row later
zeroes only its present place. (A test of some thousand random deletions finds such copies.) The
overflow pages of a long row, however, are never copied, and are zeroed when they are freed. So
vectors and photographs stand behind a padding that fills the part of their row which the tree holds
itself, and their bytes begin on an overflow page. The padding is chosen so that the row's last
overflow page is full.

A vector whose length is a little more than some full overflow pages would waste nearly a whole one.
So its first few bytes, its head, stand in the padding, which the tree holds: not as they are, but
combined with a digest of all the others (exclusive or). Once those are erased, what is left of the
head says nothing, for whoever wants to read it must know the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from sqlalchemy import Connection

# The smallest pages there are, because a vector takes whole ones: with its head in the tree, one of
# 128 numbers takes one. Databases that were made with others go on with those.
PAGE_SIZE: Final = 512

# Where there are no pages, nothing is in the padding.
_NO_PAGES: Final = 0

# The longest digest there is.
MOST_HEAD: Final = 64

# Under which name a connection remembers the size of its database's pages.
_PAGE_SIZE = "page_size"

# The bytes of a row besides padding and content (its header, a media type), guessed generously.
_SLACK = 32


class Laid(NamedTuple):
    """How the bytes of a vector lie in a row: `content` is without those that are in `padding`."""

    padding: bytes
    content: bytes


def laid_out(connection: Connection, vector: bytes) -> Laid:
    """Return a vector as it is stored: `joined` makes it whole again."""
    return laid_out_by(_page(connection), vector)


def laid_out_by(page: int, vector: bytes) -> Laid:
    """Return a vector as it is stored in a database with pages of this size.

    The padding begins with the length of the head in one byte, then the masked head. With the words
    of `padding_length`: P is M + n (U - 4) and what else is in the row, so K is M and that, and the
    content lies on n full overflow pages.
    """
    if page == _NO_PAGES:
        return Laid(b"", vector)
    per_overflow_page = page - 4
    beyond = len(vector) % per_overflow_page
    head = beyond if beyond <= min(MOST_HEAD, len(vector) - 1) else 0
    content = vector[head:]
    masked = _masked(vector[:head], content)
    zeroes = max(0, _smallest(page) - head - 1) + -len(content) % per_overflow_page
    return Laid(bytes([head]) + masked + bytes(zeroes), content)


def joined(rows: Sequence[tuple[bytes, bytes]]) -> bytearray:
    """Return the vectors of rows, each given by at least the head in its padding, and its content.

    The bytes of all of them stand one behind the other.
    """
    parts: list[bytes] = []
    for padding, content in rows:
        if padding and padding[0]:
            parts.append(_masked(padding[1 : 1 + padding[0]], content))
        parts.append(content)
    return bytearray().join(parts)


def padding(connection: Connection, length: int) -> bytes:
    """Return what to store in front of `length` bytes so that none of them enters the tree."""
    page = _page(connection)
    return b"" if page == _NO_PAGES else bytes(padding_length(page, length))


def padding_length(page: int, length: int) -> int:
    """Return how many zeroes to put before `length` bytes in a database of this page size.

    With the file format's words: of a payload of P > X bytes the tree holds K = M + (P - M) mod (U
    - 4), or M where that exceeds X. The padding makes K little more than M, and itself longer than
    K.
    """
    return _smallest(page) + 2 * _SLACK + -(length + _SLACK) % (page - 4)


def _smallest(page: int) -> int:
    """Return what the tree holds at the least of a row that has overflow pages: M."""
    return (page - 12) * 32 // 255 - 23


def _masked(head: bytes, rest: bytes) -> bytes:
    """Return a head masked by the rest of its vector, or a masked one as it was."""
    if not head:
        return b""
    mask = blake2b(rest, digest_size=len(head)).digest()
    return (int.from_bytes(head) ^ int.from_bytes(mask)).to_bytes(len(head))


def _page(connection: Connection) -> int:
    if connection.dialect.name != "sqlite":
        return _NO_PAGES
    # It never changes while a database is open.
    if _PAGE_SIZE not in connection.info:
        connection.info[_PAGE_SIZE] = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    return int(connection.info[_PAGE_SIZE])
