"""An import as a process of its own: killed, stopped, and beside a running server."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

import processes
import tiny_models
from knownface.accounts import Accounts
from knownface.store import Store
from knownface.types import Photograph, ServiceType
from processes import Forked
from sending import BATCH, RECOGNIZE, SUBJECTS, form
from servers import SECONDS, running_server, server_environment, tiny_settings

pytestmark = pytest.mark.e2e

MANY = 80
SMALL = tiny_models.encode(tiny_models.picture([tiny_models.Mark(1, 8, 8, 48)], 64, 64))


@pytest.fixture
def people(tmp_path: Path) -> dict[tuple[str, bytes], Path]:
    """Write many pictures, a few for each subject; each differs from all others."""
    pictures = {}
    for number in range(MANY):
        subject, data = f"Person {number // 4}", SMALL + b"%d" % number
        path = tmp_path / "people" / subject / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        pictures[subject, data] = path
    return pictures


def importing(folder: Path, environment: Mapping[str, str], service: str = "door") -> Forked:
    words = ("import", "people", "--service", service, "--jobs", "2", "--report", "report.csv")
    said, complaints = folder / "said", folder / "complaints"
    return Forked(words, folder, environment, stderr=complaints, stdout=said)


def stored(store: Store) -> Counter[tuple[str, bytes]]:
    """Return what the only service holds: how often each photograph of each subject."""
    found: Counter[tuple[str, bytes]] = Counter()
    with store.snapshot() as tx:
        (service,) = tx.services()
        for one in tx.examples_after(service.id, 0, 10_000):
            photograph = tx.photograph(service.id, one.image_id)
            assert isinstance(photograph, Photograph)
            found[one.subject, photograph.content] += 1
    return found


def wait_for(store: Store, examples: int, process: Forked) -> None:
    with store.snapshot() as tx:
        (service,) = tx.services()
    while True:
        with store.snapshot() as tx:
            if tx.counts(service.id)[1] >= examples:
                return
        assert process.poll() is None, "it ended too early"


def test_an_import_that_is_killed_goes_on_without_loss_and_without_repetition(
    tmp_path: Path, people: dict[tuple[str, bytes], Path], database_url: str
) -> None:
    settings = tiny_settings(tmp_path) | {"KNOWNFACE_DATABASE_URL": database_url}
    environment = server_environment(tmp_path, settings)
    store = Store.open(database_url)
    Accounts(store).create_service("default", "door", ServiceType.RECOGNITION)
    interrupted = 0
    for enough in (1, 50):
        with importing(tmp_path, environment) as process:
            wait_for(store, enough, process)
            process.kill()
            process.wait(SECONDS)
        kept = stored(store)
        assert set(kept) <= set(people)
        assert kept.total() == len(kept)
        interrupted += kept.total() < MANY
    assert interrupted, "no import was interrupted: this showed nothing"
    with importing(tmp_path, environment) as process:
        assert process.wait(SECONDS) == 0, (tmp_path / "complaints").read_text()
    assert stored(store) == Counter(people.keys())
    store.close()


def test_ctrl_c_ends_an_import_in_good_order(
    tmp_path: Path, people: dict[tuple[str, bytes], Path]
) -> None:
    environment = server_environment(tmp_path, tiny_settings(tmp_path))
    store = Store.open(f"sqlite:///{tmp_path / 'data' / 'knownface.db'}")
    Accounts(store).create_service("default", "door", ServiceType.RECOGNITION)
    with importing(tmp_path, environment) as process:
        wait_for(store, 1, process)
        process.send_signal(signal.SIGINT)
        code = process.wait(SECONDS)
    complaints = (tmp_path / "complaints").read_text()
    kept = stored(store)
    store.close()
    assert code == 130, complaints
    assert f"Stopped after {len(kept)} of {MANY}" in complaints
    assert "same command" in complaints
    assert 0 < len(kept) < len(people)
    # What the report says is what there is.
    rows = (tmp_path / "report.csv").read_text().splitlines()[1:]
    assert [row.split(",")[2] for row in rows] == ["added"] * len(kept)


def test_what_is_imported_beside_a_server_is_found_by_the_next_request(
    tmp_path: Path, people: dict[tuple[str, bytes], Path]
) -> None:
    with (
        running_server(tmp_path, tiny_settings(tmp_path)) as server,
        server.client(server.keys["recognition"]) as client,
    ):
        subject, data = next(iter(people))
        assert client.get(SUBJECTS).json() == {"subjects": []}
        empty = client.post(RECOGNIZE, **form(file=data)).json()
        assert empty["result"][0]["subjects"] == []
        with importing(tmp_path, server.environment, "recognition") as process:
            while process.poll() is None:
                client.post(RECOGNIZE, **form(file=data)).raise_for_status()
            assert process.poll() == 0, (tmp_path / "complaints").read_text()
        found = client.post(RECOGNIZE, **form(file=data), params={"prediction_count": MANY})
        names = {one["subject"] for one in found.json()["result"][0]["subjects"]}
        assert names == {name for name, _ in people}
        # And a batch over HTTP knows what the command line added.
        again = client.post(BATCH, data={"subject": subject}, files=[("file", data)])
        assert again.json()["result"][0]["duplicate"] is True


@pytest.mark.usefixtures("people")
def test_pictures_are_sent_to_a_server_without_its_data_folder(tmp_path: Path) -> None:
    (tmp_path / "people" / "broken.png").write_bytes(b"broken")
    (tmp_path / "people" / "Person 0" / "broken.png").write_bytes(b"broken")
    with running_server(tmp_path, tiny_settings(tmp_path)) as server:
        key = server.keys["recognition"]
        elsewhere = server_environment(tmp_path / "elsewhere", {})
        words = ("import", "people", "--url", server.address, "--api-key", key, "--json")
        for kind in ("added", "duplicate"):
            done = processes.run(words, tmp_path, elsewhere, SECONDS)
            assert done.returncode == 1, done
            counts = {kind: number for kind, number in json.loads(done.stdout).items() if number}
            assert counts == {kind: MANY, "unreadable": 1, "invalid": 1}
        with server.client(key) as client:
            assert len(client.get(SUBJECTS).json()["subjects"]) == MANY // 4
    assert not (tmp_path / "elsewhere" / "data").exists()
