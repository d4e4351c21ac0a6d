"""`knownface service subjects|examples` and `knownface status` do what the page does."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.commands import Run, printed
from faces import code_of
from knownface.accounts import Accounts
from knownface.index.exact import ExactIndex
from knownface.index.kept import KeptIndex, Origin
from knownface.store import Store
from knownface.types import F32, Service, ServiceType
from stored import face, picture

DOOR = ("--name", "door")


@pytest.fixture
def door(store: Store) -> Service:
    """Ada with two examples, one of them with its photograph, and Bob with one."""
    made, _ = Accounts(store).create_service("default", "door", ServiceType.RECOGNITION)
    with store.begin() as tx:
        tx.add_example(made.id, "Ada", face(1), picture(1))
        tx.add_example(made.id, "Ada", face(2), None)
        tx.add_example(made.id, "Bob", face(3), None)
    return made


def held(run: Run) -> dict[str, int]:
    found = printed(run("service", "subjects", "list", *DOOR, "--json"))["subjects"]
    return {one["subject"]: one["examples"] for one in found}


def ids(run: Run, subject: str) -> list[str]:
    listed = run("service", "examples", "list", *DOOR, "--subject", subject, "--json")
    return [one["image_id"] for one in printed(listed)["examples"]]


@pytest.mark.usefixtures("door")
def test_subjects_are_listed_searched_and_paged(run: Run) -> None:
    subjects = ("service", "subjects", "list", *DOOR)
    assert held(run) == {"Ada": 2, "Bob": 1}
    second = printed(run(*subjects, "--page", "1", "--size", "1", "--json"))
    assert second == {
        "subjects": [{"subject": "Bob", "examples": 1}],
        "page": 1,
        "size": 1,
        "total": 2,
    }
    found = run(*subjects, "--search", "ADA").stdout
    assert "Ada" in found
    assert "Bob" not in found
    assert "1 subjects in all" in found


@pytest.mark.usefixtures("door")
def test_renaming_joins_two_subjects_only_when_asked_to(run: Run) -> None:
    rename = ("service", "subjects", "rename", *DOOR, "--subject")
    assert "Ada L." in run(*rename, "Ada", "--to", "Ada L.").stdout
    refused = run(*rename, "Ada L.", "--to", "Bob", fails=1).stderr
    assert "Give --merge to move 2 examples of Ada L." in refused
    assert held(run) == {"Ada L.": 2, "Bob": 1}
    merged = run(*rename, "Ada L.", "--to", "Bob", "--merge", "--json")
    assert printed(merged) == {"updated": True, "merged": True}
    assert held(run) == {"Bob": 3}
    run(*rename, "Nobody", "--to", "Ada", fails=1)
    run(*rename, "Bob", "--to", "..", fails=1)


@pytest.mark.usefixtures("door")
def test_a_subject_is_erased_once_that_is_confirmed(run: Run) -> None:
    delete = ("service", "subjects", "delete", *DOOR, "--subject")
    asked = run(*delete, "Ada", input="n\n", fails=1)
    assert "with 2 examples" in asked.stderr
    assert held(run) == {"Ada": 2, "Bob": 1}
    assert printed(run(*delete, "Ada", "--json", input="y\n")) == {"deleted": "Ada"}
    run(*delete, "Bob", "--yes")
    assert held(run) == {}
    assert "not found" in run(*delete, "Bob", "--yes", fails=1).stderr


@pytest.mark.usefixtures("door")
def test_examples_are_listed_moved_and_erased(run: Run) -> None:
    examples = ("service", "examples")
    listed = printed(run(*examples, "list", *DOOR, "--json"))
    assert listed["total"] == 3
    assert [one["photograph"] for one in listed["examples"]] == [True, False, False]
    assert "yes" in run(*examples, "list", *DOOR).stdout
    first, second = ids(run, "Ada")
    assert printed(run(*examples, "move", *DOOR, "--to", "Cy", first, "--json")) == {"moved": 1}
    assert held(run) == {"Ada": 1, "Bob": 1, "Cy": 1}
    run(*examples, "delete", *DOOR, second, input="n\n", fails=1)
    assert held(run) == {"Ada": 1, "Bob": 1, "Cy": 1}
    assert "Deleted 1 of 1" in run(*examples, "delete", *DOOR, second, "--yes").stdout
    assert held(run) == {"Bob": 1, "Cy": 1}
    gone = run(*examples, "delete", *DOOR, first, second, "--yes", "--json")
    assert printed(gone) == {"deleted": 1}
    run(*examples, "delete", *DOOR, "nonsense", "--yes", fails=2)


def test_an_example_that_is_erased_leaves_the_kept_index(
    run: Run, store: Store, door: Service, tmp_path: Path
) -> None:
    with store.snapshot() as tx:
        stored = tx.vectors(door.id, after_key=0, limit=10)
        revision = tx.revision(door.id)
    index = ExactIndex(stored.matrix.shape[1], threads=1)
    index.add(stored.keys, stored.subjects, stored.matrix)
    kept = KeptIndex(tmp_path / "knownface.db-indexes" / str(door.id))
    with kept.saving() as ready:
        assert ready
        assert kept.save(Origin("tiny", stored.matrix.shape[1], revision, []), index.views())
    kept.close()

    def in_files(vector: F32) -> bool:
        files = [one for one in (tmp_path / "knownface.db-indexes").rglob("*") if one.is_file()]
        return any(code_of(vector) in one.read_bytes() for one in files)

    assert in_files(face(3).vector)
    run("service", "examples", "delete", *DOOR, *ids(run, "Bob"), "--yes")
    assert not in_files(face(3).vector)


def test_only_a_recognition_service_has_subjects(run: Run, store: Store) -> None:
    Accounts(store).create_service("default", "door", ServiceType.DETECTION)
    run("service", "subjects", "list", *DOOR, fails=1)
    run("service", "examples", "list", "--name", "gate", fails=1)


@pytest.mark.usefixtures("door")
def test_the_status_tells_what_the_data_folder_holds(run: Run) -> None:
    told = printed(run("status", "--json"))
    assert (told["database"]["kind"], told["database"]["state"]) == ("sqlite", "current")
    assert told["database"]["bytes"] > 0
    assert told["disk"]["free_bytes"] > 0
    (service,) = told["services"]
    assert (service["service"], service["subjects"], service["examples"]) == ("door", 2, 3)
    tasks = {one["task"] for one in told["models"] if one["required"]}
    assert tasks == {"detector", "embedder"}
    assert "door" in run("status").stdout


def test_the_status_of_an_empty_folder_makes_nothing(run: Run, tmp_path: Path) -> None:
    assert printed(run("status", "--json"))["database"]["state"] == "absent"
    assert list(tmp_path.iterdir()) == []
