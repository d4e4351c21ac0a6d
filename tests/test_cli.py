"""The command line: what it prints, for people and for programs, and how it fails."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image as Pillow

import tiny_models
from databases import with_tables
from knownface.app import App, build
from knownface.cli import main, output
from knownface.recognition import Options
from knownface.settings import Settings, catalogue
from knownface.types import ServiceType, Threshold

Run = Callable[..., Result]

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_tables: Path) -> Path:
    """Return a data folder with small real models, set up by the environment."""
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
    return tmp_path / "data"


@pytest.fixture
def run(data: Path) -> Run:
    """Run a command; without `fails` it must succeed."""
    assert data.is_dir()

    def invoke(*words: str | Path, fails: int = 0, **more: Any) -> Result:
        result = CliRunner().invoke(main, [str(word) for word in words], **more)
        assert result.exit_code == fails, (result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def app(data: Path) -> Iterator[App]:
    """Return a running program of the same data folder, as a server beside the command line is."""
    assert data.is_dir()
    with build(Settings()) as app:
        yield app


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    path = tmp_path / "portrait.png"
    path.write_bytes(tiny_models.portrait(1))
    return path


def printed(result: Result) -> Any:
    return json.loads(result.stdout)


def complaint(result: Result) -> str:
    """Return the one line of an error."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert result.stderr.rstrip().endswith(lines[0])
    return lines[0].removeprefix("Error: ")


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_has_help(run: Run, path: tuple[str, ...]) -> None:
    text = run(*path, "--help").stdout
    assert len(text.splitlines()[2].strip()) > 20


GROUPS = {path[:-1] for path in commands()}
OF_DATA = [path for path in commands() if path not in GROUPS]


@pytest.mark.parametrize("path", OF_DATA, ids=" ".join)
def test_every_command_takes_the_data_folder(run: Run, path: tuple[str, ...]) -> None:
    assert "--data FOLDER" in run(*path, "--help").stdout


def test_the_help_teaches_by_example(run: Run) -> None:
    text = run("--help").stdout
    assert "knownface serve" in text
    assert "curl" in text


def test_serve_has_a_flag_for_every_setting(run: Run) -> None:
    text = run("serve", "--help").stdout
    for setting in catalogue():
        assert setting.flag in text
        assert setting.variable in text


def test_the_version_is_told(run: Run) -> None:
    assert re.fullmatch(r"knownface, version \d+\.\d+\.\d+\n", run("--version").stdout)


def test_a_service_is_created_as_json_for_programs(run: Run, app: App) -> None:
    made = printed(run("service", "create", "--type", "recognition", "--name", "door", "--json"))
    assert list(made) == ["application", "name", "type", "api_key"]
    assert (made["application"], made["name"], made["type"]) == ("default", "door", "recognition")
    service = app.accounts.authorize(made["api_key"], ServiceType.RECOGNITION)
    assert service.name == "door"


def test_a_service_is_created_as_a_table_for_people(run: Run, app: App) -> None:
    words = ("--type", "detection", "--name", "cam", "--application", "home")
    text = run("service", "create", *words).stdout
    found = UUID.search(text)
    assert found
    assert app.accounts.authorize(found[0], ServiceType.DETECTION).application == "home"


def test_a_key_of_the_operators_own_is_used(run: Run, app: App) -> None:
    key = "00000000-0000-4000-8000-000000000002"
    run("service", "create", "--type", "verification", "--name", "v", "--key", key)
    assert app.accounts.authorize(key, ServiceType.VERIFICATION).name == "v"


def test_the_list_of_services_holds_no_key(run: Run, app: App) -> None:
    assert run("service", "list", "--json").stdout == "[]\n"
    assert "no service yet" in run("service", "list").stdout
    app.accounts.bootstrap()
    listed = printed(run("service", "list", "--json"))
    assert {one["type"] for one in listed} == {"recognition", "detection", "verification"}
    assert {tuple(one) for one in listed} == {
        (
            *("application", "name", "type", "similarity_threshold", "max_fmr"),
            *("embedder", "save_images"),
        )
    }
    text = run("service", "list").stdout
    assert "verification" in text
    assert not UUID.search(text)


def test_a_rotated_key_replaces_the_old_one(run: Run, app: App) -> None:
    old = app.accounts.create_service("home", "door", ServiceType.RECOGNITION)[1]
    words = ("--application", "home", "--name", "door", "--json")
    new = printed(run("service", "rotate-key", *words))["api_key"]
    assert app.accounts.authorize(new, ServiceType.RECOGNITION).name == "door"
    assert old != new


def test_the_threshold_of_a_service_is_set_shown_and_taken_away(run: Run, app: App) -> None:
    def listed() -> Any:
        (one,) = printed(run("service", "list", "--json"))
        return one["similarity_threshold"], one["max_fmr"]

    named = ("--name", "door")
    run("service", "create", "--type", "recognition", *named, "--similarity-threshold", "0.75")
    assert listed() == (0.75, None)
    assert "similarity 0.75" in run("service", "list").stdout
    shown = run("service", "update", *named, "--max-fmr", "1e-4", "--embedder", "sface").stdout
    assert "false match rate 0.0001" in shown
    assert listed() == (None, 1e-4)
    changed = printed(run("service", "update", *named, "--no-threshold", "--json"))
    assert (changed["similarity_threshold"], changed["max_fmr"]) == listed() == (None, None)
    assert app.accounts.service("default", "door").threshold is None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "one of --similarity-threshold, --max-fmr and --no-threshold"),
        (("--max-fmr", "0.1", "--no-threshold"), 2, "one of --similarity-threshold"),
        (("--max-fmr", "0.1", "--similarity-threshold", "0.5"), 2, "one of --similarity-threshold"),
        (("--similarity-threshold", "1.5"), 2, "--similarity-threshold"),
        (("--similarity-threshold", "nan"), 2, "between 0 and 1"),
        (("--max-fmr", "0"), 2, "--max-fmr"),
        (("--max-fmr", "1e-4"), 1, "no table of false match rates"),
        (("--max-fmr", "1e-9", "--embedder", "sface"), 1, "supports is 9.65e-07"),
        (("--similarity-threshold", "0.5"), 1, "only a recognition service has a threshold"),
    ],
)
def test_a_threshold_that_cannot_be_set_is_told_so_in_one_line(
    run: Run, app: App, words: tuple[str, ...], code: int, message: str
) -> None:
    app.accounts.create_service("default", "cam", ServiceType.DETECTION)
    result = run("service", "update", "--name", "cam", *words, fails=code)
    assert message in " ".join(complaint(result).split())
    (one,) = printed(run("service", "list", "--json"))
    assert (one["similarity_threshold"], one["max_fmr"]) == (None, None)


def test_a_service_with_an_impossible_threshold_is_not_created(run: Run, app: App) -> None:
    words = ("service", "create", "--type", "verification", "--name", "v")
    run(*words, "--similarity-threshold", "0.5", fails=1)
    both = ("--similarity-threshold", "0.5", "--max-fmr", "0.1")
    assert "either" in complaint(run(*words, *both, fails=2))
    assert app.accounts.services() == []


def test_whoever_does_not_reach_the_threshold_of_the_service_is_unknown(
    run: Run, app: App, portrait: Path
) -> None:
    service, _ = app.accounts.create_service(
        "default", "door", ServiceType.RECOGNITION, threshold=Threshold(0.3)
    )
    app.recognition.add_example(service, "Ada", tiny_models.portrait(1), Options())
    portrait.write_bytes(tiny_models.portrait(1, like=(3, 0.72)))  # a similarity of about 0.41

    def subjects(*words: str) -> list[object]:
        (answer,) = printed(run("recognize", portrait, "--json", *words))
        return [found["subject"] for found in answer["result"][0]["subjects"]]

    assert subjects() == ["Ada"]
    assert "unknown" not in run("recognize", portrait).stdout
    assert subjects("--threshold", "0.6") == []
    assert "unknown" in run("recognize", portrait, "--threshold", "0.6").stdout


def test_deleting_a_service_asks_for_its_name_first(run: Run, app: App) -> None:
    app.accounts.create_service("default", "door", ServiceType.RECOGNITION)
    for typed in ("y", "gate"):
        run("service", "delete", "--name", "door", input=f"{typed}\n", fails=1)
    assert app.accounts.services()
    deleted = run("service", "delete", "--name", "door", "--json", input="door\n")
    assert printed(deleted) == {"application": "default", "deleted": "door"}
    assert not app.accounts.services()
    app.accounts.create_service("default", "door", ServiceType.RECOGNITION)
    run("service", "delete", "--name", "door", "--yes")
    assert not app.accounts.services()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("service", "delete", "--name", "x", "--yes"), "Application default not found"),
        (
            ("service", "create", "--type", "detection", "--name", "x", "--key", "secret"),
            "Service API key should be UUID",
        ),
        (("models", "install", "faceface"), "There is no model 'faceface'"),
        (("models", "verify", "sface"), "sface is absent. Run `knownface models install`."),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(
    run: Run, words: tuple[str, ...], message: str
) -> None:
    assert complaint(run(*words, fails=1)).startswith(message)


def test_two_services_of_one_name_are_refused(run: Run) -> None:
    words = ("service", "create", "--type", "detection", "--name", "cam")
    run(*words)
    assert "cam" in complaint(run(*words, fails=1))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("KNOWNFACE_PROT", "1"), ("KNOWNFACE_PORT", "x"), ("MAX_FILE_SIZE", "big")],
)
@pytest.mark.parametrize("command", [("serve",), ("service", "list"), ("doctor",)], ids=" ".join)
def test_a_bad_setting_is_one_line_and_exit_code_2(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv(variable, value)
    result = run(*command, fails=2)
    assert variable in complaint(result)
    assert result.stdout == ""


def test_a_misspelt_flag_is_a_usage_error(run: Run) -> None:
    assert "--prot" in run("serve", "--prot", "1", fails=2).stderr


def test_the_unforeseen_is_one_line_too(run: Run, data: Path) -> None:
    (data / "knownface.db").unlink()
    (data / "knownface.db").mkdir()
    assert complaint(run("service", "list", fails=1))


def test_models_are_listed_with_state_and_licence(run: Run) -> None:
    rows = {row["name"]: row for row in printed(run("models", "list", "--json"))}
    assert rows[tiny_models.DETECTOR]["state"] == "installed"
    assert rows["sface"]["state"] == "absent"
    assert rows["yunet"]["licence"] == "MIT"
    assert "Apache-2.0" in run("models", "list").stdout


def test_sound_models_pass_and_damaged_ones_do_not(run: Run, data: Path) -> None:
    run("models", "verify", tiny_models.DETECTOR)
    weights = data / "models" / tiny_models.DETECTOR / f"{tiny_models.DETECTOR}.onnx"
    weights.write_bytes(b"x" * weights.stat().st_size)
    result = run("models", "verify", tiny_models.DETECTOR, fails=1)
    assert f"{tiny_models.DETECTOR} is damaged" in complaint(result)


def test_faces_are_detected_without_a_server(run: Run, tmp_path: Path) -> None:
    group = tmp_path / "group.png"
    group.write_bytes(tiny_models.group([1, 2, 3]))
    (answer,) = printed(
        run("detect", group, "--limit", "2", "--plugins", "landmarks", "--status", "--json")
    )
    assert answer["file"] == str(group)
    assert [len(face["landmarks"]) for face in answer["result"]] == [5, 5]
    assert "detector" in answer["plugins_versions"]
    table = run("detect", group).stdout
    assert table.count(str(group)) == 3


def test_people_are_recognised_beside_a_running_server(run: Run, app: App, portrait: Path) -> None:
    service, _ = app.accounts.create_service("default", "door", ServiceType.RECOGNITION)
    app.recognition.add_example(service, "[Ada]", tiny_models.portrait(1), Options())
    (answer,) = printed(run("recognize", portrait, "--json"))
    assert [found["subject"] for found in answer["result"][0]["subjects"]] == ["[Ada]"]
    assert "[Ada]" in run("recognize", portrait).stdout
    stranger = portrait.with_name("stranger.png")
    stranger.write_bytes(tiny_models.portrait(2))
    assert "unknown" in run("recognize", stranger).stdout


def test_with_several_collections_the_service_has_to_be_named(
    run: Run, app: App, portrait: Path
) -> None:
    assert "service create" in complaint(run("recognize", portrait, fails=1))
    for name in ("door", "gate"):
        app.accounts.create_service("default", name, ServiceType.RECOGNITION)
    message = complaint(run("recognize", portrait, fails=1))
    assert "door" in message
    assert "gate" in message
    assert "unknown" in run("recognize", portrait, "--service", "gate").stdout
    assert "'attic'" in complaint(run("recognize", portrait, "--service", "attic", fails=1))


def test_two_pictures_are_compared(run: Run, portrait: Path) -> None:
    other = portrait.with_name("other.png")
    other.write_bytes(tiny_models.group([1, 2]))
    (answer,) = printed(run("verify", portrait, other, "--json"))
    similarities = [face["similarity"] for face in answer["result"][0]["face_matches"]]
    assert similarities[0] > 0.99
    assert similarities[1] < 0.5
    text = run("verify", portrait, other).stdout
    assert "same person" in text
    assert "different" in text


def test_a_picture_that_fails_does_not_keep_the_others_from_being_answered(
    run: Run, portrait: Path
) -> None:
    blank = portrait.with_name("blank.png")
    blank.write_bytes(tiny_models.blank())
    broken = portrait.with_name("broken.png")
    broken.write_bytes(b"no picture")
    result = run("detect", blank, broken, portrait, "--json", fails=1)
    first, second, third = printed(result)
    assert (first["code"], second["code"]) == (28, 21)
    assert len(third["result"]) == 1
    message = complaint(result)
    assert "blank.png" in message
    assert "broken.png" in message


def test_a_file_that_is_not_there_is_a_usage_error(run: Run) -> None:
    assert "nothing.png" in run("detect", "nothing.png", fails=2).stderr


def test_an_annotated_picture_has_the_size_of_the_original(run: Run, portrait: Path) -> None:
    for name in ("out.png", "out.jpg", "out.webp"):
        out = portrait.with_name(name)
        run("detect", portrait, "--annotate", out)
        with Pillow.open(out) as drawn, Pillow.open(portrait) as original:
            assert drawn.size == original.size
            assert drawn.convert("RGB").tobytes() != original.convert("RGB").tobytes()


def test_annotated_pictures_of_several_files_go_into_a_folder(run: Run, tmp_path: Path) -> None:
    files = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "one.png")
        files[-1].write_bytes(tiny_models.portrait(1))
    run("detect", *files, "--annotate", tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_an_annotated_picture_of_an_unknown_kind_is_refused_before_any_work(
    run: Run, portrait: Path
) -> None:
    result = run("detect", portrait, "--annotate", portrait.with_name("out.txt"), fails=2)
    assert ".png" in result.stderr
    assert result.stdout == ""


def test_the_database_is_migrated_on_its_own(run: Run, data: Path) -> None:
    assert "up to date" in run("migrate").stdout
    assert (data / "knownface.db").is_file()


def test_the_doctor_finds_a_sound_installation_sound_and_changes_nothing(
    run: Run, data: Path
) -> None:
    before = sorted(data.rglob("*"))
    findings = printed(run("doctor", "--json"))
    assert {finding["ok"] for finding in findings} == {True}
    assert sorted(data.rglob("*")) == before
    run("migrate")
    assert "ok" in run("doctor").stdout


def test_the_doctor_tells_the_threads_that_were_measured_or_set(run: Run, data: Path) -> None:
    assert "threads of" not in run("doctor").stdout
    timing = {"fingerprint": "x", "threads": 2, "one_ms": 10.0, "all_ms": 5.0}
    (data / "threads.json").write_text(json.dumps({tiny_models.EMBEDDER: timing}))
    told = {row["what"]: row["found"] for row in printed(run("doctor", "--json"))}
    said = "2 threads where nothing else runs (1: 10.0 ms, 2: 5.0 ms)"
    assert told[f"threads of {tiny_models.EMBEDDER}"] == said
    assert "1 where nothing else runs, as set" in run("doctor", "--threads", "1").stdout


def test_the_doctor_names_what_is_wrong_and_what_to_do(run: Run, data: Path) -> None:
    weights = data / "models" / tiny_models.EMBEDDER / f"{tiny_models.EMBEDDER}.onnx"
    weights.unlink()
    database = data / "knownface.db"
    database.write_bytes(b"not a database at all" * 100)
    database.chmod(0o644)
    assert f"chmod 600 {database}" in run("doctor", fails=1).stdout
    database.chmod(0o600)
    result = run("doctor", fails=1)
    assert f"knownface models install {tiny_models.EMBEDDER}" in result.stdout
    wrong = [
        finding["what"]
        for finding in printed(run("doctor", "--json", fails=1))
        if not finding["ok"]
    ]
    assert wrong == [f"model {tiny_models.EMBEDDER}", "database"]


class Screen(io.StringIO):
    """A standard error that somebody looks at."""

    def isatty(self) -> bool:
        return True


def test_an_installation_shows_a_bar_on_a_screen_and_lines_in_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with output.progress() as report:
        for done in (0, 1, 2):
            report("fetch weights", done, 2)
    assert capsys.readouterr().err == "fetch weights …\n"
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with output.progress() as report:
        report("fetch weights", 0, 2 << 20)
        report("fetch weights", 2 << 20, 2 << 20)
        report("wait for another installation", 0, 0)
    assert "fetch weights" in screen.getvalue()
    assert "2.1/2.1 MB" in screen.getvalue()


def test_a_fresh_data_folder_is_the_owners_alone_whoever_makes_it(run: Run, tmp_path: Path) -> None:
    new = tmp_path / "new"
    run("models", "install", "sface", "--from", tmp_path, "--data", new, fails=1)
    assert new.stat().st_mode & 0o777 == 0o700


def test_output_into_a_closed_pipe_ends_quietly(data: Path) -> None:
    assert data.is_dir()
    command = f"{sys.executable} -m knownface models list | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)  # noqa: S602 - a pipe is what is tested
    assert "Traceback" not in done.stderr
