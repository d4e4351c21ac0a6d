"""What is to be imported: folders, archives and lists, with everything that is wrong with them."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownface.bulk.listing import Row, read
from knownface.bulk.naming import file_name, folder_name
from knownface.bulk.sources import Item, open_source
from knownface.errors import (
    ConfigurationError,
    InvalidRequest,
    PayloadTooLarge,
    UnreadableImage,
)
from knownface.store.names import name_key
from knownface.subject_names import checked_name

LIMIT = 1000
ID = UUID("6b135f5b-a365-4522-b1f1-4c9ac2dd0728")


def folder(top: Path, *files: str) -> Path:
    for file in files:
        path = top / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.encode())
    return top


def archive(path: Path, *files: str, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as written:
        for file in files:
            written.writestr(file, file.encode())
    return path


def found(path: Path) -> list[tuple[str, str]]:
    with open_source(path) as source:
        items = list(source.items())
        assert source.count() == len(items)
        return [(item.file, item.subject) for item in items if not item.problem]


def problems(path: Path) -> dict[str, str]:
    with open_source(path) as source:
        return {item.file: item.problem for item in source.items() if item.problem}


@contextmanager
def only(path: Path) -> Iterator[Item]:
    with open_source(path) as source:
        (item,) = source.items()
        yield item


def content(item: Item) -> bytes:
    assert item.read
    return item.read(LIMIT)


# Folders


@pytest.mark.parametrize("make", [folder, lambda top, *files: archive(top / "a.zip", *files)])
def test_a_subject_is_the_first_folder_whatever_lies_deeper(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    source = make(tmp_path, "Zoë/b.jpg", "Ann/a.jpg", "Ann/2021/may/c.jpg")
    assert sorted(found(source)) == [
        ("Ann/2021/may/c.jpg", "Ann"),
        ("Ann/a.jpg", "Ann"),
        ("Zoë/b.jpg", "Zoë"),
    ]


@pytest.mark.parametrize("make", [folder, lambda top, *files: archive(top / "a.zip", *files)])
def test_what_lies_in_no_folder_has_no_subject(tmp_path: Path, make: Callable[..., Path]) -> None:
    source = make(tmp_path, "Ann/a.jpg", "stray.jpg")
    assert [file for file, _ in found(source)] == ["Ann/a.jpg"]
    assert "no subject" in problems(source)["stray.jpg"]


@pytest.mark.parametrize("make", [folder, lambda top, *files: archive(top / "a.zip", *files)])
def test_what_file_browsers_leave_behind_is_passed_over(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    litter = (".DS_Store", "Ann/._a.jpg", "Ann/Thumbs.db", "__MACOSX/Ann/a.jpg", ".git/x")
    source = make(tmp_path, "Ann/a.jpg", *litter)
    assert found(source) == [("Ann/a.jpg", "Ann")]
    assert problems(source) == {}


def test_pictures_come_in_the_same_order_each_time(tmp_path: Path) -> None:
    folder(tmp_path, "b/2", "a/9", "b/1", "a/10")
    assert [file for file, _ in found(tmp_path)] == ["a/10", "a/9", "b/1", "b/2"]


def test_a_link_that_leads_back_is_not_followed_for_ever(tmp_path: Path) -> None:
    folder(tmp_path, "Ann/a.jpg")
    (tmp_path / "Ann" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "Bob").symlink_to(tmp_path / "Ann", target_is_directory=True)
    assert ("Bob/a.jpg", "Bob") in found(tmp_path)
    assert set(problems(tmp_path)) == {"Ann/again", "Bob/again"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "Ann").mkdir(mode=0)
    try:
        assert "cannot be read" in problems(tmp_path)[str(tmp_path / "Ann")]
    finally:
        (tmp_path / "Ann").chmod(stat.S_IRWXU)


def test_a_folder_that_went_meanwhile_is_told(tmp_path: Path) -> None:
    folder(tmp_path, "Ann/a.jpg", "Bob/b.jpg")
    with open_source(tmp_path) as source:
        items = source.items()
        next(items)
        (tmp_path / "Bob" / "b.jpg").unlink()
        (tmp_path / "Bob").rmdir()
        assert "cannot be read" in next(items).problem


def test_only_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "Ann").mkdir()
    os.mkfifo(tmp_path / "Ann" / "pipe")
    with only(tmp_path) as item, pytest.raises(UnreadableImage, match="no file"):
        content(item)


def test_a_file_that_is_gone_is_unreadable(tmp_path: Path) -> None:
    folder(tmp_path, "Ann/a.jpg")
    with only(tmp_path) as item:
        (tmp_path / "Ann" / "a.jpg").unlink()
        with pytest.raises(UnreadableImage, match="No such file"):
            content(item)


@pytest.mark.parametrize("packed", [False, True])
def test_no_more_is_read_than_a_picture_may_have(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "source" / "Ann" / "a.jpg"
    path.parent.mkdir(parents=True)
    source = tmp_path / "source"
    for size in (LIMIT, LIMIT + 1):
        path.write_bytes(bytes(size))
        if packed:
            source = tmp_path / f"{size}.zip"
            with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archived:
                archived.write(path, "Ann/a.jpg")
        with only(source) as item:
            if size > LIMIT:
                with pytest.raises(PayloadTooLarge, match="max_file_size"):
                    content(item)
            else:
                assert content(item) == bytes(size)


# Archives


def test_a_folder_around_all_folders_of_an_archive_is_no_subject(tmp_path: Path) -> None:
    wrapped = archive(tmp_path / "a.zip", "people/Ann/a.jpg", "people/Bob/2021/b.jpg")
    assert [subject for _, subject in found(wrapped)] == ["Ann", "Bob"]
    flat = archive(tmp_path / "b.zip", "people/a.jpg", "people/Bob/b.jpg")
    assert [subject for _, subject in found(flat)] == ["people", "people"]


def test_nothing_outside_of_an_archive_is_touched(tmp_path: Path) -> None:
    names = ("../up.jpg", "Ann/../../up.jpg", "/etc/passwd", "..\\..\\up.jpg", "Ann/a.jpg")
    source = archive(tmp_path / "a.zip", *names)
    assert found(source) == [("Ann/a.jpg", "Ann")]
    assert all("leads out" in problem for problem in problems(source).values())
    assert set(problems(source)) == {
        "../up.jpg",
        "Ann/../../up.jpg",
        "/etc/passwd",
        "../../up.jpg",
    }
    assert list(tmp_path.iterdir()) == [source]


def test_names_of_archives_are_understood_however_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as written:
        written.writestr("Zo??/a.jpg", b"a")
        written.writestr("Bob\\b.jpg", b"b")
        written.writestr("Ann/c.jpg", b"c")
    # UTF-8 that is not said to be so, and what is none.
    raw = path.read_bytes().replace(b"Zo??", "Zoë".encode()).replace(b"Ann/", b"\x8ann/")
    path.write_bytes(raw)
    assert [subject for _, subject in found(path)] == ["Zoë", "Bob", "ènn"]


def test_an_entry_that_lies_about_its_size_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("Ann/bomb.jpg", bytes(10_000_000))
    raw = bytearray(path.read_bytes())
    for place in (raw.index(b"PK\3\4") + 22, raw.index(b"PK\1\2") + 24):
        raw[place : place + 4] = (10).to_bytes(4, "little")
    path.write_bytes(raw)
    with only(path) as item, pytest.raises((UnreadableImage, PayloadTooLarge)):
        content(item)


def test_a_damaged_entry_is_unreadable_and_the_others_are_not(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", "Ann/first.jpg", "Ann/second.jpg", method=zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    place = raw.index(b"Ann/first.jpg") + len(b"Ann/first.jpg") + 3
    raw[place] ^= 255
    path.write_bytes(raw)
    with open_source(path) as source:
        first, second = source.items()
        with pytest.raises(UnreadableImage, match="damaged"):
            content(first)
        assert content(second) == b"Ann/second.jpg"


def test_an_encrypted_entry_is_unreadable(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", "Ann/a.jpg")
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\3\4") + 6] |= 1
    raw[raw.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)
    with only(path) as item, pytest.raises(UnreadableImage, match="encrypted"):
        content(item)


def test_a_method_that_unpacks_without_end_is_not_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", "Ann/a.jpg", method=zipfile.ZIP_LZMA)
    with only(path) as item, pytest.raises(UnreadableImage, match="not read"):
        content(item)


def test_what_is_none_of_the_three_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="no folder"), open_source(tmp_path / "a.jpg"):
        pass
    # It ends as an archive does, and is none.
    broken = tmp_path / "a.zip"
    broken.write_bytes(archive(tmp_path / "b.zip", "Ann/a.jpg").read_bytes()[60:])
    with pytest.raises(ConfigurationError, match="cannot be read"), open_source(broken):
        pass


# Lists


def rows(text: str | bytes) -> list[Row]:
    data = text.encode() if isinstance(text, str) else text
    return list(read(io.BytesIO(data), "list.csv"))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_is_read_however_a_spreadsheet_wrote_it(separator: str, mark: str, end: str) -> None:
    lines = ["Subject,more,FILE", "Zoë,x,a.jpg", '"B, ob; ""B""\t",x,b.jpg', ""]
    text = mark + end.join([lines[0].replace(",", separator), lines[1].replace(",", separator)])
    text += end + lines[2].replace(",x,", f"{separator}x{separator}") + end
    assert [(row.subject, row.file) for row in rows(text)] == [
        ("Zoë", "a.jpg"),
        ('B, ob; "B"', "b.jpg"),
    ]


def test_a_bad_line_is_told_with_its_number_and_costs_no_other() -> None:
    text = (
        b"file,subject,image_id\n"
        b"a.jpg,Ann,\n"
        b",Bob,\n"
        b"c.jpg\n"
        b"\n"
        b"d.jpg,D\xff,\n"
        b"e.jpg,Eve,7\n"
        b'"f\n.jpg",Fay,\n'
        b"g\0.jpg,Gus,\n"
        b"h.jpg,Hal,6b135f5b-a365-4522-b1f1-4c9ac2dd0728\n"
    )
    assert [(row.line, row.problem) for row in rows(text)] == [
        (2, ""),
        (3, "The line names no file."),
        (4, "The line names no subject."),
        (6, "The line is not UTF-8."),
        (7, "image_id should be a UUID or empty."),
        (8, ""),
        (10, "The name of the file cannot be one."),
        (11, ""),
    ]
    assert rows(text)[-1].image_id == ID


def test_a_quote_that_never_ends_is_told_once() -> None:
    text = 'file,subject\n"a.jpg,Ann\n' + "b.jpg,Bob\n" * 20_000
    told = rows(text)
    assert told[0].line == 2
    assert "cannot be read" in told[0].problem
    assert told[-1].file == "b.jpg"


@pytest.mark.parametrize("text", [b"", b"name,path\na,b\n", "file,subject\n".encode("utf-16")])
def test_a_list_without_the_two_columns_is_refused(text: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"list\.csv"):
        rows(text)


def test_files_of_a_list_are_found_from_where_it_is(tmp_path: Path) -> None:
    folder(tmp_path, "sub/pictures/a.jpg", "above.jpg")
    path = tmp_path / "sub" / "list.csv"
    path.write_text(
        f"file,subject\npictures/a.jpg,Ann\n../above.jpg,Bob\n{tmp_path}/above.jpg,Cy\n"
    )
    with open_source(path) as source:
        items = list(source.items())
        assert [content(item) for item in items] == [
            b"sub/pictures/a.jpg",
            b"above.jpg",
            b"above.jpg",
        ]
    assert [item.line for item in items] == [2, 3, 4]


@pytest.mark.parametrize("packed", [False, True])
def test_the_list_inside_of_a_source_leads_nowhere_else(tmp_path: Path, packed: bool) -> None:
    text = "file,subject\nx/a.jpg,Ann\n../secret,Bob\n/etc/passwd,Cy\nnone.jpg,Di\n"
    source = folder(tmp_path / "source", "x/a.jpg", "not/listed.jpg")
    (tmp_path / "secret").write_text("secret")
    (source / "manifest.csv").write_text(text)
    if packed:
        source = tmp_path / "a.zip"
        with zipfile.ZipFile(source, "w") as written:
            written.writestr("x/a.jpg", b"x/a.jpg")
            written.writestr("manifest.csv", text)
    assert [file for file, _ in found(source) if file != "none.jpg"] == ["x/a.jpg"]
    assert {"../secret", "/etc/passwd"} <= set(problems(source))


def test_a_list_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("file,subject\n")
    with open_source(path) as opened:
        path.unlink()
        with pytest.raises(ConfigurationError, match="No such file"):
            opened.count()


def test_a_damaged_list_inside_of_an_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as written:
        written.writestr("manifest.csv", "file,subject\nx,y\n" * 3)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"x,y")] = 0
    path.write_bytes(raw)
    with open_source(path) as source, pytest.raises(ConfigurationError, match="manifest"):
        source.count()


# Names

ODD = [
    "a/b;c\\d",
    "..",
    ".",
    ".hidden",
    "CON",
    "nul.txt",
    "manifest.csv",
    "Embeddings.JSONL",
    "__MACOSX",
    "trailing. ",
    "😀👩‍👩‍👧",
    "ж" * 255,
    "😀" * 255,
    'a,"b"\u2028c',
    "=1+1",
    "-rf",
    "Ann",
    "Ann-",
]


def test_a_plain_name_is_the_folders_name() -> None:
    for plain in ("Ann", "Zoë Müller-Lüdenscheidt", "山田太郎", "O'Neill", "a.b"):
        assert folder_name(plain) == plain


@pytest.mark.parametrize("subject", ODD, ids=range(len(ODD)))
def test_any_name_becomes_one_folder_on_any_file_system(tmp_path: Path, subject: str) -> None:
    shown = folder_name(subject)
    assert not set('<>:"/\\|?*') & set(shown)
    assert shown.strip(" .") == shown
    assert len(shown.encode()) <= 120
    assert shown.lower() not in {"con", "nul.txt", "manifest.csv", "embeddings.jsonl"}
    (tmp_path / shown).mkdir()
    assert file_name(subject, ID, "image/webp") == f"{shown}/{ID}.webp"
    assert file_name(subject, ID, "image/strange").endswith(".bin")


@given(st.lists(st.text(max_size=300), max_size=20))
def test_two_subjects_never_share_a_folder(names: list[str]) -> None:
    subjects: dict[bytes, str] = {}
    for name in (*names, *ODD):
        try:
            subjects[name_key(name)] = checked_name(name)
        except InvalidRequest:
            continue
    folders = {folder_name(subject).casefold() for subject in subjects.values()}
    assert len(folders) == len(subjects)
