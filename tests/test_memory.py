from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from knownface import memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")


def resident(kind: str) -> int:
    """Return the resident bytes of this process, anonymous ("Anon") or of files ("File")."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"Rss{kind}"))


@linux
def test_freed_memory_goes_back_to_the_system() -> None:
    kept = [np.ones(1 << 13, np.uint8) for _ in range(10_000)]
    last = kept[-1]
    before = resident("Anon")
    # All but the last: glibc by itself gives back only what lies behind everything in use.
    del kept
    memory.return_freed()
    assert before - resident("Anon") > 40e6
    assert last.all()


@linux
def test_what_threads_freed_goes_back_to_the_system_as_well() -> None:
    program = """
import threading
from pathlib import Path
import numpy as np
from knownface import memory

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))

def work():
    kept = np.ones(8 << 20, np.uint8)
    wait.wait()
    del kept

memory.share_heap()
np.ones(30 << 20, np.uint8)  # from now on glibc expects large blocks, and keeps as much
before = resident()
wait = threading.Barrier(8)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
memory.return_freed()
print(resident() - before)
"""
    grown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert int(grown.stdout) < 2e6


@linux
def test_libraries_work_on_after_their_pages_were_dropped() -> None:
    square = np.arange(90_000, dtype=np.float64).reshape(300, 300)
    expected = square @ square
    before = resident("File")
    memory.return_code()
    assert resident("File") < before
    assert np.array_equal(square @ square, expected)


@linux
def test_code_that_other_processes_run_is_dropped_as_well() -> None:
    program = "import numpy; print(numpy.ones((9, 9)) @ numpy.ones((9, 9)), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        assert other.stdout.readline()
        before = resident_code("_multiarray_umath")
        memory.return_code()
        assert resident_code("_multiarray_umath") < before / 4
        other.communicate(b"\n")


def resident_code(library: str) -> int:
    """Return the resident bytes of a library's code."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    spans = [n for n, line in enumerate(lines) if library in line and " r-xp " in line]
    return sum(
        int(next(line for line in lines[start:] if line.startswith("Rss:")).split()[1]) << 10
        for start in spans
    )


def test_a_system_that_keeps_memory_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.share_heap()
    memory.return_freed()
    memory.return_code()
    monkeypatch.undo()
    monkeypatch.setattr(memory, "_MAPPINGS", Path(os.devnull) / "nowhere")
    memory.return_code()
