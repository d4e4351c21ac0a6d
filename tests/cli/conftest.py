"""Commands run in this process on a data folder of the test's own, and the database beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.commands import Run
from databases import with_tables
from knownface.cli import main, services
from knownface.store import Store


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; without `fails` it must succeed. No server is waited for."""
    for name in list(os.environ):
        if name.upper().startswith("KNOWNFACE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KNOWNFACE_DATA", str(tmp_path))
    monkeypatch.setattr(services, "SECONDS_FOR_A_SERVER", 0.0)

    def invoke(*words: str, fails: int = 0, **more: Any) -> Result:
        result = CliRunner().invoke(main, words, **more)
        assert result.exit_code == fails, (result.output, result.exception)
        return result

    return invoke


@pytest.fixture
def store(tmp_path: Path, sqlite_tables: Path) -> Iterator[Store]:
    """The same database, as a running server has it open."""
    folder = with_tables(tmp_path, sqlite_tables)
    opened = Store.open(f"sqlite:///{folder / 'knownface.db'}")
    yield opened
    opened.close()
