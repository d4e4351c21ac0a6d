"""Our values as JSON objects, in CompreFace's names, nesting and rounding."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from knownface.recognition import Compared, Recognized
from knownface.types import Box, Example, Face, Match, Page
from knownface.vision.pipeline import CALCULATOR
from knownface.vision.plugins import Plugin

Json = dict[str, object]

_FIVE_DECIMALS: Final = Decimal("0.00001")


def rounded(value: float) -> float:
    """Round half-up to 5 decimals, as CompreFace does, on the digits that Python would print."""
    return float(Decimal(repr(float(value))).quantize(_FIVE_DECIMALS, ROUND_HALF_UP))


@dataclass(frozen=True, slots=True)
class View:
    """How the faces of one answer are shown: which attributes, whether times too, how exact."""

    plugins: Mapping[str, Plugin] = field(default_factory=dict)
    asked: Collection[str] = ()
    status: bool = False
    round_probability: bool = True

    def face(self, face: Face) -> Json:
        """Return the attributes that were asked for and found, the box and (status) the times."""
        known = [slug for slug in self.asked if slug in self.plugins and slug in face.attributes]
        # Of two plugins with one field the last stays: the one that looked at more than the box.
        known.sort(key=lambda slug: bool(self.plugins[slug].models))
        found = {self.plugins[slug].field: face.attributes[slug] for slug in known}
        times: Json = {"execution_time": self._times(face)} if self.status else {}
        return found | {"box": self._box(face.box)} | times

    def _box(self, box: Box) -> Json:
        probability = float(box.probability)
        return {
            "probability": rounded(probability) if self.round_probability else probability,
            "x_max": int(box.x_max),
            "y_max": int(box.y_max),
            "x_min": int(box.x_min),
            "y_min": int(box.y_min),
        }

    def _times(self, face: Face) -> Json:
        """Return whole milliseconds as floats; what is not timed, as landmarks, is not there."""
        shown = {"detector", CALCULATOR, *self.asked}
        return {slug: float(round(ms)) for slug, ms in face.ms.items() if slug in shown}


def recognition(
    found: Iterable[Recognized], view: View, versions: Mapping[str, str] | None
) -> Json:
    """Answer of `recognition/recognize`."""
    result = [
        view.face(one.face) | {"subjects": [_match(match) for match in one.matches]}
        for one in found
    ]
    return {"result": result} | _versions(versions)


def example_verification(
    example: Example, compared: Iterable[Compared], view: View, versions: Mapping[str, str] | None
) -> Json:
    """Answer of `recognition/faces/{image_id}/verify`."""
    result = [
        view.face(one.face) | {"subject": example.subject, "similarity": rounded(one.similarity)}
        for one in compared
    ]
    return {"result": result} | _versions(versions)


def detection(faces: Iterable[Face], view: View, versions: Mapping[str, str] | None) -> Json:
    """Answer of `detection/detect`."""
    return {"result": [view.face(face) for face in faces]} | _versions(versions)


def verification(
    source: Face, compared: Iterable[Compared], view: View, versions: Mapping[str, str] | None
) -> Json:
    """Answer of `verification/verify`: one element, which also holds the versions."""
    matches = [view.face(one.face) | {"similarity": rounded(one.similarity)} for one in compared]
    one: Json = {"source_image_face": view.face(source), "face_matches": matches}
    return {"result": [one | _versions(versions)]}


def recognized_embeddings(
    embeddings: Sequence[Sequence[float]], matches: Sequence[Sequence[Match]]
) -> Json:
    """Answer of `recognition/embeddings/recognize`: each embedding as it was sent, in order."""
    return {
        "result": [
            {"embedding": embedding, "similarities": [_match(match) for match in found]}
            for embedding, found in zip(embeddings, matches, strict=True)
        ]
    }


def verified_embeddings(
    embeddings: Sequence[Sequence[float]], ranked: Iterable[tuple[int, float]]
) -> Json:
    """Answer of the `embeddings … verify` calls: each embedding as sent, most similar first."""
    return {
        "result": [
            {"embedding": embeddings[position], "similarity": rounded(similarity)}
            for position, similarity in ranked
        ]
    }


def example(one: Example) -> Json:
    """An example as its public id and the subject it belongs to."""
    return {"image_id": str(one.image_id), "subject": one.subject}


def page(one: Page) -> Json:
    """Answer of `GET recognition/faces`."""
    return {
        "faces": [example(found) for found in one.examples],
        "page_number": one.number,
        "page_size": one.size,
        "total_pages": -(-one.total // one.size),
        "total_elements": one.total,
    }


def _match(match: Match) -> Json:
    return {"subject": match.subject, "similarity": rounded(match.similarity)}


def _versions(versions: Mapping[str, str] | None) -> Json:
    return {} if versions is None else {"plugins_versions": dict(versions)}
