"""`knownface import` and `export`: what they print, write and return."""

from __future__ import annotations

import csv
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import tiny_models
from databases import with_tables
from knownface.app import App, build
from knownface.cli import main, output
from knownface.recognition import Options
from knownface.settings import Settings
from knownface.types import Service, ServiceType

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_tables: Path) -> Run:
    """Run a command on a data folder with small real models; without `fails` it must succeed."""
    for name in list(os.environ):
        if name.upper().startswith("KNOWNFACE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    tiny_models.write_models(tmp_path / "data" / "models")
    with_tables(tmp_path / "data", sqlite_tables).chmod(0o700)
    monkeypatch.setenv("KNOWNFACE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("KNOWNFACE_DETECTOR", tiny_models.DETECTOR)
    monkeypatch.setenv("KNOWNFACE_EMBEDDER", tiny_models.EMBEDDER)
    monkeypatch.setenv("KNOWNFACE_OFFLINE", "true")

    def invoke(*words: str | Path, fails: int = 0) -> Result:
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == fails, (result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def app(run: Run) -> Iterator[App]:
    """Return a program on the same data folder, as a server beside the command line is."""
    assert run("--version").exit_code == 0
    with build(Settings()) as app:
        yield app


@pytest.fixture
def door(app: App) -> Service:
    return app.accounts.create_service("default", "door", ServiceType.RECOGNITION)[0]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    folder = tmp_path / "people"
    for number, name in enumerate(("Ann/1.png", "Ann/2.png", "Bob/1.png")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny_models.portrait(number))
    return folder


def subjects(app: App, service: Service) -> list[str]:
    return [one.subject for one in app.known_faces.examples(service, None, 0, 1000).examples]


def counts(result: Result) -> dict[str, int]:
    return {kind: number for kind, number in json.loads(result.stdout).items() if number}


def test_a_folder_is_imported_and_told_as_a_table(
    run: Run, app: App, door: Service, people: Path
) -> None:
    text = run("import", people, "--service", "door").stdout
    assert [line.split() for line in text.splitlines() if "added" in line] == [["added", "3"]]
    assert sorted(subjects(app, door)) == ["Ann", "Ann", "Bob"]


def test_a_second_time_adds_nothing_and_is_no_failure(
    run: Run, app: App, door: Service, people: Path
) -> None:
    run("import", people)
    assert counts(run("import", people, "--json", "--jobs", "1")) == {"duplicate": 3}
    assert len(subjects(app, door)) == 3


def test_what_failed_is_told_and_the_exit_code_says_so(
    run: Run, app: App, door: Service, people: Path
) -> None:
    (people / "Bob" / "nobody.png").write_bytes(tiny_models.blank())
    for number in range(12):
        (people / "Bob" / f"broken {number}.png").write_bytes(b"broken")
    result = run("import", people, fails=1)
    assert "Error: 13 of 16 are not in the collection." in result.stderr
    assert result.stderr.count("unreadable. ") + result.stderr.count("no face. ") == 10
    assert "3 more" in result.stderr
    assert len(subjects(app, door)) == 3


@pytest.mark.usefixtures("door")
def test_a_report_tells_of_each_picture_as_csv(run: Run, people: Path, tmp_path: Path) -> None:
    rows = "file,subject\nAnn/1.png,Ann\nnone.png,Zoë\n,Eve\n"
    (people / "list.csv").write_text(rows, "utf-8")
    result = run("import", people / "list.csv", "--report", tmp_path / "report.csv", fails=1)
    assert "line 4" in result.stderr
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as stream:
        told = {row["line"]: row for row in csv.DictReader(stream)}
    assert list(told["2"]) == ["file", "subject", "outcome", "image_id", "message", "line"]
    assert (told["2"]["outcome"], len(told["2"]["image_id"])) == ("added", 36)
    assert (told["3"]["outcome"], told["3"]["subject"]) == ("unreadable", "Zoë")
    assert (told["4"]["outcome"], told["4"]["message"]) == ("invalid", "The line names no file.")


@pytest.mark.usefixtures("door")
def test_a_report_tells_of_each_picture_as_json(run: Run, people: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    os.rename(people / "Bob", people / os.fsdecode(b"B\xffb"))
    run("import", people, "--report", report, fails=1)
    told = json.loads(report.read_text("utf-8"))
    assert sorted(row["outcome"] for row in told) == ["added", "added", "invalid"]
    (tmp_path / "empty").mkdir()
    run("import", tmp_path / "empty", "--report", report)
    assert json.loads(report.read_text("utf-8")) == []


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("name", ["report.txt", "missing/report.csv"])
def test_a_report_that_cannot_be_written_is_refused_before_all(
    run: Run, people: Path, tmp_path: Path, name: str
) -> None:
    result = run("import", people, "--report", tmp_path / name, fails=2)
    assert "--report" in result.stderr


def test_a_dry_run_stores_nothing(run: Run, app: App, door: Service, people: Path) -> None:
    assert "nothing is stored" in run("import", people, "--dry-run").stderr
    assert subjects(app, door) == []


@pytest.mark.usefixtures("door")
def test_settings_count_for_an_import(run: Run, people: Path) -> None:
    small = counts(run("import", people, "--json", "--max-file-size", "100", fails=1))
    assert small == {"too large": 3}
    strict = counts(run("import", people, "--json", "--det-prob-threshold", "1", fails=1))
    assert strict == {"no face": 3}


def test_photographs_are_kept_only_if_they_shall_be(
    run: Run, app: App, door: Service, people: Path
) -> None:
    run("import", people, "--no-save-images-to-db")
    for one in app.known_faces.examples(door, None, 0, 10).examples:
        assert app.known_faces.photograph(door, one.image_id) is None


@pytest.mark.usefixtures("door")
def test_what_ends_an_import_tells_how_to_go_on(run: Run, app: App, people: Path) -> None:
    with app.store.begin() as tx:
        service = tx.services()[0]
        tx.add_example(service.id, "Old", _other_model(), None)
    result = run("import", people, fails=1)
    assert "another model" in result.stderr or "cannot join" in result.stderr
    assert "same command" in result.stderr


def _other_model() -> Any:
    import numpy as np

    from knownface.types import Embedding

    return Embedding(np.eye(1, 8, dtype=np.float32)[0], "another")


@pytest.mark.parametrize("target", ["out", "out.zip"])
def test_an_export_comes_back_by_an_import(
    run: Run, app: App, door: Service, people: Path, tmp_path: Path, target: str
) -> None:
    run("import", people)
    before = app.known_faces.examples(door, None, 0, 10).examples
    text = run("export", "--service", "door", "--to", target, "--embeddings").stdout
    assert "3 photographs of 3 faces" in text
    mode = stat.S_IMODE((tmp_path / target).stat().st_mode)
    assert mode & 0o077 == 0
    app.known_faces.delete_subjects(door)
    assert counts(run("import", target, "--json")) == {"added": 3}
    after = app.known_faces.examples(door, None, 0, 10).examples
    assert {(e.image_id, e.subject) for e in after} == {(e.image_id, e.subject) for e in before}


@pytest.mark.usefixtures("door")
def test_one_subject_may_be_exported(run: Run, people: Path, tmp_path: Path) -> None:
    run("import", people)
    assert "2 photographs of 2 faces" in run("export", "--to", "a.zip", "--subject", "ann").stdout
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert len(archive.namelist()) == 3


@pytest.mark.usefixtures("door")
def test_nothing_is_overwritten_by_an_export(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken.zip").write_bytes(b"mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_bytes(b"mine")
    (tmp_path / "empty").mkdir()
    for target in ("taken.zip", "full", "full/mine"):
        assert "exists already" in run("export", "--to", target, fails=1).stderr
    run("export", "--to", "empty")
    assert (tmp_path / "taken.zip").read_bytes() == b"mine"
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["manifest.csv"]


@pytest.mark.usefixtures("door")
def test_an_export_that_cannot_be_written_says_why(run: Run, tmp_path: Path) -> None:
    assert "Cannot write" in run("export", "--to", "missing/out.zip", fails=1).stderr
    assert not (tmp_path / "missing").exists()


def test_photographs_that_were_not_kept_are_told_of(run: Run, app: App, door: Service) -> None:
    app.recognition.add_example(door, "Ann", tiny_models.portrait(1), Options())
    with app.store.begin() as tx:
        face = app.recognition.prepare(door, tiny_models.portrait(2), Options())[0]
        tx.add_example(door.id, "Bob", face, None)
    result = run("export", "--to", "out")
    assert "1 photographs of 2 faces" in result.stdout
    assert "not kept" in result.stderr


def test_an_unknown_service_is_told_with_those_there_are(
    run: Run, door: Service, people: Path
) -> None:
    for words in (("import", people), ("export", "--to", "out")):
        complaint = run(*words, "--service", "gate", fails=1).stderr
        assert door.name in complaint


def test_far_from_a_screen_a_line_now_and_then_tells_how_it_goes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [0.0]
    with output.counting("Importing", 100, lambda: now[0]) as show:
        for done in range(1, 51):
            now[0] += 1
            show(done)
    with output.counting("Exporting", None, lambda: now[0]) as show:
        now[0] += 20
        show(5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Importing: 10 of 100, 1.0/s, 90 s left"
    assert len(lines) == 6
    assert lines[-1] == "Exporting: 5, 0.2/s"


def test_on_a_screen_a_bar_tells_how_it_goes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with output.counting("Importing", 3) as show:
        for done in range(1, 4):
            show(done)
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("--url", "http://x"),
        ("--api-key", "x"),
        ("--url", "http://x", "--api-key", "x", "--dry-run"),
        ("--url", "http://x", "--api-key", "x", "--service", "door"),
    ],
    ids=["no key", "no address", "a dry run", "a service"],
)
def test_flags_that_contradict_each_other_are_refused(
    run: Run, people: Path, words: tuple[str, ...]
) -> None:
    assert "belong together" in run("import", people, *words, fails=2).stderr


def test_an_address_that_is_none_is_refused(run: Run, people: Path) -> None:
    words = ("--url", "faces.example", "--api-key", "x", "--det-prob-threshold", "0.5")
    assert "no address" in run("import", people, *words, fails=1).stderr
