"""Bodies: forms in pieces, base64 in all its spellings, JSON of every wrong kind."""

from __future__ import annotations

import base64
import tempfile
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownface.api import bodies
from knownface.errors import EmptyField, InvalidRequest, PayloadTooLarge, UnreadableImage

LIMIT = 1000
BOUNDARY = "form-data; boundary=X"


def part(content: bytes, disposition: str) -> bytes:
    return b"--X\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (
        disposition.encode(),
        content,
    )


def read(
    *parts: bytes, step: int = 0, limit: int = LIMIT, end: bytes = b"--X--\r\n"
) -> bodies.Form:
    form = bodies.Form("multipart/form-data; boundary=X", limit)
    body = b"".join(parts) + end
    for start in range(0, len(body), step or len(body)):
        form.write(body[start : start + (step or len(body))])
    form.finish()
    return form


# Forms


@given(content=st.binary(max_size=300), step=st.integers(1, 50))
def test_a_file_arrives_whole_however_it_is_cut(content: bytes, step: int) -> None:
    form = read(part(content, 'name="file"; filename="a.jpg"'), step=step)
    assert form.files == {"file": content}


def test_text_parts_are_parameters() -> None:
    form = read(part(b"3", 'name="limit"'), part("Zoë".encode(), 'name="subject"'))
    assert form.texts == [("limit", "3"), ("subject", "Zoë")]


def test_a_name_without_quotes_is_understood_as_the_dotnet_client_writes_it() -> None:
    assert read(part(b"x", "name=file; filename=a.jpg; filename*=utf-8''a.jpg")).files == {
        "file": b"x"
    }


def test_a_part_without_a_file_name_is_no_file() -> None:
    form = read(part(b"\x89PNG\xff", 'name="file"'), part(b"a" * 70_000, 'name="long"'))
    assert form.files == {}
    assert form.unusable == ["file", "long"]


def test_a_part_with_an_empty_file_name_is_a_file() -> None:
    assert read(part(b"", 'name="file"; filename=""')).files == {"file": b""}


def test_of_two_files_of_one_name_the_first_counts() -> None:
    both = (part(b, 'name="file"; filename="a"') for b in (b"1", b"2"))
    assert read(*both).files == {"file": b"1"}


def test_a_file_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    disposition = 'name="file"; filename="a"'
    assert len(read(part(b"a" * LIMIT, disposition)).files["file"]) == LIMIT
    with pytest.raises(PayloadTooLarge, match="max_file_size, 1000 bytes"):
        read(part(b"a" * (LIMIT + 1), disposition))


def test_too_many_parts_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="parts"):
        read(*[part(b"1", 'name="a"')] * 101)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", f"{BOUNDARY}{'x' * 300}"],
)
def test_a_form_needs_a_sane_boundary(content_type: str) -> None:
    with pytest.raises(InvalidRequest, match=r"boundary|multipart"):
        bodies.Form(content_type, LIMIT)


@pytest.mark.parametrize(
    "body",
    [b"", b"garbage", b"--X", b"--Y\r\n", b"--X\r\nContent-Disposition", b"--X\r\n\r\n\r\n--X"],
)
def test_a_malformed_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not valid multipart"):
        read(body, end=b" ")


def test_a_form_that_breaks_off_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not valid multipart"):
        read(part(b"abc", 'name="file"; filename="a"'), end=b"--X")


def test_no_byte_of_a_picture_is_written_to_a_temporary_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file was opened")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    content = b"a" * (5 << 20)
    assert read(part(content, 'name="f"; filename="a"'), limit=5 << 20).files["f"] == content


# Base64


@given(st.binary(max_size=200))
def test_base64_of_both_alphabets_with_and_without_padding_is_read(data: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(data).decode()
        for spelling in (text, text.rstrip("="), f"data:image/png;base64,{text}"):
            assert bodies.decode_base64(spelling, LIMIT) == data
        lines = "\r\n".join(text[i : i + 7] for i in range(0, len(text), 7))
        assert bodies.decode_base64(f" {lines}\t\n", LIMIT) == data


@pytest.mark.parametrize(
    "text", ["not base64!", "a", "ab=c", "aGVsbG8*", "é", "data:image/png,abcd", "a,b", "\x00"]
)
def test_other_text_is_not_base64(text: str) -> None:
    with pytest.raises(UnreadableImage, match="Provided value is not Base64"):
        bodies.decode_base64(text, LIMIT)


def test_base64_of_a_picture_over_the_limit_is_refused_before_it_is_decoded() -> None:
    assert len(bodies.decode_base64(base64.b64encode(bytes(LIMIT)).decode(), LIMIT)) == LIMIT
    with pytest.raises(PayloadTooLarge, match="max_file_size, 1000 bytes"):
        bodies.decode_base64(base64.b64encode(bytes(LIMIT + 1)).decode(), LIMIT)


# JSON


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{'a':1}", b"[1,]", b'{"a":NaN}', b'"\\ud800"', b"\xff", b"[" * 5000]
)
def test_malformed_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        bodies.parse_json(body)


def test_a_byte_order_mark_does_not_matter() -> None:
    assert bodies.parse_json(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize("document", [None, [], "text", 1, True])
def test_only_an_object_has_fields(document: object) -> None:
    with pytest.raises(InvalidRequest, match="JSON object"):
        bodies.fields_of(document)


@pytest.mark.parametrize("document", [{}, {"file": None}, {"file": ""}, {"other": "x"}])
def test_a_picture_that_is_missing_null_or_empty_is_named(document: object) -> None:
    with pytest.raises(EmptyField, match="Field file cannot be empty"):
        bodies.base64_fields(document, ["file"])


@pytest.mark.parametrize("value", [1, True, [], ["x"], {"a": "b"}])
def test_a_picture_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequest, match="file"):
        bodies.base64_fields({"file": value}, ["file"])


def test_unknown_fields_do_not_matter() -> None:
    assert bodies.base64_fields({"file": "eA==", "api": 1}, ["file"]) == {"file": "eA=="}


@pytest.mark.parametrize("value", [None, []])
def test_missing_embeddings_are_named(value: object) -> None:
    with pytest.raises(EmptyField, match="Field targets cannot be empty"):
        bodies.embeddings_of(value, "targets")
    with pytest.raises(EmptyField, match="Field source cannot be empty"):
        bodies.embedding_of(value, "source")


@pytest.mark.parametrize(
    "value", ["x", 1, {}, [1.0], [None], [["1"]], [[True]], [[1.0], [None]], [[[1.0]]], [{}]]
)
def test_embeddings_of_another_shape_are_refused(value: object) -> None:
    with pytest.raises(InvalidRequest, match="embeddings"):
        bodies.embeddings_of(value, "embeddings")


@pytest.mark.parametrize("value", ["x", 1, {}, [[1.0]], [None], [True]])
def test_an_embedding_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequest, match="source"):
        bodies.embedding_of(value, "source")


def test_integers_are_numbers_too() -> None:
    assert bodies.embeddings_of([[1, 0.5], []], "embeddings") == [[1, 0.5], []]


ID = "6B135F5B-a365-4522-b1f1-4c9ac2dd0728"


def test_ids_are_read_whatever_their_letter_case() -> None:
    assert bodies.uuids_of([ID]) == [UUID(ID)]
    assert bodies.uuids_of([]) == []


@pytest.mark.parametrize(
    "document",
    [None, {}, ID, [None], [1], [ID, ""], [ID.replace("-", "")], [f"{{{ID}}}"], [f"{ID} "], ["x"]],
)
def test_anything_but_an_array_of_ids_is_refused(document: object) -> None:
    with pytest.raises(InvalidRequest):
        bodies.uuids_of(document)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json;charset=utf-8", "application/json"),
        ("Application/JSON ; charset=UTF-8", "application/json"),
        ("application/problem+json", "application/json"),
        ("multipart/form-data; boundary=x", "multipart/form-data"),
        ("text/plain", "text/plain"),
        ("", ""),
    ],
)
def test_parameters_of_a_content_type_do_not_matter(content_type: str, kind: str) -> None:
    assert bodies.media_kind(content_type) == kind


@pytest.mark.parametrize(
    ("size", "text"),
    [(5 << 20, "5 MB"), (100 << 10, "100 KB"), (1000, "1000 bytes"), (0, "0 bytes")],
)
def test_a_limit_is_named_as_people_write_it(size: int, text: str) -> None:
    assert bodies.readable_size(size) == text
