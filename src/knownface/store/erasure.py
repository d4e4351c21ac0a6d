"""Why nothing of an erased face stays behind in a SQLite file.

`secure_delete` zeroes what is deleted, yet when SQLite balances its tree it copies neighbouring
rows from page to page and may leave the old copy in a page's unused part; deleting the row later
zeroes only its present place. (A test of some thousand random deletions finds such copies.) The
overflow pages of a long row, however, are never copied, and are zeroed when they are freed. So
vectors and photographs stand behind a padding that fills the part of their row which the tree holds
itself, and their bytes begin on an overflow page. The padding is chosen so that the row's last
overflow page is full: it costs about a seventh of a page beyond what the row takes anyhow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Small pages, because a vector takes whole pages of its own: one of 128 numbers fills half of one.
PAGE_SIZE = 1024

# Under which name a connection remembers the size of its database's pages.
_PAGE_SIZE = "page_size"

# The bytes of a row besides padding and content (its header, a media type), guessed generously.
_SLACK = 32


def padding(connection: Connection, length: int) -> bytes:
    """Return what to store in front of `length` bytes so that none of them enters the tree."""
    if connection.dialect.name != "sqlite":
        return b""
    # It never changes while a database is open.
    if _PAGE_SIZE not in connection.info:
        connection.info[_PAGE_SIZE] = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    return bytes(padding_length(int(connection.info[_PAGE_SIZE]), length))


def padding_length(page: int, length: int) -> int:
    """Return how many zeroes to put before `length` bytes in a database of this page size.

    With the file format's words: of a payload of P > X bytes the tree holds K = M + (P - M) mod (U
    - 4), or M where that exceeds X. The padding makes K little more than M, and itself longer than
    K.
    """
    smallest = (page - 12) * 32 // 255 - 23
    per_overflow_page = page - 4
    return smallest + 2 * _SLACK + -(length + _SLACK) % per_overflow_page
