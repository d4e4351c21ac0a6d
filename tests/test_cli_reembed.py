"""`knownface reembed` and what other commands tell of embedders, beside a program and alone."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import tiny_models
from databases import with_tables
from knownface.app import App, build
from knownface.cli import main
from knownface.recognition import Options
from knownface.settings import Settings
from knownface.types import Reembedding, ReembeddingState, ServiceType, Threshold

EMBEDDER, OTHER = tiny_models.EMBEDDER, tiny_models.OTHER_EMBEDDER
Run = Callable[..., Result]

# Its package calls the command by the same name.
command = import_module("knownface.cli.reembed")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_tables: Path) -> Path:
    """Return a data folder with two embedders and a service that knows two people."""
    for name in list(os.environ):
        if name.upper().startswith("KNOWNFACE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    tiny_models.write_models(folder / "models")
    tiny_models.write_embedder(folder / "models", OTHER, seed=7, fmr=[(0.5, 0.01), (0.9, 0.0001)])
    with_tables(folder, sqlite_tables).chmod(0o700)
    monkeypatch.setenv("KNOWNFACE_DATA", str(folder))
    monkeypatch.setenv("KNOWNFACE_DETECTOR", tiny_models.DETECTOR)
    monkeypatch.setenv("KNOWNFACE_EMBEDDER", EMBEDDER)
    monkeypatch.setenv("KNOWNFACE_OFFLINE", "true")
    monkeypatch.setattr(command, "SECONDS_FOR_A_SERVER", 0.0)
    monkeypatch.setattr(command, "SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr("knownface.background._POLL_SECONDS", 0.01)
    with build(Settings()) as app:
        door, _ = app.accounts.create_service("default", "door", ServiceType.RECOGNITION)
        app.accounts.create_service("default", "cam", ServiceType.DETECTION)
        for number in (1, 2):
            app.recognition.add_example(
                door, f"Person {number}", tiny_models.portrait(number), Options()
            )
    return folder


@pytest.fixture
def run(data: Path) -> Run:
    assert data.is_dir()

    def invoke(*words: str, fails: int = 0, **more: Any) -> Result:
        result = CliRunner().invoke(main, words, **more)
        assert result.exit_code == fails, (result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def server(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """Return a program of the same data folder that takes on work, as a server does."""
    assert data.is_dir()
    monkeypatch.setattr(command, "SECONDS_FOR_A_SERVER", 60.0)
    with build(Settings()) as app:
        app.reembedder.start()
        yield app


def told(run: Run, *words: str) -> Any:
    return json.loads(run("reembed", "door", "--json", *words).stdout)


def complaint(result: Result) -> str:
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return line


def test_alone_the_command_does_the_work(run: Run) -> None:
    done = run("reembed", "door", "--model", OTHER)
    assert "No server is running" in done.stderr
    assert re.search(r"[012] of 2 examples", done.stderr)
    assert done.stdout == f"door (default): embedder {OTHER}\n"
    again = run("reembed", "door", "--model", OTHER)
    assert f"has the embedder {OTHER} already" in again.stderr
    now = told(run, "--status")
    assert (now["embedder"], now["kept_aside"]) == (OTHER, [])
    assert now["change"] == {
        "embedder": OTHER,
        "state": "done",
        "done": 2,
        "total": 2,
        "working": False,
        "failure": None,
    }


class Screen(io.TextIOWrapper):
    """A terminal, to whoever asks."""

    def isatty(self) -> bool:
        return True


def test_on_a_screen_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stderr", Screen(written, "utf-8", write_through=True))
    monkeypatch.setenv("TERM", "xterm")
    begun = Reembedding(1, OTHER, ReembeddingState.RUNNING, 0, 0, working=True, unclean=False)
    with command._progress() as tell:
        for done in range(0, 401, 100):
            tell(replace(begun, done=done, total=400))
    assert "400/400" in written.getvalue().decode()


def test_beside_a_server_the_server_does_it(run: Run, server: App) -> None:
    done = run("reembed", "door", "--model", OTHER)
    assert "No server" not in done.stderr
    (door,) = [one for one in server.accounts.services() if one.name == "door"]
    assert door.embedder == OTHER


def test_asked_for_without_waiting_it_can_be_cancelled(run: Run) -> None:
    asked = told(run, "--model", OTHER, "--no-wait")
    assert (asked["embedder"], asked["change"]["state"]) == (EMBEDDER, "running")
    status = run("reembed", "door", "--status").stdout
    assert f"Change to {OTHER}: running, nobody works on it now, 0 of 2 examples" in status
    assert "Cancelled." in run("reembed", "door", "--cancel").stderr
    assert "nothing to cancel" in run("reembed", "door", "--cancel").stderr
    assert told(run, "--status")["change"]["state"] == "cancelled"


def test_what_is_left_out_is_listed_with_its_reason(run: Run, data: Path) -> None:
    with build(Settings(save_images_to_db=False)) as app:
        door = app.accounts.service("default", "door")
        added = app.recognition.add_example(door, "Zoë", tiny_models.portrait(3), Options())
    done = run("reembed", "door", "--model", OTHER)
    assert "1 examples have no photograph" in done.stderr
    assert "Kept aside: 1" in done.stdout
    assert re.search(rf"{added.image_id} +Zoë +No photograph of it is kept", done.stdout)
    (aside,) = told(run, "--status")["kept_aside"]
    assert aside["image_id"] == str(added.image_id)
    assert data.is_dir()


def test_a_change_that_fails_says_why(run: Run) -> None:
    with build(Settings(save_images_to_db=False)) as app:
        door = app.accounts.service("default", "door")
        app.known_faces.delete_subjects(door)
        app.recognition.add_example(door, "Zoë", tiny_models.portrait(3), Options())
    failed = run("reembed", "door", "--model", OTHER, fails=1)
    assert "Not one example could be embedded" in complaint(failed)
    status = run("reembed", "door", "--status").stdout
    assert "failed, 1 of 1 examples" in status
    assert "Not one example" in status


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("door", "--model", "nosuch"), rf"'nosuch' is no embedder.*{OTHER}"),
        (("door", "--model", tiny_models.DETECTOR), "no embedder"),
        (("door", "--model", "sface"), "sface is absent: run `knownface models install sface`"),
        (("cam", "--model", OTHER), "detection service cam holds no faces"),
        (("gate", "--status"), "gate not found"),
        (("door", "--application", "b", "--status"), "b not found"),
    ],
)
def test_what_cannot_be_is_one_line_that_says_why(
    run: Run, words: tuple[str, ...], said: str
) -> None:
    assert re.search(said, complaint(run("reembed", *words, fails=1)))


@pytest.mark.parametrize("words", [(), ("--status", "--cancel"), ("--model", OTHER, "--status")])
def test_one_thing_is_asked_for_at_a_time(run: Run, words: tuple[str, ...]) -> None:
    assert "Give one of" in run("reembed", "door", *words, fails=2).stderr


def test_a_threshold_that_the_new_model_does_not_know_is_told_before(run: Run, server: App) -> None:
    server.reembedder.stop()
    server.accounts.set_threshold("default", "door", Threshold(max_fmr=0.001))
    run("reembed", "door", "--model", OTHER, "--no-wait")
    run("reembed", "door", "--cancel")
    server.accounts.set_threshold("default", "door", Threshold(max_fmr=1e-6))
    result = run("reembed", "door", "--model", OTHER, "--no-wait", fails=1)
    assert "smallest" in complaint(result)


def test_interrupted_it_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", interrupt)
    result = run("reembed", "door", "--model", OTHER, fails=130)
    assert "Run the same command to go on; --status tells how it stands" in result.stderr
    monkeypatch.setattr(command, "SECONDS_FOR_A_SERVER", 60.0)
    result = run("reembed", "door", "--model", OTHER, fails=130)
    assert "The server goes on with it; --status tells how it stands" in result.stderr


def test_services_are_listed_with_their_embedder(run: Run) -> None:
    run("reembed", "door", "--model", OTHER)
    listed = json.loads(run("service", "list", "--json").stdout)
    assert {one["name"]: one["embedder"] for one in listed} == {"door": OTHER, "cam": None}
    assert re.search(rf"door +recognition +- +{OTHER}", run("service", "list").stdout)
    run("service", "update", "--name", "door", "--max-fmr", "0.001")


def test_pictures_are_looked_up_with_the_embedder_of_the_service(run: Run, tmp_path: Path) -> None:
    run("reembed", "door", "--model", OTHER)
    picture = tmp_path / "portrait.png"
    picture.write_bytes(tiny_models.portrait(1))
    (answer,) = json.loads(
        run("recognize", str(picture), "--service", "door", "--status", "--json").stdout
    )
    assert answer["plugins_versions"]["calculator"] == OTHER
    (subject,) = answer["result"][0]["subjects"]
    assert subject["subject"] == "Person 1"
    assert subject["false_match_rate"] == 0.0001


def test_the_doctor_tells_of_embedders_that_do_not_fit(run: Run, data: Path) -> None:
    assert run("doctor").exit_code == 0
    result = run("doctor", "--embedder", OTHER, fails=1)
    assert f"knownface reembed door --application default --model {OTHER}" in result.stdout
    run("reembed", "door", "--model", OTHER)
    assert re.search(rf"ok +embedder {OTHER} of services +installed", run("doctor").stdout)
    (data / "models" / OTHER / f"{OTHER}.onnx").unlink()
    assert f"Install the model {OTHER}" in run("doctor", fails=1).stdout
