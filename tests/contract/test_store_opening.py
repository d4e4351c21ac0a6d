"""Opening a database: its tables, its refusals in one clear line, and its failures afterwards."""

from __future__ import annotations

import logging
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

import knownface.store.migrations as migrations
from databases import PostgresServer
from knownface.errors import ConfigurationError, KnownfaceError, Unavailable
from knownface.store import Store
from knownface.store.engines import open_database
from knownface.store.migrations import HEAD, VERSION_TABLE
from knownface.store.tables import metadata
from knownface.types import Service, ServiceType, Threshold
from stored import digest, face, make_service


def refusal(url: str) -> str:
    """Return the one line with which a database is refused."""
    with pytest.raises(ConfigurationError) as refused:
        Store.open(url, busy_timeout=2)
    assert "\n" not in refused.value.message
    return refused.value.message


def test_migrations_make_exactly_the_tables_of_the_program(empty_database_url: str) -> None:
    store = Store.open(empty_database_url)
    with store.begin() as tx:
        context = MigrationContext.configure(
            tx.connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == HEAD
    store.close()


def test_the_newest_step_is_the_one_the_program_knows() -> None:
    steps = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert steps.get_current_head() == HEAD


def first_tables(url: str) -> None:
    """Make the database that the first version of the program made, with an enrolled face."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    moment = "'2026-01-01 00:00:00'"
    rows = [
        f"application (name, name_key, created_at) VALUES ('Acme', :name, {moment})",
        "service (application_id, name, name_key, type, revision, log_floor, created_at) "
        f"VALUES (1, 'door', :name, 'recognition', 1, 0, {moment})",
        f"api_key (service_id, digest, created_at) VALUES (1, :digest, {moment})",
        f"subject (service_id, name, name_key, created_at) VALUES (1, 'Ada', :name, {moment})",
        "example (image_id, service_id, subject_id, model, created_at) "
        f"VALUES (:image_id, 1, 1, 'tiny', {moment})",
        "embedding (example_key, padding, vector) VALUES (1, :nothing, :vector)",
    ]
    values = {
        "name": b"key",
        "digest": digest("key"),
        "image_id": UUID(int=7).hex,
        "nothing": b"",
        "vector": face(1).vector.tobytes(),
    }
    database = open_database(url, 2)
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for row in rows:
            used = {name: value for name, value in values.items() if f":{name}" in row}
            connection.execute(text(f"INSERT INTO {row}"), used)
    database.close()


def test_a_database_of_the_first_version_is_upgraded_with_all_it_holds(
    empty_database_url: str,
) -> None:
    first_tables(empty_database_url)
    store = Store.open(empty_database_url)
    with store.begin() as tx:
        service = tx.service_by_key(digest("key"))
        assert service == Service(1, "Acme", "door", ServiceType.RECOGNITION, threshold=None)
        stored = tx.embedding(service.id, UUID(int=7))
        assert stored is not None
        assert (stored[0].subject, stored[1].vector.tolist()) == ("Ada", face(1).vector.tolist())
        assert stored[1].model == tx.model(service.id) == "tiny"
        assert len(tx.vectors(service.id)) == 1
        tx.add_example(service.id, "Bob", face(2), None)
        seen, _ = tx.browse_subjects(service.id, search="ADA", page=0, size=9)
        assert [one.name for one in seen] == ["Ada"]
        tx.set_threshold(service.id, Threshold(max_fmr=1e-4))
        context = MigrationContext.configure(
            tx.connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []
    store.close()
    again = Store.open(empty_database_url)
    with again.snapshot() as tx:
        (service,) = tx.services()
        assert service.threshold == Threshold(max_fmr=1e-4)
    again.close()


def test_a_look_changes_nothing(empty_database_url: str) -> None:
    assert Store.look(empty_database_url) is None
    Store.open(empty_database_url).close()
    looking = Store.look(empty_database_url)
    assert looking is not None
    with looking.snapshot() as tx:
        assert tx.services() == []
    looking.close()
    with pytest.raises(ConfigurationError):
        Store.look("mysql://localhost/faces")


def test_what_was_written_is_there_when_it_is_opened_again(empty_database_url: str) -> None:
    store = Store.open(empty_database_url)
    service = make_service(store)
    with store.begin() as tx:
        added = tx.add_example(service.id, "Ada", face(1), None)
    store.close()
    again = Store.open(empty_database_url)
    with again.snapshot() as tx:
        assert tx.example(service.id, added.image_id) == added
    again.close()


def test_many_processes_may_open_a_new_database_at_once(empty_database_url: str) -> None:
    program = "import sys; from knownface.store import Store; Store.open(sys.argv[1]).close()"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, empty_database_url], stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for process in processes:
        _, complaint = process.communicate(timeout=60)
        assert (process.returncode, complaint) == (0, b"")


def test_a_database_of_a_newer_version_is_refused(empty_database_url: str) -> None:
    store = Store.open(empty_database_url)
    with store.begin() as tx:
        tx.connection.execute(text("UPDATE schema_version SET version_num = '9999'"))
    store.close()
    message = refusal(empty_database_url)
    assert "newer version" in message
    assert "9999" in message


def test_a_database_of_another_program_is_refused_and_left_alone(empty_database_url: str) -> None:
    store = Store.open(empty_database_url)
    with store.begin() as tx:
        tx.connection.execute(text("DROP TABLE schema_version"))
    store.close()
    assert "another program" in refusal(empty_database_url)


def test_it_answers_a_ping_until_it_is_closed(store: Store) -> None:
    store.ping()
    store.close()
    store.close()
    for use in (
        store.ping,
        lambda: store.begin().__enter__(),
        lambda: store.snapshot().__enter__(),
    ):
        with pytest.raises(Unavailable):
            use()


def test_a_snapshot_refuses_to_write(store: Store) -> None:
    service = make_service(store)
    with pytest.raises(KnownfaceError), store.snapshot() as tx:
        tx.create_subject(service.id, "Ada")
    with store.begin() as tx:
        tx.create_subject(service.id, "Ada")


def test_a_statement_that_the_database_refuses_leaks_neither_driver_nor_values(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    service = make_service(store)
    insert = (
        "INSERT INTO subject (service_id, name, name_key, created_at) "
        "VALUES (:service, 'Ada Lovelace', NULL, '2026-01-01 00:00:00')"
    )
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(KnownfaceError) as refused,
        store.begin() as tx,
    ):
        tx.connection.execute(text(insert), {"service": service.id})
    assert type(refused.value) is KnownfaceError
    assert refused.value.__suppress_context__
    assert "name_key" in caplog.text
    assert "Ada" not in caplog.text + refused.value.message


def test_a_writer_that_waits_too_long_is_told_to_try_again(database_url: str) -> None:
    store, other = Store.open(database_url), Store.open(database_url, busy_timeout=0.1)
    service = make_service(store)
    with store.begin() as tx:
        tx.create_subject(service.id, "Ada")
        with pytest.raises(Unavailable, match="busy"), other.begin() as late:
            late.create_subject(service.id, "Grace")
    with other.begin() as tx:
        tx.create_subject(service.id, "Grace")
    other.close()
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "knownface.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file.db?mode=ro",
        "mysql://root:secret@localhost/faces",
        "postgresql://root:secret@localhost:port/faces",
    ],
)
def test_an_url_of_no_database_is_refused_saying_what_one_looks_like(url: str) -> None:
    message = refusal(url)
    assert "postgresql://user:password@host" in message
    assert "secret" not in message


# SQLite: a file


def test_a_folder_that_is_missing_is_made_and_the_file_is_for_its_owner_only(
    tmp_path: Path,
) -> None:
    file = tmp_path / "some" / "where" / "faces.db"
    Store.open(f"sqlite:///{file}").close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert str(tmp_path) in refusal(f"sqlite:///{tmp_path}/file/faces.db")
    assert str(tmp_path) in refusal(f"sqlite:///{tmp_path}")


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "faces.db"
    file.write_bytes(b"no database at all " * 1000)
    assert "damaged" in refusal(f"sqlite:///{file}")
    assert file.read_bytes() == b"no database at all " * 1000


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "faces.db"
    Store.open(f"sqlite:///{file}").close()
    content = file.read_bytes()
    file.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    assert "damaged" in refusal(f"sqlite:///{file}")


def test_a_full_disk_is_told_as_such_and_spoils_nothing(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/faces.db")
    service = make_service(store)
    with store.begin() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 20}")

    def fill() -> None:
        for number in range(100):
            with store.begin() as tx:
                tx.add_example(service.id, "Ada", face(number), None)

    with pytest.raises(KnownfaceError, match="disk of the database is full"):
        fill()
    with store.begin() as tx:
        subjects, examples = tx.counts(service.id)
        assert (subjects, tx.revision(service.id)) == (1, examples)
        tx.delete_subject(service.id, "Ada")
    store.close()


def test_a_ping_notices_that_the_file_was_taken_away(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/faces.db")
    (tmp_path / "faces.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(Unavailable, match="removed or replaced"):
        store.ping()
    (tmp_path / "faces.db").write_bytes((tmp_path / "elsewhere.db").read_bytes())
    with pytest.raises(Unavailable, match="removed or replaced"):
        store.ping()
    store.close()


def test_a_crash_loses_nothing_that_was_committed_by_the_settings_of_the_file(
    tmp_path: Path,
) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/faces.db")
    with store.begin() as tx:
        found = {
            name: tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    store.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_another_program_that_writes_is_waited_for(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/faces.db")
    intruder = sqlite3.connect(tmp_path / "faces.db", isolation_level=None, check_same_thread=False)
    intruder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, lambda: intruder.execute("COMMIT"))
    release.start()
    make_service(store)
    release.join()
    intruder.close()
    store.close()


def test_a_program_that_keeps_the_new_file_to_itself_is_waited_for(tmp_path: Path) -> None:
    intruder = sqlite3.connect(tmp_path / "faces.db", isolation_level=None, check_same_thread=False)
    intruder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.3, lambda: intruder.execute("ROLLBACK"))
    release.start()
    Store.open(f"sqlite:///{tmp_path}/faces.db").close()
    release.join()
    intruder.close()


def test_a_program_that_never_lets_go_of_the_file_is_given_up(tmp_path: Path) -> None:
    intruder = sqlite3.connect(tmp_path / "faces.db", isolation_level=None)
    intruder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ConfigurationError, match="locked"):
        Store.open(f"sqlite:///{tmp_path}/faces.db", busy_timeout=0.1)
    intruder.close()


# PostgreSQL: a server


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_a_postgresql_url_is_understood(
    postgres_server: PostgresServer, postgres_database: str, scheme: str
) -> None:
    url = postgres_server.url(postgres_database).replace("postgresql", scheme, 1)
    store = Store.open(url.replace("postgres@", "postgres:secret@"))
    store.ping()
    assert store.url_without_password.startswith("postgresql://postgres:***@")
    store.close()


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    message = refusal("postgresql://me:secret@127.0.0.1:1/faces?sslpassword=hidden")
    assert "postgresql://me:***@127.0.0.1:1/faces" in message
    assert "refused" in message
    assert "secret" not in message
    assert "hidden" not in message


def test_a_database_that_does_not_exist_is_refused(postgres_server: PostgresServer) -> None:
    assert re.search("nowhere.*does not exist", refusal(postgres_server.url("nowhere")))


def test_a_user_without_rights_is_told_so(postgres_server: PostgresServer) -> None:
    url = postgres_server.url(postgres_server.create_database())
    postgres_server.execute("CREATE USER guest")
    assert "permission denied" in refusal(url.replace("postgres@", "guest@"))


def test_a_lost_connection_is_told_as_such_and_replaced(
    postgres_server: PostgresServer, postgres_database: str
) -> None:
    store = Store.open(postgres_server.url(postgres_database))
    service = make_service(store)

    def interrupted() -> None:
        with store.begin() as tx:
            tx.create_subject(service.id, "Ada")
            postgres_server.disconnect_all(postgres_database)
            tx.create_subject(service.id, "Grace")

    with pytest.raises(Unavailable, match="cannot be reached"):
        interrupted()
    with store.snapshot() as tx:
        assert tx.subject_names(service.id) == []
    postgres_server.disconnect_all(postgres_database)
    store.ping()
    store.close()


def test_a_database_that_is_up_to_date_opens_without_what_only_others_need(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/faces.db"
    Store.open(url).close()
    program = (
        "import sys; from knownface.store import Store; Store.open(sys.argv[1]).close(); "
        "print([name for name in ('alembic', 'psycopg') if name in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, url], capture_output=True, check=True, text=True
    ).stdout
    assert printed.strip() == "[]"
