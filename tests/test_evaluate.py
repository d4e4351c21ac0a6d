"""`knownface evaluate`: what it prints and writes, and how it fails."""

from __future__ import annotations

import io
import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import tiny_models
from judges import put, write_csv
from knownface.cli import main, output

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `knownface evaluate` on small real models; without `fails` it must succeed."""
    for name in list(os.environ):
        if name.upper().startswith("KNOWNFACE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    tiny_models.write_models(tmp_path / "data" / "models")
    monkeypatch.setenv("KNOWNFACE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("KNOWNFACE_DETECTOR", tiny_models.DETECTOR)
    monkeypatch.setenv("KNOWNFACE_EMBEDDER", tiny_models.EMBEDDER)
    monkeypatch.setenv("KNOWNFACE_OFFLINE", "true")

    def invoke(*words: str | Path, fails: int = 0) -> Result:
        result = CliRunner().invoke(main, ["evaluate", *map(str, words)])
        assert result.exit_code == fails, (result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = []
    for n in range(8):
        put(tmp_path / "images", f"p{n}/a.png", n, like=(20, 0.4))
        put(tmp_path / "images", f"p{n}/b.png", n)
        rows.append(f"p{n}/a.png,p{n}/b.png,TRUE")
        rows.append(f"p{n}/a.png,p{(n + 1) % 8}/b.png,FALSE")
    return write_csv(tmp_path / "pairs.csv", "file_a,file_b,same", rows)


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def test_a_measurement_is_printed_and_written(run: Run, pairs: Path, tmp_path: Path) -> None:
    result = run("verification", pairs, "--json", tmp_path / "out.json")

    assert "Accuracy" in result.stdout
    assert "100.00 %" in result.stdout
    assert "looking at pictures" in result.stderr
    told = read(tmp_path / "out.json")
    assert (told["kind"], told["accuracy"], told["problems"]) == ("verification", 1, [])
    assert {"tar_at_far", "eer", "not_detected", "model"} <= set(told)
    # Nothing is kept of it.
    assert not (tmp_path / "data" / "knownface.db").exists()


def test_json_alone_goes_to_standard_output(run: Run, pairs: Path) -> None:
    assert json.loads(run("verification", pairs, "--json", "-").stdout)["accuracy"] == 1


def test_bad_rows_are_told_with_their_line_and_do_no_harm(run: Run, pairs: Path) -> None:
    with pairs.open("a") as stream:
        stream.write("gone.png,p0/a.png,1\np0/a.png,p1/a.png,?\n")

    result = run("verification", pairs)

    assert f"Left out: {pairs}, line 18: there is no picture 'gone.png'" in result.stderr
    assert f"Left out: {pairs}, line 19: same is '?'" in result.stderr
    assert "Accuracy" in result.stdout


def test_many_bad_rows_are_counted(run: Run, pairs: Path, tmp_path: Path) -> None:
    with pairs.open("a") as stream:
        stream.write("gone.png,p0/a.png,1\n" * 60)

    result = run("verification", pairs, "--json", tmp_path / "out.json")

    assert "Left out: 10 more" in result.stderr
    assert len(read(tmp_path / "out.json")["problems"]) == 60


def test_nothing_to_measure_is_one_line_and_a_failure(run: Run, tmp_path: Path) -> None:
    labels = write_csv(tmp_path / "pairs.csv", "file_a,file_b,same", ["a.png,b.png,1"])

    result = run("verification", labels, fails=1)

    assert result.stderr.count("Error: ") == 1
    assert "line 2: there is no picture 'a.png'" in result.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("absent.csv",), "does not exist"),
        (("pairs.csv", "--images", "absent"), "does not exist"),
        (("pairs.csv", "--json", "absent/out.json"), "there is no folder absent"),
        (("pairs.csv", "--json", "pairs.csv/out.json"), "there is no folder pairs.csv"),
        (("pairs.csv", "--report", "/proc/out.html"), "Cannot write /proc/out.html"),
        (("pairs.csv", "--embedder", "tiny-detector"), "is no embedder"),
        (("pairs.csv", "--detector", "unheard-of"), "there are: tiny-detector"),
    ],
    ids=["labels", "images", "json", "file as folder", "unwritable report", "task", "name"],
)
def test_a_wrong_word_is_told_before_anything_is_measured(
    run: Run, pairs: Path, words: tuple[str, ...], complaint: str
) -> None:
    assert pairs.exists()
    result = run("verification", *words, fails=2)

    assert complaint in " ".join(result.stderr.split())
    assert "looking at pictures" not in result.stderr


def test_a_file_that_cannot_be_written_is_one_line(run: Run, pairs: Path) -> None:
    result = run("verification", pairs, "--json", "/dev/full", fails=1)

    assert "Error: Cannot write /dev/full" in result.stderr


def test_people_are_looked_for_in_a_gallery(run: Run, tmp_path: Path) -> None:
    for n in range(3):
        put(tmp_path / "gallery", f"p{n}/1.png", n)
        put(tmp_path / "probes", f"p{n}/2.png", n)
    put(tmp_path / "probes", "street.png", 30)

    result = run("identification", "gallery", "probes", "--json", "out.json")

    assert "rank-1" in result.stdout
    told = read(tmp_path / "out.json")
    assert (told["rank1"], told["fnir_at_fpir"]) == (1, {"1e-2": 0})


def test_a_file_whose_name_is_no_text_is_told_like_any_other(run: Run, tmp_path: Path) -> None:
    for n in range(2):
        put(tmp_path / "gallery", f"p{n}/1.png", n)
        put(tmp_path / "probes", f"p{n}/2.png", n)
    try:
        Path(os.fsdecode(b"probes/p0/caf\xe9.jpg")).write_bytes(b"no picture")
    except OSError:
        pytest.skip("this file system takes no such names")

    result = run("identification", "gallery", "probes", "--json", "-", "--report", "out.html")

    assert "Left out: probes/p0/caf" in result.stderr
    assert json.loads(result.stdout)["problems"][0]["file"].startswith("probes/p0/caf")
    assert (tmp_path / "out.html").stat().st_size > 1000


def test_a_calibration_is_written_where_the_next_start_reads_it(
    run: Run, pairs: Path, tmp_path: Path
) -> None:
    file = tmp_path / "data" / "models" / tiny_models.EMBEDDER / "model.toml"
    before = file.read_text("utf-8")

    tried = run("calibrate", pairs, "--dry-run", "--json", "out.json")

    assert file.read_text("utf-8") == before
    assert read(tmp_path / "out.json")["written"] is None
    assert "Nothing was written" in tried.stderr

    done = run("calibrate", pairs, "--steepness", "7.5", "--json", "out.json")

    told, written = read(tmp_path / "out.json"), tomllib.loads(file.read_text("utf-8"))
    assert told["written"] == str(file)
    assert written["calibration"] == told["calibration"]
    assert written["calibration"]["c1"] == 7.5
    assert written.get("fmr", []) == told["fmr"]
    assert "similarity_threshold" in done.stderr
    assert f"smallest rate, {told['fmr'][-1][1]:g}" in done.stderr
    assert "What similarities become" in done.stdout
    # A later command sees pictures by it.
    assert run("calibrate", pairs, "--dry-run", "--json", "-").stdout.count('"c1": 7.5') == 2


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize("table", ["", "\nfmr = [[0.5, 1e-3]]\n"])
def test_a_table_is_not_given_up_for_none(run: Run, tmp_path: Path, table: str) -> None:
    file = tmp_path / "data" / "models" / tiny_models.EMBEDDER / "model.toml"
    lines = file.read_text("utf-8").splitlines()
    before = "\n".join(line for line in lines if not line.startswith("fmr")) + table
    file.write_text(before, "utf-8")
    few = write_csv(
        tmp_path / "few.csv",
        "file_a,file_b,same",
        ["p0/a.png,p0/b.png,1", "p0/a.png,p1/a.png,0"],
    )

    told = run("calibrate", few, fails=1 if table else 0)

    assert "What a similarity means" in told.stdout
    if table:
        assert file.read_text("utf-8") == before
        assert "Nothing was written" in told.stderr
    else:
        assert "max_fmr are refused" in told.stderr


@pytest.mark.parametrize(
    ("command", "columns", "row", "keys"),
    [
        ("detection", "file,x_min,y_min,x_max,y_max", "1.png,64,64,192,192", {"recall"}),
        ("mask", "file,label", "1.png,with_mask", {"balanced_accuracy", "mask_vs_none"}),
        ("age-gender", "file,age,gender", "1.png,30,male", {"age_mae", "gender_accuracy"}),
        ("pose", "file,pitch,yaw,roll", "1.png,0,0,0", {"pose_mae"}),
    ],
)
def test_each_measurement_has_a_table_figures_and_a_report(
    run: Run, tmp_path: Path, command: str, columns: str, row: str, keys: set[str]
) -> None:
    put(tmp_path / "images", "1.png", 1)
    labels = write_csv(tmp_path / "labels.csv", columns, [row, row.replace("1.png", "2.png")])

    result = run(command, labels, "--json", "out.json", "--report", "out.html")

    assert f"Left out: {labels}, line 3: there is no picture '2.png'" in result.stderr
    assert "looking at pictures" in result.stderr
    told = read(tmp_path / "out.json")
    assert keys | {"not_detected", "model", "detector", "versions", "data"} <= set(told)
    assert (told["kind"], len(told["problems"]), told["data"]["faces"]) == (command, 1, 1)
    page = (tmp_path / "out.html").read_text("utf-8")
    assert "labels.csv</h1>" in page
    assert f"<dd>{told['versions']['detector']}</dd>" in page


def test_options_say_how_labels_are_meant(run: Run, tmp_path: Path) -> None:
    put(tmp_path / "images", "1.png", 1)
    write_csv(tmp_path / "ages.csv", "file,age", ["1.png,30"])
    write_csv(tmp_path / "pose.csv", "file,pitch,yaw,roll", ["1.png,0,0,0"])

    run("age-gender", "ages.csv", "--padding", "0.25", "--json", "ages.json")
    run("pose", "pose.csv", "--roll-sign", "opposite", "--json", "pose.json")

    assert read(tmp_path / "ages.json")["padding"] == 0.25
    assert read(tmp_path / "pose.json")["roll_sign"] == -1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_screen_shows_how_fast_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")

    with output.measuring() as progress:
        for done in range(5):
            progress("looking at pictures", done, 4)

    assert "looking at pictures" in screen.getvalue()
    assert "4/4" in screen.getvalue()
