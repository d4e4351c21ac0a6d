"""An index in a folder, from which the next process takes it up: see docs/adr/0017
and docs/adr/0027.

Each chunk is a file that never changes. `state` lists them and says what they are of. A save
writes into the folder `new` and moves each file out of it when it is whole. An erasure removes
`new` first, which ends a save that is under way, then each file that holds one of the erased keys.
Rows that `state` knows of and no file holds any more are read from the database by whoever takes
the index up.
"""

from __future__ import annotations

import errno
import logging
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from knownface.index.chunks import View
from knownface.index.segments import (
    Rows,
    bytes_of,
    check,
    keys_in,
    read_rows,
    write_checked,
    write_rows,
)
from knownface.types import I64

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows, where every process reads the database
    fcntl = None  # type: ignore[assignment]  # the module is asked for before it is used

log = logging.getLogger(__name__)

_FORMAT: Final = "knownface index 2"
_HEAD: Final = 2**16
_NEW: Final = "new"
_STATE: Final = "state"
_ROWS: Final = ".rows"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a kept index is of, and proof of it that the database can be asked for."""

    model: str
    dimension: int
    revision: int
    proof: Sequence[object]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a folder holds: chunks, and keys of rows that are not among them any more."""

    origin: Origin
    parts: Sequence[Rows]
    lost: I64


class KeptIndex:
    """The folder of one index. Every process maps its files; one at a time owns it and saves."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: weakref.finalize[..., KeptIndex] | None = None  # lets go of it

    def own(self) -> bool:
        """Return whether the folder is this object's alone, taking it if it is free."""
        if self._lock is None and fcntl is not None:
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(f"{self._folder}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
            else:
                self._lock = weakref.finalize(self, os.close, lock)
        return self._lock is not None

    def close(self) -> None:
        """Let others save."""
        if self._lock is not None:
            self._lock()
            self._lock = None

    def exists(self) -> bool:
        return self._folder.exists()

    def origin(self) -> Origin | None:
        """Return what the folder is of; None where it holds nothing that can be used."""
        try:
            return self._state()[0]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def read(self) -> Kept | None:
        """Return what the folder holds, None where that cannot be used."""
        try:
            origin, listed = self._state()
            parts: list[Rows] = []
            lost = [np.empty(0, np.int64)]
            for name, keys in listed:
                try:
                    part = read_rows(self._folder / name)
                except FileNotFoundError:
                    lost.append(keys)
                    continue
                if not np.array_equal(part.keys[part.alive], keys):
                    raise ValueError("these rows are not those that the index had")
                parts.append(part)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("a kept index in %s cannot be used: %s", self._folder, error)
            return None
        return Kept(origin, parts, np.concatenate(lost))

    @contextmanager
    def saving(self) -> Iterator[bool]:
        """Begin a save: tell whether this process may, and let erasures from now on end it.

        What is then saved must be what the database holds at a moment after this one.
        """
        try:
            ready = self.own()
            if ready:
                _remove(self._folder / _NEW)
                self._folder.mkdir(mode=0o700, exist_ok=True)
                (self._folder / _NEW).mkdir(mode=0o700)
            yield ready
        finally:
            if self._lock is not None:
                _remove(self._folder / _NEW)

    def save(self, origin: Origin, views: Sequence[View]) -> bool:
        """Write what has changed; False where an erasure ended it, so that it has to be repeated.

        Only while `saving`. OSError where there is no room.
        """
        try:
            files = [self._file(view) for view in views if view.used]
            keys = [view.keys[: view.used][view.alive[: view.used]] for view in views if view.used]
            head = {
                "model": origin.model,
                "dimension": origin.dimension,
                "revision": origin.revision,
                "proof": list(origin.proof),
                "files": files,
            }
            content: I64 = np.concatenate([np.empty(0, np.int64), *keys])
            state = self._folder / _NEW / _STATE
            write_checked(state, _FORMAT, head, [bytes_of(content)], _HEAD)
            state.rename(self._folder / _STATE)
            _sync(self._folder)
        except FileNotFoundError:
            return False
        listed = {name for name, _ in files}
        for path in self._folder.glob(f"*{_ROWS}"):
            if path.name not in listed:
                path.unlink(missing_ok=True)
        return True

    def erase(self, keys: I64) -> None:
        """Remove every file that holds one of these keys. Any process may, at any time."""
        if not len(keys) or not self._folder.exists():
            return
        _remove(self._folder / _NEW)
        for path in self._folder.glob(f"*{_ROWS}"):
            try:
                held = bool(np.isin(keys_in(path), keys).any())
            except FileNotFoundError:
                continue
            except (ValueError, KeyError, TypeError):
                held = True
            if held:
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything. Any process may, at any time."""
        _remove(self._folder)

    def _file(self, view: View) -> tuple[str, int]:
        """Return the file of a chunk, and its living rows; it is written if it is not there."""
        living = int(np.count_nonzero(view.alive[: view.used]))
        # Rows only come behind the others or go, so equal numbers mean the same rows: also in
        # another process that took the chunk up, for nothing is appended under its name there.
        name = f"{view.name}-{view.used}-{living}{_ROWS}"
        if not (self._folder / name).exists():
            path = self._folder / _NEW / name
            write_rows(path, view)
            path.rename(self._folder / name)
        return name, living

    def _state(self) -> tuple[Origin, list[tuple[str, I64]]]:
        content = (self._folder / _STATE).read_bytes()
        head = check(content, _FORMAT, _HEAD)
        proof, files = head["proof"], head["files"]
        if not isinstance(proof, list) or not isinstance(files, list):
            raise TypeError
        origin = Origin(
            str(head["model"]), int(str(head["dimension"])), int(str(head["revision"])), proof
        )
        keys = np.frombuffer(content, np.int64, offset=_HEAD)
        ends = np.cumsum([0] + [int(living) for _, living in files])
        if ends[-1] != len(keys):
            raise ValueError("the list of its rows is too short")
        listed = [
            (str(name), keys[start:stop])
            for (name, _), start, stop in zip(files, ends[:-1], ends[1:], strict=True)
        ]
        return origin, listed


def _remove(folder: Path) -> None:
    """Remove a folder, also while somebody puts files into it: then nobody can any more."""
    while folder.exists():
        with suppress(FileNotFoundError):  # somebody else has removed it meanwhile
            for path in folder.iterdir():
                if path.is_dir():
                    _remove(path)
                else:
                    path.unlink(missing_ok=True)
            try:
                folder.rmdir()
            except OSError as error:  # something may have come into it meanwhile
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
