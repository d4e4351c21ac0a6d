"""The folder of a kept index: what is read is what was saved, and what is erased is in no file."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterator
from mmap import mmap
from pathlib import Path

import numpy as np
import pytest

from faces import code_of, unit_vectors
from indexes import Stored
from knownface.index import View, kept
from knownface.index.exact import ExactIndex
from knownface.index.kept import KeptIndex, Origin
from knownface.index.segments import check, keys_in, read_rows, write_checked, write_rows
from knownface.types import F32, I64

DIMENSION = 32
ROWS = 64
ORIGIN = Origin("sketch", DIMENSION, 7, [40, "name", 0, 0, 0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "indexes" / "1"


@pytest.fixture
def mine(folder: Path) -> Iterator[KeptIndex]:
    opened = KeptIndex(folder)
    yield opened
    opened.close()


def make(count: int = 200) -> tuple[Stored[ExactIndex], F32]:
    """Return an index of several chunks, some rows of which were removed, and its vectors."""
    vectors = unit_vectors(count, DIMENSION)
    index = Stored(ExactIndex(DIMENSION, chunk_rows=ROWS, threads=1))
    index.add(numbers(count), numbers(count) + 1000, vectors)
    index.remove(np.array([3, 50]))
    return index, vectors


def numbers(count: int) -> I64:
    return np.arange(1, count + 1)


def save(kept: KeptIndex, views: tuple[View, ...], origin: Origin = ORIGIN) -> bool:
    with kept.saving() as ready:
        return ready and kept.save(origin, views)


def taken_up(kept: KeptIndex) -> Stored[ExactIndex]:
    found = kept.read()
    assert found is not None
    index = Stored(ExactIndex(DIMENSION, chunk_rows=ROWS, threads=1))
    index.given.update(zip(numbers(200).tolist(), unit_vectors(200, DIMENSION), strict=True))
    index.index.restore(found.parts)
    return index


def in_files(folder: Path, vector: F32) -> bool:
    piece = code_of(vector)
    return any(piece in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_is_read_answers_as_what_was_saved(mine: KeptIndex) -> None:
    index, vectors = make()
    assert save(mine, index.index.views())
    again = taken_up(mine)
    assert len(again) == len(index) == 198
    assert again.search(vectors, 9) == index.search(vectors, 9)
    more = unit_vectors(100, DIMENSION, seed=5)
    for one in (index, again):
        one.add(numbers(100) + 500, numbers(100), more)
        one.remove(numbers(30))
    assert again.search(vectors, 9) == index.search(vectors, 9)


def test_another_process_maps_the_same_files_and_saves_nothing(
    mine: KeptIndex, folder: Path
) -> None:
    index, vectors = make()
    assert save(mine, index.index.views())
    other = KeptIndex(folder)
    assert taken_up(other).search(vectors, 3) == index.search(vectors, 3)
    assert not save(other, index.index.views())
    mine.close()
    assert save(other, index.index.views())
    other.close()


def test_full_chunks_are_mapped_where_everybody_sees_them(mine: KeptIndex, folder: Path) -> None:
    index, _ = make()
    save(mine, index.index.views())
    found, others = mine.read(), KeptIndex(folder).read()
    assert found is not None
    assert others is not None
    assert any(part.mapped for part in found.parts)
    assert all(part.mapped == (part.used == part.rows) for part in found.parts)
    for part, other in zip(found.parts, others.parts, strict=True):
        assert part.codes[5].any()
        part.codes[5] = 0
        assert not other.codes[5].any()


def test_a_key_that_moves_stays_where_others_may_find_it_until_it_is_removed(
    mine: KeptIndex, folder: Path
) -> None:
    """Another process, which has not followed yet, must not miss who is there all the time."""
    index, vectors = make()
    save(mine, index.index.views())
    one, other = taken_up(mine), taken_up(KeptIndex(folder))
    moved = numbers(200)[20:60]
    before = other.search(vectors, 3)
    one.add(moved, moved, vectors[20:60])
    assert other.search(vectors, 3) == before
    assert one.search(vectors[30:31], 1)[0][0].subject == 31
    found = KeptIndex(folder).read()
    assert found is not None
    mine.erase(np.array([31]))
    one.remove(np.array([31]))
    held = [part.codes[part.keys == 31] for part in found.parts if part.mapped]
    assert not np.concatenate(held).any()


def test_a_chunk_that_is_given_up_stays_where_others_may_find_it(
    mine: KeptIndex, folder: Path
) -> None:
    index, vectors = make()
    save(mine, index.index.views())
    one, other = taken_up(mine), taken_up(KeptIndex(folder))
    gone = numbers(200)[:150]
    one.remove(gone)
    left = vectors[150:]
    assert other.search(left, 1) == index.search(left, 1)
    index.remove(gone)
    assert one.search(left, 9) == index.search(left, 9)


def test_a_save_writes_only_what_has_changed(mine: KeptIndex, folder: Path) -> None:
    index, vectors = make()
    save(mine, index.index.views())
    before = {path.name for path in folder.glob("*.rows")}
    save(mine, index.index.views())
    assert {path.name for path in folder.glob("*.rows")} == before
    again = taken_up(mine)
    again.add(np.array([900]), np.array([1]), vectors[:1])
    save(mine, again.index.views())
    after = {path.name for path in folder.glob("*.rows")}
    assert before - after
    assert len(after - before) == 1
    assert len(taken_up(mine)) == 199


def test_nothing_of_an_erased_row_is_in_a_file(mine: KeptIndex, folder: Path) -> None:
    index, vectors = make()
    save(mine, index.index.views())
    assert not in_files(folder, vectors[2])  # it was removed before
    assert in_files(folder, vectors[9])
    mine.erase(np.array([10]))
    assert not in_files(folder, vectors[9])
    found = mine.read()
    assert found is not None
    assert 10 in found.lost
    assert 0 < len(found.lost) <= ROWS
    held = np.concatenate([part.keys[part.alive] for part in found.parts])
    assert sorted([*held, *found.lost]) == sorted(set(numbers(200).tolist()) - {3, 50})


def test_a_mapped_row_is_overwritten_with_its_file_already_gone(
    mine: KeptIndex, folder: Path
) -> None:
    index, vectors = make()
    save(mine, index.index.views())
    again = taken_up(mine)
    mine.erase(np.array([10]))
    again.remove(np.array([10]))
    assert save(mine, again.index.views())
    assert not in_files(folder, vectors[9])
    assert len(taken_up(mine)) == 197


@pytest.mark.parametrize("moment", ["before", "first", "last"])
def test_an_erasure_ends_a_save(
    mine: KeptIndex, folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whenever it comes, no file holds the row afterwards, neither at once nor in the end."""
    index, vectors = make()
    written = 0

    def erase() -> None:
        KeptIndex(folder).erase(np.array([10]))
        assert not in_files(folder, vectors[9])

    def write(path: Path, view: View) -> None:
        nonlocal written
        if moment == "first" and written == 0:
            write_rows(path, view)
            erase()
        else:
            write_rows(path, view)
        written += 1
        if moment == "last" and written == len(index.index.views()):
            erase()

    monkeypatch.setattr(kept, "write_rows", write)
    with mine.saving() as ready:
        assert ready
        if moment == "before":
            erase()
        assert not mine.save(ORIGIN, index.index.views())
    assert not in_files(folder, vectors[9])
    index.remove(np.array([10]))
    assert save(mine, index.index.views())
    assert not in_files(folder, vectors[9])
    assert len(taken_up(mine)) == 197


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def relabel(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b" 2", b" 9", 1))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def no_object(path: Path) -> None:
    first, second, *_ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([first, second, b"[]"]))


@pytest.mark.parametrize("which", ["*.rows", "state"])
@pytest.mark.parametrize("damage", [cut, flip, relabel, empty, no_object])
def test_what_is_damaged_is_not_used(
    mine: KeptIndex, folder: Path, which: str, damage: Callable[[Path], None]
) -> None:
    index, _ = make()
    save(mine, index.index.views())
    damage(next(iter(folder.glob(which))))
    assert mine.read() is None
    mine.erase(np.array([10]))  # and may be erased from
    assert not in_files(folder, unit_vectors(200, DIMENSION)[9])


@pytest.mark.parametrize(
    "wrong", [{"proof": 1}, {"files": None}, {"files": []}, {"revision": "x"}, {"model": None}]
)
def test_a_state_that_makes_no_sense_is_not_used(
    mine: KeptIndex, folder: Path, wrong: dict[str, object]
) -> None:
    """Whatever wrote it, and though its checksum is right."""
    save(mine, make()[0].index.views())
    content = (folder / "state").read_bytes()
    head = check(content, kept._FORMAT, kept._HEAD) | wrong
    if wrong == {"model": None}:
        del head["model"]
    (folder / "state").unlink()
    rest = memoryview(content)[kept._HEAD :]
    write_checked(folder / "state", kept._FORMAT, head, [rest], kept._HEAD)
    assert mine.read() is None
    assert mine.origin() is None


def test_a_chunk_in_place_of_another_is_noticed(mine: KeptIndex, folder: Path) -> None:
    index, _ = make()
    save(mine, index.index.views())
    one, other, *_ = sorted(folder.glob("*.rows"))
    one.write_bytes(other.read_bytes())
    assert mine.read() is None


def test_rows_of_another_kind_of_index_are_refused(mine: KeptIndex) -> None:
    save(mine, make()[0].index.views())
    found = mine.read()
    assert found is not None
    for other in (ExactIndex(DIMENSION, chunk_rows=ROWS // 2), ExactIndex(2 * DIMENSION)):
        with pytest.raises(ValueError, match="another kind"):
            other.restore(found.parts)


def test_nothing_is_read_where_nothing_was_saved(mine: KeptIndex, folder: Path) -> None:
    assert mine.read() is None
    assert mine.origin() is None
    mine.erase(np.array([1]))
    mine.remove()
    save(mine, make()[0].index.views())
    assert mine.origin() == ORIGIN
    mine.remove()
    assert not folder.exists()
    assert mine.read() is None


def test_the_files_are_the_owners_alone(mine: KeptIndex, folder: Path) -> None:
    save(mine, make()[0].index.views())
    for path in (folder.parent, *folder.parent.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_keys_are_read_without_the_rest(mine: KeptIndex, folder: Path) -> None:
    save(mine, make()[0].index.views())
    for path in folder.glob("*.rows"):
        assert keys_in(path).tolist() == read_rows(path).keys.tolist()


def test_a_file_without_room_for_its_text_is_not_written(mine: KeptIndex, folder: Path) -> None:
    index, _ = make()
    long = Origin("m" * 70_000, DIMENSION, 7, [])
    with pytest.raises(ValueError, match="do not fit"):
        save(mine, index.index.views(), long)
    assert not (folder / "new").exists()
    assert mine.read() is None


def test_a_folder_that_somebody_else_removes_meanwhile_is_no_concern(
    mine: KeptIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(mine, make()[0].index.views())
    new, iterdir = folder / "new", Path.iterdir
    new.mkdir()

    def overtaken(path: Path) -> Iterator[Path]:
        if path == new:
            new.rmdir()
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", overtaken)
    mine.erase(np.array([10]))
    assert not new.exists()


def test_a_folder_that_must_not_be_removed_is_told_of(
    mine: KeptIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(mine, make()[0].index.views())

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "no", path)

    monkeypatch.setattr(Path, "rmdir", refuse)
    with pytest.raises(PermissionError):
        mine.remove()


def test_a_file_without_all_its_keys_is_erased_with_any_of_them(
    mine: KeptIndex, folder: Path
) -> None:
    save(mine, make()[0].index.views())
    path = max(folder.glob("*.rows"), key=lambda one: one.stat().st_size)
    keys = keys_in(path)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(keys.tobytes()) + 8])
    mine.erase(keys[-1:])
    assert not path.exists()


def test_files_that_go_while_it_is_erased_from_are_no_concern(
    mine: KeptIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(mine, make()[0].index.views())

    def gone(_: Path) -> I64:
        raise FileNotFoundError

    monkeypatch.setattr(kept, "keys_in", gone)
    mine.erase(np.array([10]))
    assert mine.read() is not None


def test_what_is_left_of_a_save_that_was_killed_goes(mine: KeptIndex, folder: Path) -> None:
    index, _ = make()
    (folder / "new" / "deeper").mkdir(parents=True)
    (folder / "new" / "deeper" / "x.rows").write_bytes(b"?")
    assert save(mine, index.index.views())
    assert not (folder / "new").exists()


def test_an_erased_row_is_overwritten_in_a_file_without_a_name(mine: KeptIndex) -> None:
    """A process that runs on has the file, though no folder does."""
    save(mine, make()[0].index.views())
    found = mine.read()
    assert found is not None
    part = next(part for part in found.parts if part.mapped)
    row = int(np.flatnonzero(part.alive)[0])
    assert part.codes[row].any()
    again = ExactIndex(DIMENSION, chunk_rows=ROWS, threads=1)
    again.restore(found.parts)
    again.remove(part.keys[row : row + 1])
    assert not part.codes[row].any()


def test_a_file_that_was_removed_and_erased_from_while_it_was_read_is_lost_not_damaged(
    mine: KeptIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(mine, make()[0].index.views())
    checked: list[int] = []

    def overtaken(content: mmap | bytes, kind: str, room: int) -> dict[str, object]:
        if isinstance(content, mmap) and not checked:
            checked.append(1)
            mine.erase(np.array([10]))
            content[room] ^= 1
        return check(content, kind, room)

    monkeypatch.setattr("knownface.index.segments.check", overtaken)
    found = mine.read()
    assert found is not None
    assert 0 < len(found.lost) <= ROWS


def test_a_chunk_that_two_processes_go_on_with_has_two_names(mine: KeptIndex, folder: Path) -> None:
    index, vectors = make()
    save(mine, index.index.views())
    one, other = taken_up(mine), taken_up(KeptIndex(folder))
    one.add(np.array([901]), np.array([1]), vectors[:1])
    other.add(np.array([902]), np.array([2]), vectors[:1])
    save(mine, one.index.views())
    save(mine, other.index.views())
    held = taken_up(mine).index.views()
    keys = np.concatenate([view.keys[: view.used][view.alive[: view.used]] for view in held])
    assert 902 in keys
    assert 901 not in keys


def test_what_an_index_takes_is_told_without_what_lies_in_files(mine: KeptIndex) -> None:
    index, _ = make()
    save(mine, index.index.views())
    assert 0 < taken_up(mine).index.nbytes < index.index.nbytes
