"""The catalogue: what is known of each model, and that only a sound file is ever handed out."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

import tiny_insightface
from knownface.errors import ConfigurationError
from knownface.types import Calibration
from knownface.vision.catalog import PACKAGED, Catalog, ModelSpec
from tiny_carrier import catalog_of, sha256

DOCUMENTATION = Path(__file__).parent.parent / "docs" / "models.md"
SHIPPED = ["yunet", "sface", "dlib-age", "dlib-gender", "mesh", "mask"]
CONTENT = b"weights, or so they say" * 1000
OWN = """
name = "mine"
task = "embedder"
family = "sface"
file = "mine.onnx"
input = "data"
size = [112, 112]
dimension = 512
calibration = { c0 = 1.24, c1 = 6.0 }
"""


@pytest.fixture
def spec() -> ModelSpec:
    return ModelSpec(
        name="some",
        task="detector",
        family="some",
        file="some.onnx",
        input="x",
        sha256=sha256(CONTENT),
        bytes=len(CONTENT),
    )


def load(models_dir: Path) -> Catalog:
    """Load without looking for the package of ready weights, which a developer may have."""
    return Catalog.load(models_dir, bundle="a_package_that_is_not_there")


def put(models_dir: Path, text: str, folder: str = "mine", content: bytes | None = CONTENT) -> Path:
    """Make a user's model folder and return the path of its model.toml."""
    path = models_dir / folder / "model.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text, "utf-8")
    if content is not None:
        (path.parent / "mine.onnx").write_bytes(content)
    return path


# What is shipped


def test_the_shipped_detector_is_yunet(tmp_path: Path) -> None:
    spec = load(tmp_path).spec("yunet")
    assert (spec.task, spec.family, spec.version) == ("detector", "yunet", "yunet-2023mar")
    assert (spec.input, spec.layout, spec.colour, spec.size) == ("input", "NCHW", "BGR", None)
    assert (spec.mean, spec.scale, spec.threads, spec.max_batch) == (0.0, 1.0, 1, 1)
    assert spec.probability == ((0.0, 0.0), (0.7, 0.8), (0.8, 0.9), (0.95, 1.0))


def test_the_shipped_embedder_is_sface(tmp_path: Path) -> None:
    spec = load(tmp_path).spec("sface")
    assert (spec.task, spec.family, spec.version) == ("embedder", "sface", "sface-2021dec")
    assert (spec.input, spec.layout, spec.colour, spec.size) == ("data", "NCHW", "RGB", (112, 112))
    assert (spec.mean, spec.scale, spec.threads, spec.max_batch) == (0.0, 1.0, 1, 1)
    assert (spec.dimension, spec.calibration) == (128, Calibration(1.16, 6.6))
    assert spec.similarity_at(1e-4) == pytest.approx(0.7546, abs=1e-4)


def test_the_shipped_models_of_attributes_are_fed_as_they_were_trained(tmp_path: Path) -> None:
    age, gender, mesh = (load(tmp_path).spec(n) for n in ("dlib-age", "dlib-gender", "mesh"))
    for spec, size in ((age, (64, 64)), (gender, (32, 32))):
        assert (spec.task, spec.input, spec.layout, spec.colour) == (
            "attribute",
            "images",
            "NCHW",
            "RGB",
        )
        assert (spec.size, spec.mean, spec.scale) == (size, (122.782, 117.001, 104.298), 1 / 256)
    assert (mesh.task, mesh.input, mesh.layout, mesh.colour) == (
        "attribute",
        "input_1",
        "NHWC",
        "RGB",
    )
    assert (mesh.size, mesh.mean, mesh.scale) == ((192, 192), 0.0, 1 / 255)


def test_every_shipped_model_is_pinned_and_says_whose_it_is(tmp_path: Path) -> None:
    specs = load(tmp_path).specs()
    assert [spec.name for spec in specs] == SHIPPED
    for spec in specs:
        assert spec.sha256
        assert spec.bytes
        if spec.carrier is None:
            assert (PACKAGED / spec.file).is_file()
        else:
            package = spec.carrier.package.replace("-", "_")
            assert spec.carrier.wheel.startswith(f"{package}-{spec.carrier.version}-")
        assert "unknown" not in (spec.licence, spec.source)


def test_an_unknown_model_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model 'arcface'; known are dlib-age, dlib-"):
        load(tmp_path).spec("arcface")


def test_the_documentation_gives_every_hash_and_every_key(tmp_path: Path) -> None:
    text = DOCUMENTATION.read_text("utf-8")
    for spec in load(tmp_path).specs():
        assert f"`{spec.sha256}`" in text
        if spec.carrier is not None:
            assert f"`{spec.carrier.sha256}`" in text
            assert f"`{spec.carrier.member_sha256}`" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    keys = {key for row in rows for key in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert keys >= {field.name for field in fields(ModelSpec)} - {"carrier"}


def test_the_example_of_the_documentation_is_a_model(tmp_path: Path) -> None:
    one, several = re.findall(r"```toml\n(.*?)```", DOCUMENTATION.read_text("utf-8"), re.DOTALL)
    folder = put(tmp_path, one, "my-arcface").parent
    (folder / "my-arcface.onnx").write_bytes(tiny_insightface.embedder())
    put(tmp_path, several, "several")
    catalog = load(tmp_path)
    spec = catalog.spec("my-arcface")
    assert (spec.dimension, spec.mean) == (512, 127.5)
    assert spec.scale == pytest.approx(1 / 127.5)
    assert catalog.pick("several", "detector").licence == "Apache-2.0"
    assert catalog.pick("several", "attribute").name == "mine-genderage"


# Whether a file may be used


def test_a_sound_file_is_found(tmp_path: Path, spec: ModelSpec) -> None:
    catalog = catalog_of(spec, tmp_path)
    assert catalog.state(spec) == "absent"
    assert catalog.path(spec) is None
    (tmp_path / spec.file).write_bytes(CONTENT)
    assert catalog.state(spec) == "installed"
    assert catalog.path(spec) == tmp_path / spec.file


@pytest.mark.parametrize(
    "broken",
    [b"", CONTENT[:-1], CONTENT + b"\0", CONTENT[:100] + b"?" + CONTENT[101:]],
    ids=["empty", "cut short", "too long", "one byte flipped"],
)
def test_a_damaged_file_is_never_handed_out(tmp_path: Path, spec: ModelSpec, broken: bytes) -> None:
    (tmp_path / spec.file).write_bytes(broken)
    catalog = catalog_of(spec, tmp_path)
    assert catalog.path(spec) is None
    found = catalog.find(spec)
    assert (found.state, found.path) == ("damaged", tmp_path / spec.file)


def test_damage_is_noticed_though_the_file_was_sound_a_moment_ago(
    tmp_path: Path, spec: ModelSpec
) -> None:
    path = tmp_path / spec.file
    path.write_bytes(CONTENT)
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    catalog = catalog_of(spec, tmp_path)
    assert catalog.state(spec) == "installed"
    path.write_bytes(CONTENT[:-1] + b"?")
    os.utime(path, ns=times)  # as a failing disk would: nothing but the content tells
    assert catalog.state(spec) == "damaged"


def test_an_unfinished_file_beside_the_target_is_not_a_model(
    tmp_path: Path, spec: ModelSpec
) -> None:
    (tmp_path / f".{spec.file}.1234.part").write_bytes(CONTENT)
    assert catalog_of(spec, tmp_path).state(spec) == "absent"


# The package of ready weights


def test_the_package_of_ready_weights_comes_first(tmp_path: Path, spec: ModelSpec) -> None:
    catalog = catalog_of(spec, tmp_path / "models", bundle=tmp_path / "bundle")
    for folder in ("models", "bundle"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / spec.file).write_bytes(CONTENT)
    assert catalog.path(spec) == tmp_path / "bundle" / spec.file


def test_weights_that_come_with_the_program_need_no_installation(tmp_path: Path) -> None:
    catalog = load(tmp_path)
    spec = catalog.spec("mask")
    assert catalog.path(spec) == PACKAGED / spec.file
    (tmp_path / spec.file).write_bytes(b"something else of that name")
    assert catalog.path(spec) == PACKAGED / spec.file


def test_damaged_ready_weights_are_passed_over(tmp_path: Path, spec: ModelSpec) -> None:
    catalog = catalog_of(spec, tmp_path / "models", bundle=tmp_path / "bundle")
    for folder, content in (("models", CONTENT), ("bundle", CONTENT[::-1])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / spec.file).write_bytes(content)
    assert catalog.path(spec) == tmp_path / "models" / spec.file
    (tmp_path / "models" / spec.file).unlink()
    assert catalog.find(spec).path == tmp_path / "bundle" / spec.file
    assert catalog.state(spec) == "damaged"


def test_the_package_of_ready_weights_is_found_and_none_of_its_code_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "some_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('code ran')")
    (package / "yunet-2023mar.onnx").write_bytes(b"not it")
    monkeypatch.syspath_prepend(package.parent)
    catalog = Catalog.load(tmp_path / "models", bundle="some_weights")
    found = catalog.find(catalog.spec("yunet"))
    assert (found.state, found.path) == ("damaged", package / "yunet-2023mar.onnx")
    assert "some_weights" not in sys.modules


# A user's own models


def test_a_folder_adds_a_model(tmp_path: Path) -> None:
    put(tmp_path, OWN)
    catalog = load(tmp_path)
    spec = catalog.spec("mine")
    assert [known.name for known in catalog.specs()] == [*SHIPPED, "mine"]
    assert (spec.dimension, spec.calibration) == (512, Calibration(1.24, 6.0))
    assert (spec.version, spec.threads, spec.colour) == ("mine", 1, "RGB")
    assert catalog.path(spec) == tmp_path / "mine" / "mine.onnx"


def test_a_folder_replaces_a_model_by_its_name(tmp_path: Path) -> None:
    put(tmp_path, OWN.replace('name = "mine"', 'name = "sface"'))
    catalog = load(tmp_path)
    assert [known.name for known in catalog.specs()] == SHIPPED
    assert catalog.spec("sface").dimension == 512
    # The shipped model's file would have other weights than the user asked for.
    (tmp_path / "sface-2021dec.onnx").write_bytes(CONTENT)
    assert catalog.path(catalog.spec("sface")) == tmp_path / "mine" / "mine.onnx"


def test_an_own_model_without_a_hash_needs_a_file_that_is_not_empty(tmp_path: Path) -> None:
    folder = put(tmp_path, OWN, content=None).parent
    catalog = load(tmp_path)
    assert catalog.state(catalog.spec("mine")) == "absent"
    (folder / "mine.onnx").write_bytes(b"")
    assert catalog.state(catalog.spec("mine")) == "damaged"
    (folder / "mine.onnx").write_bytes(b"anything")
    assert catalog.state(catalog.spec("mine")) == "installed"


def test_an_own_model_with_a_hash_is_held_to_it(tmp_path: Path) -> None:
    folder = put(tmp_path, f'{OWN}sha256 = "{sha256(CONTENT)}"').parent
    catalog = load(tmp_path)
    assert catalog.state(catalog.spec("mine")) == "installed"
    (folder / "mine.onnx").write_bytes(CONTENT + b"!")
    assert catalog.state(catalog.spec("mine")) == "damaged"


def test_a_folder_without_a_description_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "stuff").mkdir()
    (tmp_path / "stuff" / "some.onnx").write_bytes(CONTENT)
    assert [spec.name for spec in load(tmp_path).specs()] == SHIPPED


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    first = put(tmp_path, OWN, folder="a")
    second = put(tmp_path, OWN, folder="b")
    with pytest.raises(ConfigurationError, match="'mine' is taken by") as caught:
        load(tmp_path)
    assert str(first) in caught.value.message
    assert str(second) in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('task = "embedder"', 'task = "painter"', "task: "),
        ('task = "embedder"', "", "task: "),
        ("dimension = 512", "dimension = 0", "dimension: "),
        ("dimension = 512", "", "an embedder needs size, dimension and calibration"),
        ("dimension = 512", 'dimension = 512\nlayout = "NHWC"', "is fed NCHW"),
        (", c1 = 6.0", "", "calibration.c1: "),
        ("c1 = 6.0", "c1 = 6.0, c2 = 1.0", "calibration.c2: "),
        ('input = "data"', 'input = "data"\nthread = 2', "thread: "),
        ('"mine.onnx"', '"../mine.onnx"', "file: "),
        ('"mine.onnx"', '"/etc/passwd"', "file: "),
        ('name = "mine"', 'name = "My Model"', "name: "),
        ("[112, 112]", "[112]", "size.1: "),
        ("dimension = 512", "dimension = 512\nmean = nan", "mean."),
        ("dimension = 512", "dimension = 512\nmean = [1, 2]", "mean."),
        ("dimension = 512", 'dimension = 512\nsha256 = "abc"', "sha256: "),
        ("dimension = 512", "dimension = 512\nprobability = [[0.5, 0.5], [0.4, 1.0]]", "must rise"),
        ("dimension = 512", "dimension = 512\nprobability = [[0.4, 0.5], [0.5, 0.4]]", "must rise"),
        ("dimension = 512", "dimension = 512\nprobability = [[0.4, 1.5]]", "probability.0.1: "),
        ('name = "mine"', "name = ", "not valid TOML"),
        ("calibration =", 'carrier = "x"\ncalibration =', "carrier: "),
    ],
)
def test_a_description_that_cannot_be_used_is_named_with_its_key(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    assert old in OWN
    path = put(tmp_path, OWN.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    assert caught.value.message.startswith(f"{path}: ")
    assert complaint in caught.value.message
    assert "\n" not in caught.value.message


def test_a_description_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = put(tmp_path, OWN)
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    assert caught.value.message.startswith(f"{path}: cannot be read: ")


def test_a_specification_made_in_code_is_held_to_the_same_rules(spec: ModelSpec) -> None:
    with pytest.raises(ValueError, match="an embedder needs"):
        replace(spec, task="embedder")
