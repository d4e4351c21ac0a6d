"""What each worker of a server takes of what is set for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from knownface.cli.serve import share
from knownface.settings import Settings


@pytest.mark.parametrize(
    ("slots", "cores", "taken"),
    [(0, 8, 2), (0, 7, 2), (0, 2, 1), (9, 2, 3), (2, 8, 1)],
)
def test_slots_are_divided_and_each_worker_has_one(slots: int, cores: int, taken: int) -> None:
    assert share(Settings(workers=3, slots=slots), cores).slots == taken


def test_what_is_set_for_the_whole_server_is_divided_upwards() -> None:
    taken = share(Settings(workers=3, max_requests=64, index_memory=1000), 2)
    assert (taken.max_requests, taken.index_memory) == (22, 334)


def test_no_limit_stays_none_and_all_else_as_it_is(tmp_path: Path) -> None:
    whole = Settings(workers=2, data=tmp_path, threads=4)
    assert share(whole, 2).index_memory == 0
    same = {"slots": 0, "max_requests": whole.max_requests}
    assert share(whole, 2).model_copy(update=same) == whole
