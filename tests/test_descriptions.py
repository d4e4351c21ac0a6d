"""Folders of several models: what a description may say, and how models are picked out of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tiny_insightface
from knownface.errors import ConfigurationError, ModelUnavailable
from knownface.types import Box, Face, Image
from knownface.vision.catalog import Catalog, ModelSpec, read_description, shipped_packs
from knownface.vision.detectors import FAMILIES as DETECTORS
from knownface.vision.embedders import FAMILIES as EMBEDDERS
from knownface.vision.embedders import create_embedder
from knownface.vision.families import KNOWN, NORMALISATIONS, complaint
from knownface.vision.insightface import square_of
from tiny_models import Mark

PACK = """
licence = "Apache-2.0"
source = "a test"

[[model]]
name = "det"
task = "detector"
family = "scrfd"
file = "det.onnx"

[[model]]
name = "emb"
task = "embedder"
family = "arcface"
file = "emb.onnx"
licence = "MIT"
size = [112, 112]
dimension = 512
calibration = { c0 = 1.24, c1 = 6.0 }

[[model]]
name = "ga"
task = "attribute"
family = "genderage"
file = "ga.onnx"
size = [96, 96]
"""


def put(models_dir: Path, text: str = PACK, folder: str = "pack", **files: bytes) -> Path:
    path = models_dir / folder / "model.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text, "utf-8")
    for stem, content in files.items():
        (path.parent / f"{stem}.onnx").write_bytes(content)
    return path


def load(models_dir: Path) -> Catalog:
    return Catalog.load(models_dir, bundle="a_package_that_is_not_there")


# Several models in a folder


def test_a_folder_may_hold_several_models(tmp_path: Path) -> None:
    put(tmp_path, det=tiny_insightface.detector(), emb=tiny_insightface.embedder())
    catalog = load(tmp_path)
    det, emb, ga = (catalog.spec(name) for name in ("det", "emb", "ga"))
    assert [catalog.state(spec) for spec in (det, emb, ga)] == ["installed", "installed", "absent"]
    assert catalog.path(emb) == tmp_path / "pack" / "emb.onnx"


def test_what_stands_above_holds_for_every_model_that_says_nothing_else(tmp_path: Path) -> None:
    det, emb, ga = read_description(put(tmp_path))
    assert [spec.licence for spec in (det, emb, ga)] == ["Apache-2.0", "MIT", "Apache-2.0"]
    assert {spec.source for spec in (det, emb, ga)} == {"a test"}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("dimension = 512", "dimension = 0", ": model emb: dimension: "),
        ('name = "ga"\n', "", ": model 3: name: "),
        ('family = "scrfd"', 'family = "retinaface"', ": model det: family: "),
        ('licence = "MIT"', 'licence = 1\nlicense = "MIT"', ": model emb: "),
        ('name = "emb"', 'name = "det"', "'det' is taken by"),
        ('file = "emb.onnx"', 'carrier = "x"', ": model emb: carrier: "),
        ("[[model]]", "[model]", "not valid TOML"),
    ],
)
def test_a_mistake_is_told_with_the_file_the_model_and_the_key(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    assert old in PACK
    path = put(tmp_path, PACK.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    assert caught.value.message.startswith(str(path))
    assert complaint in caught.value.message


@pytest.mark.parametrize("text", ["model = 3", 'model = ["det"]', '[model]\nname = "x"'])
def test_models_that_are_no_tables_are_refused(tmp_path: Path, text: str) -> None:
    put(tmp_path, text)
    with pytest.raises(ConfigurationError, match=r"model: is no list of tables"):
        load(tmp_path)


# Families


def test_every_family_that_a_description_may_name_has_its_code() -> None:
    assert set(KNOWN["detector"]) == set(DETECTORS)
    assert set(KNOWN["embedder"]) == set(EMBEDDERS)
    assert set(NORMALISATIONS) <= {family for families in KNOWN.values() for family in families}


@pytest.mark.parametrize(
    ("old", "known"),
    [
        ('family = "scrfd"', "scrfd, yunet"),
        ('family = "arcface"', "arcface, sface"),
        ('family = "genderage"', "2d106det, dlib-age, dlib-gender, genderage, mask, mesh, other"),
    ],
)
def test_an_unknown_family_is_refused_with_the_known_ones(
    tmp_path: Path, old: str, known: str
) -> None:
    put(tmp_path, PACK.replace(old, 'family = "nosuch"'))
    with pytest.raises(ConfigurationError, match=f"no family 'nosuch' .*known are {known}"):
        load(tmp_path)


def test_an_embedder_of_an_unknown_family_is_refused_where_it_is_made() -> None:
    spec = ModelSpec(name="x", task="detector", family="nosuch", file="x")
    with pytest.raises(ConfigurationError, match="known are arcface, sface"):
        create_embedder(spec)


# Mean and scale


@pytest.mark.parametrize("normalises", [True, False])
def test_mean_and_scale_are_read_off_the_file(tmp_path: Path, normalises: bool) -> None:
    put(
        tmp_path,
        det=tiny_insightface.detector(),
        emb=tiny_insightface.embedder(normalises=normalises),
        ga=tiny_insightface.genderage(normalises=normalises),
    )
    catalog = load(tmp_path)
    fed = {name: (catalog.spec(name).mean, catalog.spec(name).scale) for name in ("emb", "ga")}
    plain = {"emb": (127.5, 1 / 127.5), "ga": (127.5, 1 / 128)}
    assert fed == ({"emb": (0, 1), "ga": (0, 1)} if normalises else plain)
    assert (catalog.spec("det").mean, catalog.spec("det").scale) == (127.5, 1 / 128)


@pytest.mark.parametrize("given", ["mean = 1.0", "scale = 2.0"])
def test_what_a_description_says_of_them_counts(tmp_path: Path, given: str) -> None:
    text = PACK.replace('family = "arcface"', f'family = "arcface"\n{given}')
    put(tmp_path, text, emb=tiny_insightface.embedder())
    spec = load(tmp_path).spec("emb")
    assert (spec.mean, spec.scale) == ((1.0, 1.0) if "mean" in given else (0.0, 2.0))


@pytest.mark.parametrize("content", [None, b"", b"no network at all"])
def test_a_face_is_never_fed_on_a_guess(tmp_path: Path, content: bytes | None) -> None:
    path = put(tmp_path)
    if content is not None:
        path.with_name("emb.onnx").write_bytes(content)
    spec = load(tmp_path).spec("emb")
    assert (spec.mean, spec.scale) == (None, None)
    face = Face(Box(0.0, 0.0, 128.0, 128.0, 1.0))
    with pytest.raises(ModelUnavailable, match="start the program anew"):
        create_embedder(spec).prepare(Image(Mark(1).pixels), face)


# Picking


@pytest.mark.parametrize(("name", "task"), [("pack", "detector"), ("det", "detector")])
def test_a_folders_name_stands_for_its_one_model_of_a_task(
    tmp_path: Path, name: str, task: str
) -> None:
    put(tmp_path)
    assert load(tmp_path).pick(name, task).name == "det"
    assert load(tmp_path).pick("pack", "embedder").name == "emb"
    assert load(tmp_path).pick("pack", "attribute", ("genderage", "mask")).name == "ga"


def test_a_name_that_does_not_fit_is_answered_with_those_that_do(tmp_path: Path) -> None:
    put(tmp_path)
    catalog = load(tmp_path)
    with pytest.raises(ConfigurationError, match="'emb' is no detector; there are: det, yunet"):
        catalog.pick("emb", "detector")
    with pytest.raises(ConfigurationError, match=r"no attribute \(mask\); there are: mask\."):
        catalog.pick("ga", "attribute", ("mask",))


def test_a_folder_with_two_that_fit_is_answered_with_both(tmp_path: Path) -> None:
    second = PACK[PACK.index('[[model]]\nname = "det"') : PACK.index('[[model]]\nname = "emb"')]
    put(tmp_path, PACK + second.replace('"det"', '"det2"'))
    with pytest.raises(ConfigurationError, match=r"'pack' has several .* there are: det, det2"):
        load(tmp_path).pick("pack", "detector")


@pytest.mark.parametrize("name", ["buffalo_l", "buffalo_l-det_10g"])
def test_a_pack_that_is_not_installed_is_answered_with_how_to_install_it(
    tmp_path: Path, name: str
) -> None:
    assert "buffalo_l" in shipped_packs()
    with pytest.raises(ConfigurationError, match="`knownface models install buffalo_l`"):
        load(tmp_path).pick(name, "detector")


# What a file has to look like


@pytest.mark.parametrize(
    ("family", "shapes", "reason"),
    [
        ("genderage", [(1, 3)], None),
        ("genderage", [(1, 4)], "answers 3 numbers a face, not 4"),
        ("2d106det", [(1, 212)], None),
        ("2d106det", [(1, 3309)], "answers 212 numbers a face, not 3309"),
        ("2d106det", [()], "answers 212 numbers a face, not 0"),
        ("2d106det", [], "answers 212 numbers a face, not 0"),
        ("scrfd", [(1, 8, k) for k in (10, 4, 1)] * 3, None),
        ("scrfd", [(8, k) for k in (1, 1, 1, 4, 4, 4)], "no landmarks"),
        ("scrfd", [(1, 512)], "9 outputs .* not 1"),
        ("arcface", [(1, 7)], None),
        ("other", [], None),
    ],
    ids=str,
)
def test_outputs_tell_whether_a_file_can_be_of_a_family(
    family: str, shapes: list[tuple[int, ...]], reason: str | None
) -> None:
    found = complaint(family, shapes)
    assert (found is None) if reason is None else re.search(reason, found or "")


def test_a_square_network_needs_a_size(tmp_path: Path) -> None:
    for size in ("", "size = [96, 64]"):
        path = put(tmp_path, PACK.replace("size = [96, 96]", size), f"pack{len(size)}")
        with pytest.raises(ConfigurationError, match="needs a size, width equal to height"):
            square_of(read_description(path)[2])
