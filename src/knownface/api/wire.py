"""Our values as JSON objects, in CompreFace's names, nesting and rounding."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from knownface.recognition import Compared, Recognized, rounded
from knownface.types import Box, Example, Face, FalseMatchRates, Match, Page
from knownface.vision.pipeline import CALCULATOR
from knownface.vision.plugins import Plugin

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class View:
    """How one answer is shown: which attributes, how exact, whether with what `status` adds."""

    plugins: Mapping[str, Plugin] = field(default_factory=dict)
    asked: Collection[str] = ()
    status: bool = False
    round_probability: bool = True
    rates: FalseMatchRates | None = None
    image_id: bool = False

    def face(self, face: Face) -> Json:
        """Return the attributes that were asked for and found, the box and (status) the times."""
        known = [slug for slug in self.asked if slug in self.plugins and slug in face.attributes]
        # Of two plugins with one field the last stays: the one that looked at more than the box.
        known.sort(key=lambda slug: bool(self.plugins[slug].models))
        found = {self.plugins[slug].field: face.attributes[slug] for slug in known}
        times: Json = {"execution_time": self._times(face)} if self.status else {}
        return found | {"box": self._box(face.box)} | times

    def similarity(self, value: float) -> Json:
        """Return a similarity and (status) how many strangers reach what is shown of it."""
        shown = rounded(value)
        if not self.status or self.rates is None:
            return {"similarity": shown}
        # Three digits are more than any table is sure of.
        return {"similarity": shown, "false_match_rate": float(f"{self.rates.rate(shown):.3g}")}

    def match(self, match: Match) -> Json:
        """Return a subject with its similarity and (image_id) the example it is seen in."""
        example: Json = {"image_id": str(match.image_id)} if self.image_id else {}
        return {"subject": match.subject} | self.similarity(match.similarity) | example

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
        view.face(one.face) | {"subjects": [view.match(match) for match in one.matches]}
        for one in found
    ]
    return {"result": result} | _versions(versions)


def example_verification(
    example: Example, compared: Iterable[Compared], view: View, versions: Mapping[str, str] | None
) -> Json:
    """Answer of `recognition/faces/{image_id}/verify`."""
    result = [
        view.face(one.face) | {"subject": example.subject} | view.similarity(one.similarity)
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
    matches = [view.face(one.face) | view.similarity(one.similarity) for one in compared]
    one: Json = {"source_image_face": view.face(source), "face_matches": matches}
    return {"result": [one | _versions(versions)]}


def recognized_embeddings(
    embeddings: Sequence[Sequence[float]], matches: Sequence[Sequence[Match]], view: View
) -> Json:
    """Answer of `recognition/embeddings/recognize`: each embedding as it was sent, in order."""
    return {
        "result": [
            {"embedding": embedding, "similarities": [view.match(match) for match in found]}
            for embedding, found in zip(embeddings, matches, strict=True)
        ]
    }


def verified_embeddings(
    embeddings: Sequence[Sequence[float]], ranked: Iterable[tuple[int, float]], view: View
) -> Json:
    """Answer of the `embeddings … verify` calls: each embedding as sent, most similar first."""
    return {
        "result": [
            {"embedding": embeddings[position]} | view.similarity(similarity)
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


def _versions(versions: Mapping[str, str] | None) -> Json:
    return {} if versions is None else {"plugins_versions": dict(versions)}
