"""Processes of the program, forked from one that has imported it: each is there a second sooner.

For what such a process does once it runs. How the program starts, and stops, is for tests that run
it as anybody does: those of tests/e2e/test_server_process.py, for instance.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Self

_IMPORTED: Final = [
    "alembic.command",
    "knownface.api.logs",
    "knownface.api.protocol",
    "knownface.bulk.importing",
    "knownface.cli",
    "knownface.web.server",
    "uvicorn",
    "uvloop",
    __name__,
]
_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(_IMPORTED)


class Forked:
    """A `knownface` with these words, or another program, in a folder and environment of its own.

    Used as a subprocess.Popen is. What it complains of is written to `stderr`, and what it prints
    to `stdout` if that is given, else into a pipe.
    """

    def __init__(
        self,
        words: tuple[str, ...],
        folder: Path,
        environment: Mapping[str, str],
        *,
        stderr: Path,
        stdout: Path | None = None,
        program: Path | None = None,
    ) -> None:
        _start_forking()
        reader, writer = _FORKS.Pipe(duplex=False)
        with reader:
            self.stdout = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        with writer:
            out = writer if stdout is None else str(stdout)
            arguments = (program, words, str(folder), dict(environment), out, str(stderr))
            self._process = _FORKS.Process(target=_become, args=arguments)
            self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        """Kill it if it runs, and forget it."""
        self.kill()
        self._process.join()
        self.stdout.close()


def run(
    words: tuple[str, ...], folder: Path, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as subprocess.run does that captures what it says."""
    said, complained = (folder / f"{name}-of-{words[0]}" for name in ("stdout", "stderr"))
    process = Forked(words, folder, environment, stderr=complained, stdout=said)
    try:
        code = process.wait(timeout)
    finally:
        process.end()
    return subprocess.CompletedProcess(words, code, said.read_text(), complained.read_text())


def _start_forking() -> None:
    """Start what others are forked from; with more than one thread nothing can be forked safely."""
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads


def _become(
    program: Path | None,
    words: tuple[str, ...],
    folder: str,
    environment: Mapping[str, str],
    stdout: Connection | str,
    stderr: str,
) -> None:
    """Be this program from here on."""
    _redirect(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    if isinstance(stdout, str):
        _redirect(os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    else:
        os.dup2(stdout.fileno(), 1)
        stdout.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(program or "knownface"), *words]
    if program is not None:
        runpy.run_path(str(program), run_name="__main__")
        return
    from knownface.cli import main

    main(prog_name="knownface")


def _redirect(source: int, target: int) -> None:
    os.dup2(source, target)
    os.close(source)
