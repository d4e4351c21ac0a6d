"""Packs: what their definitions promise, and that only accepted, sound files get in."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import tiny_insightface
import tiny_models
from file_server import Files, serving
from knownface.errors import ConfigurationError, ModelUnavailable
from knownface.types import Image
from knownface.vision import pack_sources, packs
from knownface.vision.catalog import Catalog, shipped_packs
from knownface.vision.detectors import create_detector
from knownface.vision.pack_sources import Download, Original
from knownface.vision.packs import Pack, install_pack
from knownface.vision.session import Network
from pipelines import pipeline_of
from tiny_carrier import sha256
from tiny_models import Mark, picture

DOCUMENTATION = Path(__file__).parent.parent / "docs" / "models.md"
POINTS = np.random.default_rng(106).uniform(-0.9, 0.9, (106, 2))
PLAIN = frozenset({"http"})


@pytest.fixture(scope="module")
def buffalo() -> Mapping[str, bytes]:
    return tiny_insightface.buffalo(POINTS)


@pytest.fixture
def source(tmp_path: Path, buffalo: Mapping[str, bytes]) -> Path:
    """Return a folder with the files of buffalo_l, as somebody would bring them."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name, content in buffalo.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def pack() -> Pack:
    return packs.load("buffalo_l")


def load(models_dir: Path) -> Catalog:
    return Catalog.load(models_dir, bundle="a_package_that_is_not_there")


def archive(path: Path, files: Mapping[str, bytes], prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(prefix + name, content)
    return path


def leftovers(models_dir: Path) -> list[str]:
    return sorted(path.name for path in models_dir.iterdir() if path.name != ".install.lock")


# What is shipped


@pytest.mark.parametrize("name", shipped_packs())
def test_a_definition_says_whose_it_is_and_where_it_comes_from(name: str) -> None:
    pack = packs.load(name)
    assert pack.title
    assert pack.licence
    assert len(pack.terms.split()) > 30
    assert pack.commercial == ("non-commercial" not in pack.licence)
    assert pack.members
    for download in pack.downloads:
        assert download.url.startswith("https://")
        assert download.sha256
        assert download.bytes
    for member in pack.members:
        assert member.spec.name == name or member.spec.name.startswith(f"{name}-")
        assert (member.spec.pack, member.spec.licence) != ("", "unknown")
        # What is not known is not made up: the archive it comes out of is known.
        assert member.original.sha256 or name == "buffalo_s"


@pytest.mark.parametrize("name", shipped_packs())
def test_the_documents_show_each_pack_with_its_licence_and_hashes(name: str) -> None:
    text, pack = DOCUMENTATION.read_text("utf-8"), packs.load(name)
    assert f"`{name}`" in text
    assert pack.licence in text
    for member in pack.members:
        assert f"`{member.spec.name}`" in text
        assert member.original.sha256 is None or f"`{member.original.sha256}`" in text
    for download in pack.downloads:
        assert f"`{download.sha256}`" in text


def test_these_packs_can_be_installed() -> None:
    assert shipped_packs() == ["antelopev2", "auraface", "buffalo_l", "buffalo_s", "opencv-zoo"]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("title =", "heading =", "heading"),
        ('family = "scrfd"', 'family = "x"', "model buffalo_l-det_10g: family"),
        ("[[download]]\nurl", "[[download]]\naddress", "url"),
    ],
)
def test_a_definition_that_cannot_be_used_is_named(old: str, new: str, complaint: str) -> None:
    text = Path(packs.__file__).with_name("packs").joinpath("buffalo_l.toml").read_text("utf-8")
    assert old in text
    with pytest.raises(ConfigurationError, match=f"packs/buffalo_l.toml.*{complaint}"):
        packs.read(text.replace(old, new), "buffalo_l")


# From a folder


def test_files_that_somebody_brings_become_models(pack: Pack, source: Path, tmp_path: Path) -> None:
    events: list[str] = []
    models = tmp_path / "models"
    received = install_pack(pack, models, source=source, progress=lambda s, *_: events.append(s))
    catalog = load(models)
    assert packs.installed(pack, catalog)
    assert [row.spec.name for row in received] == [
        "buffalo_l-det_10g",
        "buffalo_l-w600k_r50",
        "buffalo_l-genderage",
        "buffalo_l-2d106det",
    ]
    for row in received:
        spec = catalog.spec(row.spec.name)
        content = (source / spec.file).read_bytes()
        assert spec.sha256 == row.sha256 == sha256(content)
        assert spec.bytes == len(content)
        assert (spec.pack, spec.licence) == ("buffalo_l", pack.licence)
    assert "try buffalo_l-det_10g" in events
    assert leftovers(models) == ["buffalo_l"]
    assert not (models / "buffalo_l" / "1k3d68.onnx").exists()


def test_the_terms_that_were_accepted_are_kept_beside_the_files(
    pack: Pack, source: Path, tmp_path: Path
) -> None:
    install_pack(pack, tmp_path, source=source)
    kept = (tmp_path / "buffalo_l" / "LICENCE.txt").read_text("utf-8")
    assert pack.licence in kept
    assert pack.terms in kept


def test_what_is_not_the_published_file_is_recorded_and_told(
    pack: Pack, source: Path, tmp_path: Path
) -> None:
    known = (source / "det_10g.onnx").read_bytes()
    members = [
        replace(one, original=replace(one.original, sha256=digest))
        for one, digest in zip(pack.members, (sha256(known), None, "0" * 64, "1" * 64), strict=True)
    ]
    pack = replace(pack, members=tuple(members))
    notes = [row.note for row in install_pack(pack, tmp_path, source=source)]
    assert notes[0] == "the published file"
    assert notes[1] == "no published SHA-256 is known: recorded as it came"
    assert notes[2].startswith("NOT the published file")
    text = (tmp_path / "buffalo_l" / "model.toml").read_text("utf-8")
    assert "# Published: SHA-256 unknown." in text
    assert "# Published: SHA-256 0000" in text


def test_a_pack_is_recommended_only_to_whoever_lacks_it(
    pack: Pack, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="Or run `knownface models install buffalo_l`"):
        load(tmp_path).pick("buffalo_l", "mask")
    install_pack(pack, tmp_path, source=source)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path).pick("buffalo_l", "mask")
    assert "models install" not in caught.value.message


def test_a_model_changed_after_its_installation_is_never_loaded(
    pack: Pack, source: Path, tmp_path: Path
) -> None:
    install_pack(pack, tmp_path, source=source)
    weights = tmp_path / "buffalo_l" / "w600k_r50.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    catalog = load(tmp_path)
    assert not packs.installed(pack, catalog)
    spec = catalog.spec("buffalo_l-w600k_r50")
    assert catalog.path(spec) is None
    with pytest.raises(ModelUnavailable, match="knownface models install buffalo_l"):
        Network(spec, weights).load()
    install_pack(pack, tmp_path, source=source)
    assert packs.installed(pack, load(tmp_path))


def test_what_was_measured_with_a_file_outlives_its_repair(
    pack: Pack, source: Path, tmp_path: Path
) -> None:
    install_pack(pack, tmp_path, source=source)
    description = tmp_path / "buffalo_l" / "model.toml"
    text = description.read_text("utf-8").replace("c0 = 1.24", "c0 = 1.3")
    text = text.replace("dimension = 512", "dimension = 512\nfmr = [[0.5, 0.1], [0.7, 0.01]]")
    description.write_text(text, "utf-8")
    (tmp_path / "buffalo_l" / "det_10g.onnx").unlink()
    install_pack(pack, tmp_path, source=source)
    spec = load(tmp_path).spec("buffalo_l-w600k_r50")
    assert spec.calibration is not None
    assert (spec.calibration.c0, spec.fmr) == (1.3, ((0.5, 0.1), (0.7, 0.01)))
    (source / "w600k_r50.onnx").write_bytes(tiny_insightface.embedder(normalises=True))
    install_pack(pack, tmp_path, source=source)  # another network: nothing is known of it
    assert load(tmp_path).spec("buffalo_l-w600k_r50").fmr == ()


@pytest.mark.parametrize(
    "prefix", ["", "buffalo_l/", "../../", "/etc/", "C:\\x\\..\\".replace("\\", "/")]
)
def test_an_archive_will_do_wherever_in_it_the_files_lie(
    pack: Pack, buffalo: Mapping[str, bytes], tmp_path: Path, prefix: str
) -> None:
    folder = tmp_path / "in" / "side"
    folder.mkdir(parents=True)
    archive(folder / "buffalo_l.zip", buffalo, prefix)
    before = sorted(tmp_path.rglob("*"))
    install_pack(pack, tmp_path / "in" / "models", source=folder)
    inside = tmp_path / "in" / "models"
    assert packs.installed(pack, load(inside))
    assert [p for p in sorted(tmp_path.rglob("*")) if inside not in (p, *p.parents)] == before


def test_a_folder_as_insightface_keeps_it_will_do(pack: Pack, source: Path, tmp_path: Path) -> None:
    source.rename(tmp_path / "buffalo_l")
    install_pack(pack, tmp_path / "models", source=tmp_path)
    assert packs.installed(pack, load(tmp_path / "models"))


def test_a_folder_without_any_of_the_files_is_answered_with_what_was_looked_for(
    pack: Pack, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelUnavailable) as caught:
        install_pack(pack, tmp_path / "models", source=tmp_path / "empty")
    looked = "looked for det_10g.onnx, buffalo_l/det_10g.onnx, buffalo_l.zip"
    assert looked in caught.value.message
    assert leftovers(tmp_path / "models") == []
    with pytest.raises(ConfigurationError, match="There is no folder"):
        install_pack(pack, tmp_path / "models", source=tmp_path / "nowhere")


def test_some_of_the_files_are_some_of_the_models_and_the_others_may_follow(
    pack: Pack, source: Path, tmp_path: Path
) -> None:
    models, later = tmp_path / "models", tmp_path / "later"
    later.mkdir()
    (source / "genderage.onnx").rename(later / "genderage.onnx")
    (source / "2d106det.onnx").unlink()
    received = install_pack(pack, models, source=source)
    there = ["buffalo_l-det_10g", "buffalo_l-w600k_r50"]
    assert [row.spec.name for row in received] == there
    assert [spec.name for spec in load(models).specs() if spec.pack] == there
    assert not packs.installed(pack, load(models))

    rows = {row.spec.name: row.note for row in install_pack(pack, models, source=later)}
    assert rows["buffalo_l-w600k_r50"] == "there already"
    catalog = load(models)
    here = {spec.name: catalog.state(spec) for spec in catalog.specs() if spec.pack}
    assert here == dict.fromkeys([*there, "buffalo_l-genderage"], "installed")


def test_a_download_lacks_nothing(
    pack: Pack, files: Files, buffalo: Mapping[str, bytes], tmp_path: Path
) -> None:
    pack = served(pack, files, tmp_path, buffalo)
    lacking = {name: content for name, content in buffalo.items() if name != "genderage.onnx"}
    body = archive(tmp_path / "other.zip", lacking).read_bytes()
    files.served["/buffalo_l.zip"] = body
    download = Download(pack.downloads[0].url, sha256(body), len(body))
    with pytest.raises(ModelUnavailable, match=r"genderage\.onnx is not in it"):
        install_pack(replace(pack, downloads=(download,)), tmp_path / "models", schemes=PLAIN)
    assert not (tmp_path / "models" / "buffalo_l").exists()
    (tmp_path / "other.zip").rename(tmp_path / "buffalo_l.zip")
    received = install_pack(pack, tmp_path / "models", source=tmp_path)
    assert len(received) == 3


def test_a_damaged_file_that_nobody_replaces_is_left_out(
    pack: Pack, source: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    install_pack(pack, models, source=source)
    (models / "buffalo_l" / "det_10g.onnx").write_bytes(b"damaged")
    (source / "det_10g.onnx").unlink()
    install_pack(pack, models, source=source)
    assert "buffalo_l-det_10g" not in {spec.name for spec in load(models).specs()}


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda path: path.write_bytes(b"no archive"), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "cannot be read"),
        (lambda path: archive(path, {"other.onnx": b"x"}), "det_10g.onnx is not in it"),
        (
            lambda path: archive(path, {"a/det_10g.onnx": b"x", "b/det_10g.onnx": b"y"}),
            "more than once",
        ),
    ],
    ids=["no archive", "cut short", "without the file", "with two"],
)
def test_an_archive_that_cannot_be_used_is_told(
    pack: Pack, buffalo: Mapping[str, bytes], tmp_path: Path, spoil: object, complaint: str
) -> None:
    assert callable(spoil)
    spoil(archive(tmp_path / "buffalo_l.zip", buffalo))
    with pytest.raises(ModelUnavailable, match=f"buffalo_l.zip cannot .*{complaint}|{complaint}"):
        install_pack(pack, tmp_path / "models", source=tmp_path)
    assert leftovers(tmp_path / "models") == []


def test_an_archive_with_a_damaged_file_is_told(
    pack: Pack, buffalo: Mapping[str, bytes], tmp_path: Path
) -> None:
    path = archive(tmp_path / "buffalo_l.zip", buffalo)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"buffalo_l\.zip cannot be read"):
        install_pack(pack, tmp_path / "models", source=tmp_path)


def test_a_bomb_is_given_up_at_the_limit(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(tmp_path / "buffalo_l.zip", {"det_10g.onnx": bytes(10 << 20)})
    monkeypatch.setattr(pack_sources, "LARGEST", 1 << 20)
    with pytest.raises(ModelUnavailable, match=r"det_10g\.onnx cannot be used: it is larger than"):
        install_pack(pack, tmp_path / "models", source=tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("det_10g.onnx", b"no network", "cannot be loaded"),
        ("det_10g.onnx", tiny_insightface.detector(landmarks=False), "no landmarks"),
        ("w600k_r50.onnx", tiny_insightface.embedder(128), "gives 128 numbers a face, not the 512"),
        ("genderage.onnx", tiny_insightface.mask(), "buffalo_l-genderage"),
        ("2d106det.onnx", tiny_insightface.genderage(), "buffalo_l-2d106det"),
    ],
)
def test_a_file_that_would_not_work_is_not_installed(
    pack: Pack, source: Path, tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    (source / name).write_bytes(content)
    with pytest.raises(ModelUnavailable, match=complaint):
        install_pack(pack, tmp_path / "models", source=source)
    assert leftovers(tmp_path / "models") == []


def test_a_failed_repair_leaves_the_old_files(pack: Pack, source: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    install_pack(pack, models, source=source)
    before = {path.name: path.read_bytes() for path in (models / "buffalo_l").iterdir()}
    (source / "2d106det.onnx").write_bytes(b"no network")
    with pytest.raises(ModelUnavailable):
        install_pack(pack, models, source=source)
    assert {path.name: path.read_bytes() for path in (models / "buffalo_l").iterdir()} == before


def test_a_folder_written_by_hand_is_not_overwritten(
    pack: Pack, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "buffalo_l").mkdir()
    own = 'name = "mine"\ntask = "detector"\nfamily = "scrfd"\nfile = "mine.onnx"\n'
    (tmp_path / "buffalo_l" / "model.toml").write_text(own)
    with pytest.raises(ConfigurationError, match="move the folder away first"):
        install_pack(pack, tmp_path, source=source)
    assert (tmp_path / "buffalo_l" / "model.toml").read_text() == own


def test_what_a_process_left_that_died_is_cleared_away(
    pack: Pack, source: Path, tmp_path: Path
) -> None:
    (tmp_path / ".buffalo_l.new").mkdir()
    (tmp_path / ".buffalo_l.new" / "half.onnx").write_bytes(b"half")
    install_pack(pack, tmp_path, source=source)
    assert "half.onnx" not in {p.name for p in (tmp_path / "buffalo_l").iterdir()}
    assert not (tmp_path / ".buffalo_l.new").exists()


# Over the network


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(Files()) as files:
        yield files


def served(pack: Pack, files: Files, folder: Path, content: Mapping[str, bytes]) -> Pack:
    """Serve an archive, and return the pack as if that were the published one."""
    path = archive(folder / "made.zip", content)
    files.served["/buffalo_l.zip"] = path.read_bytes()
    path.unlink()
    body = files.served["/buffalo_l.zip"]
    download = Download(f"{files.url}/buffalo_l.zip", sha256(body), len(body))
    members = tuple(
        replace(
            one,
            original=replace(
                one.original,
                sha256=sha256(content[one.spec.file]),
                bytes=len(content[one.spec.file]),
            ),
        )
        for one in pack.members
    )
    return replace(pack, downloads=(download,), members=members)


def test_an_archive_is_downloaded_once_and_thrown_away(
    pack: Pack, files: Files, buffalo: Mapping[str, bytes], tmp_path: Path
) -> None:
    pack = served(pack, files, tmp_path, buffalo)
    models, events = tmp_path / "models", set()
    received = install_pack(
        pack, models, schemes=PLAIN, progress=lambda stage, *_: events.add(stage)
    )
    assert {row.note for row in received} == {"the published file"}
    assert len(files.asked) == 1
    assert "fetch buffalo_l.zip" in events
    assert packs.installed(pack, load(models))
    assert leftovers(models) == ["buffalo_l"]


def test_a_download_of_another_hash_installs_nothing(
    pack: Pack, files: Files, buffalo: Mapping[str, bytes], tmp_path: Path
) -> None:
    pack = served(pack, files, tmp_path, buffalo)
    wrong = replace(pack.downloads[0], sha256="0" * 64)
    with pytest.raises(ModelUnavailable, match="not the file that is known"):
        install_pack(replace(pack, downloads=(wrong,)), tmp_path / "models", schemes=PLAIN)
    assert leftovers(tmp_path / "models") == []


def test_a_member_of_another_hash_installs_nothing(
    pack: Pack, files: Files, buffalo: Mapping[str, bytes], tmp_path: Path
) -> None:
    pack = served(pack, files, tmp_path, buffalo)
    first = replace(pack.members[0], original=replace(pack.members[0].original, sha256="0" * 64))
    pack = replace(pack, members=(first, *pack.members[1:]))
    with pytest.raises(ModelUnavailable, match=r"det_10g\.onnx out of http.* is not the file"):
        install_pack(pack, tmp_path / "models", schemes=PLAIN)


def test_a_download_without_a_known_hash_is_trusted_once_and_recorded(
    pack: Pack, files: Files, buffalo: Mapping[str, bytes], tmp_path: Path
) -> None:
    pack = served(pack, files, tmp_path, buffalo)
    download = Download(pack.downloads[0].url)
    unknown = tuple(replace(one, original=Original()) for one in pack.members)
    pack = replace(pack, downloads=(download,), members=unknown)
    received = install_pack(pack, tmp_path, schemes=PLAIN)
    assert {row.note.partition(":")[0] for row in received} == {"no published SHA-256 is known"}
    catalog = load(tmp_path)
    assert all(catalog.spec(row.spec.name).sha256 == row.sha256 for row in received)


def test_a_file_without_a_known_hash_out_of_a_known_archive_is_told_as_that(
    pack: Pack, files: Files, buffalo: Mapping[str, bytes], tmp_path: Path
) -> None:
    pack = served(pack, files, tmp_path, buffalo)
    unknown = tuple(replace(one, original=Original()) for one in pack.members)
    received = install_pack(replace(pack, members=unknown), tmp_path, schemes=PLAIN)
    assert {row.note for row in received} == {"out of the published archive"}


def test_a_download_that_failed_says_how_to_do_without(
    pack: Pack, files: Files, tmp_path: Path
) -> None:
    lost = replace(pack, downloads=(Download(f"{files.url}/buffalo_l.zip"),))
    with pytest.raises(ModelUnavailable) as caught:
        install_pack(lost, tmp_path, schemes=PLAIN)
    assert "answers 404" in caught.value.message
    assert "`knownface models install buffalo_l --from DIR`" in caught.value.message
    assert leftovers(tmp_path) == []


def test_a_download_that_broke_off_goes_on_with_the_next_installation(
    pack: Pack, files: Files, buffalo: Mapping[str, bytes], tmp_path: Path
) -> None:
    pack = served(pack, files, tmp_path, buffalo)
    files.cut = 10_000
    with pytest.raises(ModelUnavailable, match="broke off after 10000"):
        install_pack(pack, tmp_path / "models", schemes=PLAIN)
    install_pack(pack, tmp_path / "models", schemes=PLAIN)
    assert files.asked[-1][1] == "bytes=10000-"
    assert packs.installed(pack, load(tmp_path / "models"))


# The other definitions


@pytest.mark.parametrize("name", ["buffalo_s", "antelopev2", "auraface"])
def test_files_of_the_same_form_fit_each_definition(
    tmp_path: Path, buffalo: Mapping[str, bytes], name: str
) -> None:
    pack = packs.load(name)
    made = {
        "scrfd": buffalo["det_10g.onnx"],
        "arcface": buffalo["w600k_r50.onnx"],
        "genderage": buffalo["genderage.onnx"],
        "2d106det": buffalo["2d106det.onnx"],
    }
    for member in pack.members:
        (tmp_path / member.spec.file).write_bytes(made[member.spec.family])
    install_pack(pack, tmp_path / "models", source=tmp_path)
    assert packs.installed(pack, load(tmp_path / "models"))


def sface_with_inputs() -> bytes:
    """Return an embedder whose file lists its weights as inputs too, as the Zoo's does."""
    model = onnx.load_model_from_string(tiny_models.embedder())
    for item in model.graph.initializer:
        model.graph.input.append(
            onnx.helper.make_tensor_value_info(item.name, item.data_type, list(item.dims))
        )
    return bytes(model.SerializeToString())


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    folder = tmp_path / "zoo"
    folder.mkdir()
    yunet = tiny_models.detector((640, 640))
    (folder / "face_detection_yunet_2023mar.onnx").write_bytes(yunet)
    (folder / "face_recognition_sface_2021dec.onnx").write_bytes(sface_with_inputs())
    return folder


def test_the_zoos_files_are_made_to_take_any_size(zoo: Path, tmp_path: Path) -> None:
    pack = packs.load("opencv-zoo")
    install_pack(pack, tmp_path / "models", source=zoo)
    catalog = load(tmp_path / "models")
    with pipeline_of(catalog, "opencv-zoo", "opencv-zoo") as pipeline:
        mark = Mark(7, 200, 96, 128)
        image = Image(picture([mark], 512, 320))
        (face,) = pipeline.analyze(image, plugins=("calculator",))
        box = (face.box.x_min, face.box.y_min, face.box.x_max, face.box.y_max)
        assert box == pytest.approx(mark.box, abs=0.01)
        assert face.embedding is not None
        assert face.embedding.vector.shape == (128,)
    network = Network(
        catalog.spec("opencv-zoo-yunet"), catalog.path(catalog.spec("opencv-zoo-yunet"))
    )
    tensor, _ = create_detector(catalog.spec("opencv-zoo-yunet")).prepare(image, 640)
    assert tensor.shape == (3, 320, 512)
    assert network.run(tensor[None])[0].shape == (1, 64 * 40, 1)


def test_converting_needs_a_package_that_is_named(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelUnavailable, match="pip install onnx"):
        install_pack(packs.load("opencv-zoo"), tmp_path / "models", source=zoo)


def test_what_cannot_be_converted_is_named(zoo: Path, tmp_path: Path) -> None:
    (zoo / "face_detection_yunet_2023mar.onnx").write_bytes(b"no network")
    with pytest.raises(ConfigurationError, match="opencv-zoo-yunet is no ONNX file"):
        install_pack(packs.load("opencv-zoo"), tmp_path / "models", source=zoo)
