"""Write the hash-pinned locks in requirements/ from pyproject.toml: `make lock`.

The locks fit every platform and Python that the project supports, and name no address: whoever
installs them does so from the package index that their own pip is set up for. Pins stay as they
are as long as they fit; `make lock UPGRADE=1` moves each to the newest release.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {
    "dev": ["pyproject.toml", "--extra=convert", "--group=dev"],
    "bench": ["pyproject.toml", "--group=bench", "--override=requirements/overrides.in"],
    "sdk": ["--group=sdk"],
}
OPTIONS = [
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-annotate",
    "--no-emit-index-url",
    "--no-config",
    "--custom-compile-command=make lock",
]


def package_index() -> dict[str, str]:
    """Return the environment that makes uv ask the one index that pip is set up for, if any.

    Further indexes and folders of wheels are left out on purpose: they belong to one machine.
    """
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    url = os.environ.get("PIP_INDEX_URL") or found.stdout.strip()
    return {"UV_DEFAULT_INDEX": url} if url else {}


def main(arguments: list[str]) -> int:
    """Write each lock; further arguments (`--upgrade`) go to uv."""
    uv = Path(sys.executable).parent / "uv"
    for name, sources in LOCKS.items():
        output = f"--output-file=requirements/{name}.txt"
        command = [str(uv), "pip", "compile", "--quiet", *sources, *OPTIONS, output, *arguments]
        if subprocess.run(command, cwd=ROOT, env=os.environ | package_index()).returncode:
            return 1
        print(f"requirements/{name}.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
