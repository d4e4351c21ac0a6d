"""Build the data-only wheel `knownface-models`: `build_models_wheel.py MODELS OUTPUT`.

It carries the verified files of the shipped catalogue with a manifest, NOTICE and licences. Where
it is installed, Knownface finds its weights there before it looks anywhere else.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from knownface.errors import KnownfaceError
from knownface.vision.catalog import BUNDLE, Catalog, ModelSpec

ROOT = Path(__file__).resolve().parent.parent


def build(catalog: Catalog, output: Path) -> Path:
    """Build the wheel of every shipped model into `output` and return its path.

    The same weights give the same wheel, byte for byte. Stops at a model that is not installed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "packaging" / "models", project, ignore=unwanted)
        shutil.copyfile(ROOT / "LICENSE", project / "LICENSES" / "Apache-2.0.txt")
        lay_out(catalog, project / BUNDLE)
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
        built = Path(scratch) / "built"
        subprocess.run([*command, "--directory", str(built)], cwd=project, check=True)
        (wheel,) = built.glob("*.whl")
        output.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(wheel, output / wheel.name))


def lay_out(catalog: Catalog, package: Path) -> None:
    """Copy the verified files and describe them."""
    specs = [spec for spec in catalog.specs() if spec.carrier is not None]
    for spec in specs:
        path = catalog.path(spec)
        if path is None:
            sys.exit(f"{spec.name} is {catalog.state(spec)}: run `knownface models install` first")
        shutil.copyfile(path, package / spec.file)
    manifest = {"models": [description(spec) for spec in specs]}
    (package / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def description(spec: ModelSpec) -> dict[str, object]:
    """Say of a model what somebody who holds only the wheel wants to know."""
    known = ("name", "version", "task", "file", "sha256", "bytes", "licence", "source")
    entry = {key: getattr(spec, key) for key in known}
    if spec.carrier is not None:
        fields = ("package", "version", "sha256", "member", "member_sha256", "conversion")
        entry["carrier"] = {key: getattr(spec.carrier, key) for key in fields}
    return entry


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: build_models_wheel.py MODELS OUTPUT")
    try:
        print(build(Catalog.load(Path(sys.argv[1])), Path(sys.argv[2])))
    except KnownfaceError as error:
        sys.exit(error.message)
