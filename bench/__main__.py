"""Measure this machine: `make bench`, or `make bench QUICK=1` for a tenth of it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from bench import bulk, growth, one_picture, resources, restart, search
from bench.results import Results, markdown

# How peers are slowed down from outside: a core type, a size of the cache or a number of threads.
FETTERS = ("OPENBLAS_", "GOTO_", "NVPL_", "BLIS_", "MKL_", "OMP_")
# With it every start would compile our own sources, which an installation has compiled.
UNCOMPILED = "PYTHONDONTWRITEBYTECODE"
ROOT = Path(__file__).resolve().parent.parent
PARTS: Mapping[str, Callable[..., None]] = {
    "pictures": one_picture.measure,
    "search": search.measure,
    "growth": growth.measure,
    "bulk": bulk.measure,
    "restart": restart.measure,
    "resources": resources.measure,
    "graph": search.measure_graph,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure: all")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--models", type=Path, default=ROOT / "knownface-data" / "models")
    parser.add_argument("--portraits", type=Path, default=ROOT / ".cache" / "portraits")
    arguments = parser.parse_args()
    unfetter()
    console = Console()
    results = Results(arguments.quick)
    for name in arguments.parts or PARTS:
        started = time.perf_counter()
        with console.status(f"measuring {name} …"):
            PARTS[name](
                results,
                models=arguments.models,
                portraits=arguments.portraits,
                quick=arguments.quick,
            )
        console.print(f"{name}: {time.perf_counter() - started:.0f} s")
        results.write(ROOT / "bench")  # after each part: a long run that is given up is not lost
    console.print(Markdown(markdown(results.document())))


def unfetter() -> None:
    """Begin anew without variables that hold back what is measured."""
    held_back = (*FETTERS, UNCOMPILED)
    free = {name: value for name, value in os.environ.items() if not name.startswith(held_back)}
    if len(free) < len(os.environ):
        os.execve(sys.executable, sys.orig_argv, free)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
