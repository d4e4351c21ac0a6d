"""What a Python user would take instead, each in as many processes as there are cores.

A peer gets what we get, the bytes of a JPEG file and 10,000 known faces, and does the same: decode,
find the faces, embed them, compare them with every known one. None of them has to speak HTTP.
"""

from __future__ import annotations

import io
import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

import numpy as np

KNOWN = 10_000
REPETITIONS = 3

Work = Callable[[bytes], int]


def face_recognition(jpeg: bytes, pictures: int, processes: int) -> list[float]:
    """Return pictures a second of face_recognition, with its default settings, three times."""
    return _together(_dlib, jpeg, pictures, processes)


def compreface_shape(jpeg: bytes, pictures: int, processes: int) -> list[float]:
    """Return pictures a second of MTCNN and FaceNet in ONNX Runtime, three times."""
    return _together(_mtcnn_and_facenet, jpeg, pictures, processes)


def _dlib() -> Work:
    import face_recognition as peer

    known = np.random.default_rng(1).standard_normal((KNOWN, 128))

    def work(jpeg: bytes) -> int:
        pixels = peer.load_image_file(io.BytesIO(jpeg))
        found = peer.face_encodings(pixels, peer.face_locations(pixels))
        for encoding in found:
            np.argmin(peer.face_distance(known, encoding))
        return len(found)

    return work


def _mtcnn_and_facenet() -> Work:
    from bench.compreface_shape import Pipeline

    known = np.random.default_rng(1).standard_normal((KNOWN, 512), np.float32)
    pipeline = Pipeline()

    def work(jpeg: bytes) -> int:
        found = pipeline.embed(jpeg)
        np.argmin(np.linalg.norm(known - found[:, None], axis=2), axis=1)
        return len(found)

    return work


def _together(make: Callable[[], Work], jpeg: bytes, pictures: int, count: int) -> list[float]:
    """Return the pictures a second of all processes together, in each repetition."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(count)]
    processes = [
        context.Process(target=_live, args=(make, jpeg, pictures, theirs), daemon=True)
        for _, theirs in pipes
    ]
    for process in processes:
        process.start()
    rates = []
    try:
        for ours, _ in pipes:
            assert ours.recv() == 1, "the peer does not find the one face"
        for _ in range(REPETITIONS):
            started = time.perf_counter()
            for ours, _ in pipes:
                ours.send("go")
            for ours, _ in pipes:
                ours.recv()
            rates.append(count * pictures / (time.perf_counter() - started))
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return rates


def _live(make: Callable[[], Work], jpeg: bytes, pictures: int, pipe: Connection) -> None:
    work = make()
    pipe.send(work(jpeg))
    while True:
        pipe.recv()
        found: Sequence[int] = [work(jpeg) for _ in range(pictures)]
        pipe.send(len(found))
