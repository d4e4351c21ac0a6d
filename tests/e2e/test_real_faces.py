"""Real people, real weights, a real server: what somebody who tries it out gets to see."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from sending import DETECT, FACES, RECOGNIZE, SUBJECTS, VERIFY
from servers import Server, portraits_folder, real_settings, running_server

pytestmark = pytest.mark.e2e

SAME = 0.5
PEOPLE = {"Emmanuel": "person_a", "Jacinda": "person_b"}
STRANGERS = ("impostor_1", "impostor_2")
ALL = [f"{person}_{n}" for person in PEOPLE.values() for n in (1, 2)] + list(STRANGERS)
EMBEDDINGS = "/api/v1/recognition/embeddings"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    portraits_folder()
    with running_server(tmp_path_factory.mktemp("real"), real_settings()) as running:
        yield running


@pytest.fixture
def detection(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.keys["detection"]) as client:
        yield client


@pytest.fixture
def verification(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.keys["verification"]) as client:
        yield client


@pytest.fixture
def recognition(server: Server) -> Iterator[httpx.Client]:
    """A client of an empty collection."""
    with server.client(server.keys["recognition"]) as client:
        client.delete(SUBJECTS).raise_for_status()
        yield client


@pytest.fixture
def enrolled(recognition: httpx.Client) -> dict[str, str]:
    """Each person enrolled by the first portrait; the image id by name."""
    return {name: add(recognition, name, f"{person}_1") for name, person in PEOPLE.items()}


def portrait(name: str) -> bytes:
    return (portraits_folder() / f"{name}.jpg").read_bytes()


def add(client: httpx.Client, subject: str, name: str) -> str:
    params = {"subject": subject}
    answer = client.post(FACES, params=params, files={"file": portrait(name)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["image_id"])


def faces(client: httpx.Client, path: str, picture: bytes, **params: Any) -> list[dict[str, Any]]:
    answer = client.post(path, params=params, files={"file": picture})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["result"]
    return found


def embedding(client: httpx.Client, name: str) -> list[float]:
    (face,) = faces(client, DETECT, portrait(name), face_plugins="calculator")
    vector: list[float] = face["embedding"]
    return vector


@pytest.mark.usefixtures("enrolled")
@pytest.mark.parametrize(("name", "person"), list(PEOPLE.items()))
def test_people_are_recognized_years_later(
    recognition: httpx.Client, name: str, person: str
) -> None:
    (face,) = faces(recognition, RECOGNIZE, portrait(f"{person}_2"), prediction_count=2)
    best, other = face["subjects"]
    assert best["subject"] == name
    assert best["similarity"] > SAME > other["similarity"]


@pytest.mark.usefixtures("enrolled")
@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_resemble_nobody(recognition: httpx.Client, stranger: str) -> None:
    (face,) = faces(recognition, RECOGNIZE, portrait(stranger), prediction_count=2)
    assert [match["similarity"] < SAME for match in face["subjects"]] == [True, True]


@pytest.mark.parametrize(("source", "target"), list(combinations(ALL, 2)))
def test_pairs_of_portraits_are_told_apart(
    verification: httpx.Client, source: str, target: str
) -> None:
    pictures = {"source_image": portrait(source), "target_image": portrait(target)}
    (one,) = verification.post(VERIFY, files=pictures).json()["result"]
    (match,) = one["face_matches"]
    same = source not in STRANGERS and source[:-1] == target[:-1]
    assert (match["similarity"] > SAME) == same


def test_an_example_is_verified_by_another_portrait(
    recognition: httpx.Client, enrolled: dict[str, str]
) -> None:
    for name, person in PEOPLE.items():
        for candidate in ALL:
            path = f"{FACES}/{enrolled[name]}/verify"
            (face,) = faces(recognition, path, portrait(candidate))
            assert face["subject"] == name
            assert (face["similarity"] > SAME) == candidate.startswith(person)


def test_embeddings_say_what_pictures_say(
    recognition: httpx.Client,
    detection: httpx.Client,
    verification: httpx.Client,
    enrolled: dict[str, str],
) -> None:
    vectors = [embedding(detection, name) for name in ALL]
    body = {"embeddings": vectors}
    found = recognition.post(f"{EMBEDDINGS}/recognize?prediction_count=2", json=body).json()
    compared = recognition.post(
        f"{EMBEDDINGS}/faces/{enrolled['Jacinda']}/verify", json=body
    ).json()["result"]
    targets = {"source": vectors[0], "targets": vectors}
    pairs = verification.post("/api/v1/verification/embeddings/verify", json=targets).json()
    for name, vector, one in zip(ALL, vectors, found["result"], strict=True):
        assert one["embedding"] == vector
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        (face,) = faces(recognition, RECOGNIZE, portrait(name), prediction_count=2)
        assert same_matches(one["similarities"], face["subjects"])
        (with_jacinda,) = (c["similarity"] for c in compared if c["embedding"] == vector)
        (expected,) = (s["similarity"] for s in face["subjects"] if s["subject"] == "Jacinda")
        assert with_jacinda == pytest.approx(expected, abs=1e-4)
        pictures = {"source_image": portrait(ALL[0]), "target_image": portrait(name)}
        (verified,) = verification.post(VERIFY, files=pictures).json()["result"]
        (expected,) = (match["similarity"] for match in verified["face_matches"])
        (pair,) = (p["similarity"] for p in pairs["result"] if p["embedding"] == vector)
        assert pair == pytest.approx(expected, abs=1e-4)
    order = [one["similarity"] for one in compared]
    assert order == sorted(order, reverse=True)


def same_matches(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> bool:
    return [match["subject"] for match in some] == [match["subject"] for match in others] and [
        match["similarity"] for match in some
    ] == pytest.approx([match["similarity"] for match in others], abs=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_a_box_lies_in_its_picture_and_holds_the_landmarks(
    detection: httpx.Client, name: str
) -> None:
    picture = portrait(name)
    width, height = Image.open(io.BytesIO(picture)).size
    (face,) = faces(detection, DETECT, picture, face_plugins="landmarks")
    box = face["box"]
    assert 0 <= box["x_min"] < box["x_max"] <= width
    assert 0 <= box["y_min"] < box["y_max"] <= height
    assert 0.8 < box["probability"] <= 1
    for x, y in face["landmarks"]:
        assert box["x_min"] < x < box["x_max"]
        assert box["y_min"] < y < box["y_max"]
    (left_eye, right_eye, nose, left_mouth, right_mouth) = face["landmarks"]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert left_mouth[0] < right_mouth[0]


# What a camera writes, and how the stored picture has to be turned to become what it saw.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", list(TURNS))
def test_a_picture_that_says_how_it_is_turned_gives_the_same_box(
    detection: httpx.Client, orientation: int
) -> None:
    upright = Image.open(io.BytesIO(portrait("person_b_1")))
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Without loss, so that turning is all that differs.
    plain, turned = io.BytesIO(), io.BytesIO()
    upright.save(plain, "PNG")
    upright.transpose(TURNS[orientation]).save(turned, "PNG", exif=exif)

    (expected,) = faces(detection, DETECT, plain.getvalue(), face_plugins="landmarks")
    (found,) = faces(detection, DETECT, turned.getvalue(), face_plugins="landmarks")

    assert found == expected


def test_a_deleted_person_leaves_no_byte_of_photograph_or_embedding(
    recognition: httpx.Client, detection: httpx.Client, server: Server
) -> None:
    """While the server runs on: whoever copies its folder afterwards finds neither."""
    data = Path(server.environment["KNOWNFACE_DATA"])
    traces = {name: traces_of(detection, name) for name in ALL}
    for name in ALL:
        add(recognition, f"kept {name}" if name in STRANGERS else name, name)
    assert all(left(data, traces[name]) for name in ALL)

    recognition.delete(f"{SUBJECTS}/person_a_1").raise_for_status()
    recognition.delete(FACES, params={"subject": "person_a_2"}).raise_for_status()
    listed = recognition.get(FACES, params={"subject": "person_b_1"}).json()["faces"]
    recognition.delete(f"{FACES}/{listed[0]['image_id']}").raise_for_status()
    recognition.put(f"{SUBJECTS}/person_b_2", json={"subject": "renamed"}).raise_for_status()
    recognition.delete(f"{SUBJECTS}/renamed").raise_for_status()

    for name in ALL:
        assert bool(left(data, traces[name])) == (name in STRANGERS), name
    assert recognition.delete(SUBJECTS).json() == {"deleted": len(STRANGERS)}
    assert not any(left(data, traces[name]) for name in ALL)


def traces_of(client: httpx.Client, name: str) -> list[bytes]:
    """Return short pieces of a photograph and of its embedding, enough to know them again."""
    picture = portrait(name)
    # Its head and its end are alike in many files.
    spread = np.linspace(len(picture) // 4, len(picture) - 1000, 40).astype(int)
    vector = np.array(embedding(client, name), "<f4").tobytes()
    pieces = [picture[at : at + 24] for at in spread]
    return pieces + [vector[at : at + 12] for at in range(0, len(vector) - 12, 4)]


def left(folder: Path, traces: list[bytes]) -> list[tuple[str, int]]:
    """Return which of the traces are in any file of the folder."""
    contents = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return [
        (name, number)
        for name, content in contents.items()
        for number, trace in enumerate(traces)
        if trace in content
    ]
