"""What running a command is in a test, and what it printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from click.testing import Result

Run = Callable[..., Result]


def printed(result: Result) -> Any:
    """Return the JSON document that a command printed."""
    return json.loads(result.stdout)
