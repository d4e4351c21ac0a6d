"""Build the data-only wheel `knownface-models`: `build_models_wheel.py MODELS OUTPUT`.

It holds the verified files of the shipped catalogue, with NOTICE and licences, and no code. Where
it is installed, Knownface finds its weights there before it looks anywhere else.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from knownface import __version__
from knownface.vision.catalog import BUNDLE, Catalog, ModelSpec

ROOT = Path(__file__).resolve().parent.parent
PROJECT = f"""
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{BUNDLE.replace("_", "-")}"
version = "{__version__}"
description = "The default weights of Knownface, as data"
readme = "README.md"
license = "Apache-2.0 AND MIT"
license-files = ["LICENSE", "NOTICE"]
requires-python = ">=3.11"

[tool.hatch.build.targets.wheel]
packages = ["{BUNDLE}"]
"""


def lay_out(project: Path, specs: Sequence[ModelSpec], catalog: Catalog) -> None:
    """Write the sources of the wheel; stops at the first model whose verified file is not there."""
    package = project / BUNDLE
    package.mkdir()
    (package / "__init__.py").write_text('"""The default weights of Knownface: data only."""\n')
    for spec in specs:
        path = catalog.path(spec)
        if path is None:
            sys.exit(f"{spec.name} is {catalog.state(spec)}: run `knownface models install` first")
        shutil.copyfile(path, package / spec.file)
    for name in ("LICENSE", "NOTICE"):
        shutil.copyfile(ROOT / name, project / name)
        shutil.copyfile(ROOT / name, package / name)
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "README.md").write_text(readme(specs), "utf-8")


def readme(specs: Sequence[ModelSpec]) -> str:
    """Say what the wheel holds and under which licences."""
    lines = ["# Weights of Knownface", "", "Data only; `NOTICE` names the authors.", ""]
    lines += ["| model | file | licence | source | SHA-256 |", "|---|---|---|---|---|"]
    for spec in specs:
        row = (spec.name, f"`{spec.file}`", spec.licence, spec.source, f"`{spec.sha256}`")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join([*lines, ""])


def main(models: Path, output: Path) -> None:
    """Build the wheel of every model that the shipped catalogue can install."""
    catalog = Catalog.load(models)
    specs = [spec for spec in catalog.specs() if spec.carrier is not None]
    with tempfile.TemporaryDirectory() as temporary:
        project = Path(temporary)
        lay_out(project, specs, catalog)
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
        subprocess.run([*build, "--directory", str(output.resolve())], cwd=project, check=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: build_models_wheel.py MODELS OUTPUT")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
