"""What is measured for coverage: the tests' own process, and of others those that a test asks for.

Measuring makes a process take nearly twice as long. Almost every line that a server or a command
runs, tests within this process run as well; the few that are left need one measured process each.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

# How coverage tells new processes of itself, if it was asked for at all.
_CONFIG: Final = "COVERAGE_PROCESS_CONFIG"


@pytest.fixture(scope="session", autouse=True)
def process_config() -> str | None:
    """Take away what makes processes measure themselves; gives it to whom it may concern."""
    return os.environ.pop(_CONFIG, None)


@pytest.fixture
def measured(process_config: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the processes that this test starts."""
    if process_config is not None:
        monkeypatch.setenv(_CONFIG, process_config)
