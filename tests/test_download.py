"""Fetching a file from a real server that does what servers and networks do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from file_server import Files, serving
from knownface.errors import ModelUnavailable
from knownface.vision import fetch as module
from knownface.vision.fetch import Fetcher
from tiny_carrier import sha256

CONTENT = bytes(range(256)) * 4000
SHA = sha256(CONTENT)
PLAIN = frozenset({"http"})
Events = list[tuple[int, int]]


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(Files({"/m.onnx": CONTENT})) as files:
        yield files


def fetch(
    files: Files,
    folder: Path,
    path: str = "/m.onnx",
    sha: str | None = SHA,
    size: int | None = len(CONTENT),
) -> tuple[Path, Events]:
    events: Events = []
    fetcher = Fetcher(folder, schemes=PLAIN)
    found = fetcher.fetch(files.url + path, sha, size, lambda *event: events.append(event))
    return found, events


def refusal(
    files: Files,
    folder: Path,
    path: str = "/m.onnx",
    sha: str | None = SHA,
    size: int | None = len(CONTENT),
) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        fetch(files, folder, path, sha, size)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_file_comes_whole_and_is_counted_in_bytes(files: Files, tmp_path: Path) -> None:
    path, events = fetch(files, tmp_path)
    assert path.read_bytes() == CONTENT
    assert events[0] == (0, len(CONTENT))
    assert events[-1] == (len(CONTENT), len(CONTENT))
    assert events == sorted(events)


def test_without_a_known_size_the_server_tells_it(files: Files, tmp_path: Path) -> None:
    path, events = fetch(files, tmp_path, size=None)
    assert path.read_bytes() == CONTENT
    assert events[-1] == (len(CONTENT), len(CONTENT))
    files.announces_length = False
    path, events = fetch(files, tmp_path, sha=None, size=None)
    assert path.read_bytes() == CONTENT
    assert events[-1] == (len(CONTENT), 0)


def test_redirects_are_followed(files: Files, tmp_path: Path) -> None:
    files.redirects["/old.onnx"] = "/m.onnx"
    assert fetch(files, tmp_path, "/old.onnx")[0].read_bytes() == CONTENT


def test_a_redirect_to_another_scheme_is_not(files: Files, tmp_path: Path) -> None:
    for elsewhere in ("ftp://127.0.0.1/m.onnx", "file:///etc/passwd", "https://127.0.0.1/m.onnx"):
        files.redirects["/old.onnx"] = elsewhere
        assert "cannot be fetched" in refusal(files, tmp_path, "/old.onnx")
    assert [path for path, _ in files.asked] == ["/old.onnx"] * 3


def test_by_itself_only_an_encrypted_address_is_used(files: Files, tmp_path: Path) -> None:
    for url in (files.url + "/m.onnx", "file:///etc/passwd", "m.onnx"):
        with pytest.raises(ModelUnavailable, match="only https is used"):
            Fetcher(tmp_path).fetch(url, SHA, None, lambda *_: None)
    assert files.asked == []


def test_another_file_is_thrown_away(files: Files, tmp_path: Path) -> None:
    files.served["/m.onnx"] = CONTENT[:-1] + b"?"
    message = refusal(files, tmp_path)
    assert "is not the file that is known" in message
    assert SHA in message
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_broke_off_is_gone_on_with(files: Files, tmp_path: Path) -> None:
    files.cut = 300_000
    assert "broke off after 300000 of 1024000 bytes; run it again" in refusal(files, tmp_path)
    path, events = fetch(files, tmp_path)
    assert path.read_bytes() == CONTENT
    assert files.asked[-1] == ("/m.onnx", "bytes=300000-")
    assert events[0] == (300_000, len(CONTENT))


def test_one_that_is_all_here_is_not_asked_for_again(files: Files, tmp_path: Path) -> None:
    fetch(files, tmp_path)
    assert fetch(files, tmp_path)[0].read_bytes() == CONTENT
    assert len(files.asked) == 1


def test_a_server_that_cannot_go_on_gives_it_from_the_start(files: Files, tmp_path: Path) -> None:
    files.cut = 300_000
    refusal(files, tmp_path)
    files.ranges = False
    assert fetch(files, tmp_path)[0].read_bytes() == CONTENT


def test_halves_of_two_files_are_never_put_together(files: Files, tmp_path: Path) -> None:
    files.cut = 300_000
    refusal(files, tmp_path, sha=None)
    files.served["/m.onnx"] = CONTENT[::-1]
    assert fetch(files, tmp_path, sha=None)[0].read_bytes() == CONTENT[::-1]
    assert files.asked[-1] == ("/m.onnx", None)
    files.cut = 300_000
    files.served["/n.onnx"] = CONTENT[::-1]
    refusal(files, tmp_path, "/n.onnx")
    files.served["/n.onnx"] = CONTENT  # what the hash belongs to, but the beginning is of another
    assert "is not the file" in refusal(files, tmp_path, "/n.onnx")
    assert fetch(files, tmp_path, "/n.onnx")[0].read_bytes() == CONTENT


def test_a_beginning_longer_than_the_file_is_thrown_away(files: Files, tmp_path: Path) -> None:
    (tmp_path / ".m.onnx.download").write_bytes(CONTENT + b"more")
    assert "416" in refusal(files, tmp_path, size=None)
    assert fetch(files, tmp_path, size=None)[0].read_bytes() == CONTENT


@pytest.mark.parametrize("announces", [True, False])
def test_a_file_that_is_too_large_is_given_up(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announces: bool
) -> None:
    files.announces_length = announces
    assert "larger than 1000 bytes" in refusal(files, tmp_path, size=1000)
    monkeypatch.setattr(module, "LARGEST", 2000)
    assert "larger than 2000 bytes" in refusal(files, tmp_path, sha=None, size=None)


def test_a_missing_file_is_told_with_its_address(files: Files, tmp_path: Path) -> None:
    message = refusal(files, tmp_path, "/gone.onnx")
    assert message == f"{files.url}/gone.onnx cannot be fetched: the server answers 404 Not Found."


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nowhere = Files(url=f"http://127.0.0.1:{port}")
    assert "Connection refused" in refusal(nowhere, tmp_path)


def test_without_a_network_the_sentence_says_so(tmp_path: Path) -> None:
    nowhere = Files(url="http://no-such-host.invalid")
    assert "cannot be fetched: " in refusal(nowhere, tmp_path)


def test_a_server_that_falls_silent_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "no answer within" in refusal(Files(url=url), tmp_path)
