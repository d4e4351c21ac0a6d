"""Giving memory back to the system that the program does not need any more.

Resident memory is what people see of a program in `top` and what a small machine runs out of. Each
function does nothing where the system has no such thing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MAPPINGS: Final = Path("/proc/self/maps")
_DONTNEED: Final = 4  # MADV_DONTNEED of Linux
_PAGEOUT: Final = 21  # MADV_PAGEOUT of Linux 5.4
_ARENA_MAX: Final = -8  # M_ARENA_MAX of glibc
# What is not written is as it is in the file, so it may be let go of at once. Among constants are
# addresses that were written while the library was loaded: the system has to look at each page, and
# leaves those alone that another process uses, too.
_ADVICE: Final = {"r-xp": _DONTNEED, "r--p": _PAGEOUT}


def share_heap() -> None:
    """Let all threads allocate from one heap: of any other, `return_freed` leaves the free end.

    To be called before threads are started. In one heap a thread, each keeps holes of its own, too.
    """
    if tune := _function("mallopt"):
        tune(_ARENA_MAX, 1)


def return_freed() -> None:
    """Hand back freed pages, which glibc keeps otherwise: 60 MB after SFace was read."""
    if trim := _function("malloc_trim"):
        trim(0)


def return_code() -> None:
    """Drop the pages of libraries, which the system reads again where they are really run.

    Reading and compiling networks runs tens of megabytes of code that nothing runs afterwards.
    """
    if advise := _function("madvise"):
        for start, end, advice in _library_pages():
            # What it says is only advice: a system that knows nothing of it loses nothing.
            advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), advice)


def _library_pages() -> Iterator[tuple[int, int, int]]:
    """Yield where shared libraries' code and constants lie, with what to tell the system."""
    try:
        lines = _MAPPINGS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        span, access, _, _, _, *name = line.split(maxsplit=5)
        if access in _ADVICE and name and ".so" in name[0]:
            start, _, end = span.partition("-")
            yield int(start, 16), int(end, 16), _ADVICE[access]


def _function(name: str) -> ctypes._NamedFuncPointer | None:
    try:
        found: ctypes._NamedFuncPointer = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
    return found
