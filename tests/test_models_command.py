"""`knownface models` and packs: from a stranger's files to a face that is recognised."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fastapi.testclient import TestClient

import tiny_insightface
import tiny_models
from knownface.api.server import create_server
from knownface.app import build
from knownface.cli import main
from knownface.errors import ModelUnavailable
from knownface.settings import load
from knownface.types import ServiceType
from knownface.vision import packs

Run = Callable[..., Result]
POINTS = np.random.default_rng(106).uniform(-0.9, 0.9, (106, 2))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder without any model, set up by the environment; nothing is fetched."""
    for name in list(os.environ):
        if name.upper().startswith("KNOWNFACE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KNOWNFACE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("KNOWNFACE_OFFLINE", "true")
    return tmp_path / "data"


@pytest.fixture
def run(data: Path) -> Run:
    """Run a command; without `fails` it must succeed."""

    def invoke(*words: str | Path, fails: int = 0, **more: Any) -> Result:
        assert data.parent.is_dir()
        result = CliRunner().invoke(main, [str(word) for word in words], **more)
        assert result.exit_code == fails, (result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name, content in tiny_insightface.buffalo(POINTS).items():
        (folder / name).write_bytes(content)
    return folder


def complaint(result: Result) -> str:
    return result.stderr.splitlines()[-1].removeprefix("Error: ")


def listed(run: Run) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in json.loads(run("models", "list", "--json").stdout)}


# Licences


def test_nothing_is_installed_unless_the_terms_are_accepted(
    run: Run, data: Path, source: Path
) -> None:
    for answer in ("", "n\n", "\n", "perhaps\nno\n"):
        words = ("models", "install", "buffalo_l", "--from", source)
        result = run(*words, fails=1, input=answer)
        assert "non-commercial" in result.stderr
        assert "available for non-commercial\n    research purposes only" in result.stderr
        assert complaint(result).startswith("Nothing was installed: buffalo_l needs its licence")
        assert not (data / "models" / "buffalo_l").exists()


@pytest.mark.parametrize("flag", [True, False], ids=["by a flag", "by an answer"])
def test_the_terms_are_shown_however_they_are_accepted(run: Run, source: Path, flag: bool) -> None:
    more = ["--accept-licence"] if flag else []
    result = run("models", "install", "buffalo_l", "--from", source, *more, input="y\n")
    assert packs.load("buffalo_l").terms in result.stderr
    assert ("Do you accept these terms?" in result.stderr) is not flag
    assert "KNOWNFACE_DETECTOR=buffalo_l KNOWNFACE_EMBEDDER=buffalo_l" in result.stdout
    assert "NOT the published file" in result.stdout


def test_what_a_folder_lacks_is_told(run: Run, source: Path) -> None:
    (source / "genderage.onnx").unlink()
    result = run("models", "install", "buffalo_l", "--from", source, "--accept-licence")
    assert "not there: buffalo_l-genderage (genderage.onnx)\n" in result.stdout
    assert "KNOWNFACE_AGE_MODEL" not in result.stdout


def test_offline_nothing_is_fetched_whatever_was_accepted(run: Run, data: Path) -> None:
    result = run("models", "install", "auraface", "--accept-licence", fails=1)
    assert complaint(result).startswith("KNOWNFACE_OFFLINE is set, so auraface is not fetched")
    assert not (data / "models" / "auraface").exists()


def test_an_installation_of_all_usual_models_touches_no_pack(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("models", "install", "--from", tmp_path / "empty", fails=1)
    assert "yunet" in complaint(result)
    assert listed(run)["buffalo_l"]["state"] == "available"


def test_one_wrong_name_installs_nothing(run: Run, data: Path, source: Path) -> None:
    words = ("models", "install", "buffalo_l", "nosuch", "--accept-licence", "--from", source)
    assert "no model 'nosuch'" in complaint(run(*words, fails=1))
    assert not (data / "models" / "buffalo_l").exists()


# What is there


def test_packs_are_listed_with_their_licences(run: Run, source: Path) -> None:
    before = listed(run)
    assert before["auraface"]["licence"] == "Apache-2.0"
    assert "non-commercial" in before["antelopev2"]["licence"]
    assert (before["buffalo_l"]["state"], before["buffalo_l"]["task"]) == ("available", "pack")
    run("models", "install", "buffalo_l", "--from", source, "--accept-licence")
    after = listed(run)
    assert "buffalo_l" not in after
    assert after["buffalo_l-w600k_r50"]["state"] == "installed"
    assert "non-commercial" in after["buffalo_l-w600k_r50"]["licence"]


def test_an_installed_pack_is_left_alone_and_asks_nothing(run: Run, source: Path) -> None:
    run("models", "install", "buffalo_l", "--from", source, "--accept-licence")
    result = run("models", "install", "buffalo_l")
    assert result.output == "buffalo_l is installed already.\n"


def test_verification_covers_installed_packs_and_names_each_model_once(
    run: Run, data: Path, source: Path
) -> None:
    assert complaint(run("models", "verify", "buffalo_l", fails=1)).startswith(
        "buffalo_l is absent. Run `knownface models install buffalo_l`."
    )
    run("models", "install", "buffalo_l", "--from", source, "--accept-licence")
    run("models", "verify", "buffalo_l")
    weights = data / "models" / "buffalo_l" / "w600k_r50.onnx"
    weights.write_bytes(b"?" * weights.stat().st_size)
    result = run("models", "verify", "buffalo_l", "buffalo_l-w600k_r50", fails=1)
    assert result.output.count("buffalo_l-w600k_r50 is damaged") == 1
    assert complaint(result).endswith("Run `knownface models install buffalo_l`.")
    rows = json.loads(run("models", "verify", "buffalo_l", "--json", fails=1).stdout)
    assert [row["state"] for row in rows] == ["installed", "damaged", "installed", "installed"]
    run("models", "install", "buffalo_l", "--from", source, "--accept-licence")
    run("models", "verify", "buffalo_l")


def test_the_doctor_reports_models_of_attributes_too(
    run: Run, data: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def findings(fails: int) -> dict[str, dict[str, Any]]:
        rows = json.loads(run("doctor", "--json", fails=fails).stdout)
        return {row["what"]: row for row in rows}

    tiny_models.write_models(data / "models")
    run("models", "install", "buffalo_l", "--from", source, "--accept-licence")
    for name in ("DETECTOR", "EMBEDDER", "AGE_MODEL", "GENDER_MODEL"):
        monkeypatch.setenv(f"KNOWNFACE_{name}", "buffalo_l")
    found = findings(0)
    assert found["model buffalo_l-genderage (age, gender)"]["found"].startswith("installed in ")
    assert found["model mesh (landmarks2d106, pose)"]["ok"]
    (data / "models" / "buffalo_l" / "genderage.onnx").write_bytes(b"?")
    wrong = findings(1)["model buffalo_l-genderage (age, gender)"]
    assert wrong["found"].endswith("genderage.onnx: answers lack age, gender")
    assert wrong["advice"] == "knownface models install buffalo_l"
    monkeypatch.setenv("KNOWNFACE_AGE_MODEL", "mesh")
    assert "KNOWNFACE_AGE_MODEL" in findings(1)["models"]["advice"]


def test_a_usual_model_of_an_attribute_that_is_absent_is_told_and_is_nothing_wrong(
    run: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("models", "install", "buffalo_l", "--from", source, "--accept-licence")
    for name in ("DETECTOR", "EMBEDDER"):
        monkeypatch.setenv(f"KNOWNFACE_{name}", "buffalo_l")
    rows = {row["what"]: row for row in json.loads(run("doctor", "--json").stdout)}
    assert rows["model dlib-age (age)"]["found"] == "absent: answers lack age"


# Using it


def test_a_pack_out_of_an_archive_recognises_a_face_over_http(
    run: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = source.parent / "downloads"
    folder.mkdir()
    with zipfile.ZipFile(folder / "buffalo_l.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, path.name)
    run("models", "install", "buffalo_l", "--from", folder, "--accept-licence")
    settings = ("DETECTOR", "EMBEDDER", "AGE_MODEL", "GENDER_MODEL", "LANDMARKS2D106_MODEL")
    for name in settings:
        monkeypatch.setenv(f"KNOWNFACE_{name}", "buffalo_l")
    with build(load({"slots": 1})) as app, TestClient(create_server(app)) as client:
        assert app.settings.embedder == "buffalo_l-w600k_r50"
        _, key = app.accounts.create_service("a", "s", ServiceType.RECOGNITION)
        client.headers["x-api-key"] = key
        for identity, subject in ((1, "Ada"), (2, "Bob")):
            added = client.post(
                f"/api/v1/recognition/faces?subject={subject}",
                files={"file": ("a.png", tiny_models.portrait(identity))},
            )
            assert added.status_code == 201, added.text
        plugins = "calculator,age,gender,landmarks2d106"
        answer = client.post(
            f"/api/v1/recognition/recognize?face_plugins={plugins}&status=true",
            files={"file": ("a.png", tiny_models.portrait(2))},
        ).json()
    (face,) = answer["result"]
    assert face["subjects"][0]["subject"] == "Bob"
    assert face["subjects"][0]["similarity"] > 0.99
    assert len(face["embedding"]) == 512
    assert {side: face["box"][side] for side in ("x_min", "y_min", "x_max", "y_max")} == {
        "x_min": 64,
        "y_min": 64,
        "x_max": 192,
        "y_max": 192,
    }
    assert face["age"]["low"] == face["age"]["high"]
    assert len(face["landmarks"]) == 106
    assert answer["plugins_versions"]["detector"] == "buffalo_l/det_10g"
    assert answer["plugins_versions"]["calculator"] == "buffalo_l/w600k_r50"


def test_a_setting_that_names_a_pack_that_is_not_there_says_how_to_get_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNOWNFACE_EMBEDDER", "auraface")
    (tmp_path / "a.png").write_bytes(tiny_models.portrait(1))
    result = run("detect", tmp_path / "a.png", fails=1)
    assert complaint(result).startswith("KNOWNFACE_EMBEDDER: 'auraface' is no embedder")
    assert "knownface models install auraface" in complaint(result)


@pytest.mark.parametrize("offline", ["true", "false"])
def test_a_start_never_fetches_a_pack(
    run: Run, data: Path, source: Path, monkeypatch: pytest.MonkeyPatch, offline: str
) -> None:
    run("models", "install", "buffalo_l", "--from", source, "--accept-licence")
    (data / "models" / "buffalo_l" / "w600k_r50.onnx").unlink()
    for name in ("DETECTOR", "EMBEDDER"):
        monkeypatch.setenv(f"KNOWNFACE_{name}", "buffalo_l")
    monkeypatch.setenv("KNOWNFACE_OFFLINE", offline)
    app = build(load({"slots": 1}))
    try:
        with pytest.raises(ModelUnavailable, match="run `knownface models install buffalo_l`"):
            app.start()
    finally:
        app.close()
