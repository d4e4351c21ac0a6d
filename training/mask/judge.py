"""Judge the shipped mask network on pictures, through the server's own path.

    python training/mask/judge.py PICTURES [--part validation] [--worst FILE.png]

The detected face that overlaps a labelled box is judged, else the labelled box itself.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from gather import LABELS, Labelled, best_match, open_pipeline, read_labels

from knownface.imaging import Decoder, ImageLimits, surroundings
from knownface.types import F32, U8
from knownface.vision.pipeline import Pipeline
from knownface.vision.plugins.mask import Mask

PARTS = Path(__file__).parent / "parts.csv"


@dataclass(frozen=True, slots=True)
class Judged:
    """A labelled face, what the network said, whether the detector found it, and its picture."""

    face: Labelled
    probability: F32
    found: bool
    crop: U8

    @property
    def said(self) -> int:
        return int(self.probability.argmax())


def judge(
    pipeline: Pipeline, model: Path, pictures: Path, faces: Sequence[Labelled]
) -> Iterator[Judged]:
    """Yield the judgement of each face."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    plugin, decoder = pipeline.plugins["mask"], Decoder(ImageLimits())
    assert isinstance(plugin, Mask)

    def one(face: Labelled) -> Judged:
        image = decoder.decode((pictures / "images" / face.file).read_bytes())
        found = best_match(pipeline.detect(image), face.box)
        box = found.box if found else face.box
        output = session.run(None, {"rgb": plugin.prepare(image, box)[None]})[0][0]
        return Judged(face, output, found is not None, surroundings(image, box, 1.6, 96))

    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(one, faces)


def table(judged: Sequence[Judged]) -> None:
    """Print the figures of everything, of each source and by size."""
    sizes: list[tuple[str, Callable[[Judged], bool]]] = [
        ("all", lambda _: True),
        ("kaggle-cc0", lambda j: j.face.source == "kaggle-cc0"),
        ("chandrika-mit", lambda j: j.face.source == "chandrika-mit"),
        ("under 24 px", lambda j: _size(j) < 24),
        ("24 to 40 px", lambda j: 24 <= _size(j) < 40),
        ("from 40 px", lambda j: _size(j) >= 40),
        ("kaggle from 24 px", lambda j: j.face.source == "kaggle-cc0" and _size(j) >= 24),
        ("missed by the detector", lambda j: not j.found),
    ]
    print(f"{'':24} {'n':>5} {'right':>7} {'balanced':>8} {'mask?':>7}   recall of each class")
    for name, belongs in sizes:
        _row(name, [j for j in judged if belongs(j)])
    print("\nlabel (rows), answer (columns): " + ", ".join(LABELS))
    for k, label in enumerate(LABELS):
        said = [j.said for j in judged if j.face.label == k]
        print(f"{label:24}" + "".join(f"{said.count(answer):6}" for answer in range(3)))


def _size(judged: Judged) -> float:
    return min(judged.face.box.width, judged.face.box.height)


def _row(name: str, judged: Sequence[Judged]) -> None:
    true = np.array([j.face.label for j in judged])
    said = np.array([j.said for j in judged])
    if not len(true):
        return
    classes = [k for k in range(3) if (true == k).any()]
    each = {k: float(np.mean(said[true == k] == k)) for k in classes}
    recall = "  ".join(f"{LABELS[k]} {each[k]:.3f} of {(true == k).sum()}" for k in classes)
    print(
        f"{name:24} {len(true):5} {np.mean(said == true):7.2%} {np.mean([*each.values()]):8.2%}"
        f" {np.mean((said > 0) == (true > 0)):7.2%}   {recall}"
    )


def worst(judged: Sequence[Judged], path: Path, count: int = 96) -> None:
    """Write a sheet of the mistakes, the surest first: label, answer and its probability."""
    wrong = [j for j in judged if j.said != j.face.label]
    wrong.sort(key=lambda j: float(j.probability[j.face.label]))
    cells = []
    for j in wrong[:count]:
        cell = cv2.copyMakeBorder(j.crop, 0, 14, 0, 0, cv2.BORDER_CONSTANT)
        text = f"{'NWI'[j.face.label]}->{'NWI'[j.said]} {j.probability[j.said]:.2f} {_size(j):.0f}"
        cv2.putText(cell, text, (1, 107), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (255, 255, 255), 1)
        cells.append(cell)
    cells += [np.zeros((110, 96, 3), np.uint8)] * (-len(cells) % 12)
    rows = [np.hstack(cells[k : k + 12]) for k in range(0, len(cells), 12)]
    cv2.imwrite(str(path), np.vstack(rows)[:, :, ::-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--part", default="validation")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--models", type=Path, default=Path("knownface-data/models"))
    parser.add_argument("--worst", type=Path)
    arguments = parser.parse_args()
    with PARTS.open(encoding="utf-8", newline="") as stream:
        part = {row["picture"]: row["part"] for row in csv.DictReader(stream)}
    faces = [
        face
        for face in read_labels(arguments.pictures / "labels.csv")
        if part.get(face.picture) == arguments.part
    ]
    pipeline = open_pipeline(arguments.models)
    model = arguments.model or pipeline.networks["mask"].path
    assert model is not None
    judged = list(judge(pipeline, model, arguments.pictures, faces))
    table(judged)
    if arguments.worst:
        worst(judged, arguments.worst)


if __name__ == "__main__":
    main()
