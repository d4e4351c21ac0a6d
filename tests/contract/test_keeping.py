"""Where kept indexes lie, and the thread that keeps them."""

from __future__ import annotations

from pathlib import Path

from faces import add, unit_vectors
from knownface.errors import Unavailable
from knownface.keeping import Keeper, follow_erasures, kept_indexes
from knownface.store import Store
from stored import make_service


def test_kept_indexes_lie_beside_a_file_and_else_in_the_data_folder(
    store: Store, backend: str, tmp_path: Path
) -> None:
    place = kept_indexes(store, tmp_path)
    follow_erasures(store, place)
    if backend == "sqlite":
        assert place == tmp_path / "data" / "knownface.db-indexes"
    else:
        assert place == tmp_path / "indexes"


def test_a_keeper_works_again_after_failures() -> None:
    outcomes: list[BaseException | None] = [Unavailable("busy"), RuntimeError(), None]
    done: list[object] = []

    def work() -> None:
        outcome = outcomes.pop(0) if outcomes else None
        done.append(outcome)
        if outcome is not None:
            raise outcome

    keeper = Keeper(work, 0.001)
    keeper.start()
    keeper.start()
    while len(done) < 3:
        pass
    keeper.stop()
    keeper.start()
    assert done[:3][2] is None
    Keeper(work, 1).stop()


def test_a_service_that_is_not_kept_is_nobodys_concern(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "indexes"
    follow_erasures(store, root)
    service = make_service(store)
    add(store, service, "Anna", unit_vectors(1)[0])
    with store.begin() as tx:
        tx.delete_subject(service.id, "Anna")
    assert not root.exists()
