"""Decoding what is hostile: small files that cost much, random damage, and known odd pictures."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from knownface.errors import UnreadableImage
from knownface.imaging import Decoder, ImageLimits, media_type
from knownface.imaging.budget import MemoryBudget
from picture_files import hostile_files, saved, texture, turned_png

EVALUATION = Path(
    os.environ.get("KNOWNFACE_EVAL_DATA") or Path(__file__).parents[2] / "shared" / "data"
)
READ = {"JPEG", "MPO", "PNG", "GIF", "BMP", "TIFF", "WEBP", "ICO"}
DECODER = Decoder()
HOSTILE = hostile_files()


def outcome(data: bytes, decoder: Decoder = DECODER) -> str:
    """Decode and say what came of it; whatever else is raised fails the test."""
    try:
        image = decoder.decode(data)
    except UnreadableImage:
        return "refused"
    assert image.pixels.shape == (image.height, image.width, 3)
    return "shown"


# Files that would cost a careless reader gigabytes or minutes


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_costs_little_time(name: str) -> None:
    assert len(HOSTILE[name]) <= DECODER.limits.max_bytes, "else nobody would read it at all"
    before = time.thread_time()
    outcome(HOSTILE[name])
    assert time.thread_time() - before < 3


@pytest.mark.parametrize(
    "name",
    [
        "a JPEG with half a million fractions",
        "a PNG with texts that unpack to 400 MB",
        "a PNG with a second, larger header",
        "a GIF with a million comments",
        "a TIFF whose directory leads to itself",
    ],
)
def test_a_picture_is_shown_whatever_is_packed_around_it(name: str) -> None:
    assert outcome(HOSTILE[name]) == "shown"


def megabytes(files: str, which: str = "VmHWM") -> int:
    """Decode files in eight threads of a fresh process; return how much more memory it then has.

    `which` is VmHWM for the most that it ever had, or VmRSS for what it has afterwards.
    """
    if sys.platform != "linux":
        pytest.skip("the memory of a process is read from Linux")
    told = subprocess.run(
        [sys.executable, "-c", DECODE_ALL, files, which],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    return int(told.stdout)


DECODE_ALL = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from knownface.errors import UnreadableImage
from knownface.imaging import Decoder
from picture_files import flat_png, hostile_files
def memory(name):
    with open('/proc/self/status') as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) >> 10
def decode(data):
    try: decoder.decode(data)
    except UnreadableImage: pass
decoder = Decoder()
files = eval(sys.argv[1])
before = memory('VmRSS')
with ThreadPoolExecutor(8) as threads:
    for _ in threads.map(decode, files): pass
print(memory(sys.argv[2]) - before)
"""


def test_hostile_files_cost_little_memory() -> None:
    assert megabytes("list(hostile_files().values())") < 200


def test_big_pictures_at_the_same_time_do_not_add_up() -> None:
    # Each takes 7 bytes a pixel, 168 MB, while it is decoded: 1.3 GB if all were decoded at once.
    assert megabytes("[flat_png(6000, 4000)] * 8") < 800


def test_memory_is_given_back() -> None:
    assert (
        megabytes("[flat_png(side, side) for side in (4000, 3000, 2000, 1500)] * 4", "VmRSS") < 80
    )


# Random damage


@cache
def small_files() -> list[bytes]:
    """Valid little files of each format, with what they may carry."""
    picture = Pillow.fromarray(texture(24, 16))
    exif = Pillow.Exif()
    exif[0x112] = 6
    animated = {"save_all": True, "append_images": [picture.rotate(90)]}
    return [
        saved(picture, "JPEG", exif=exif),
        saved(picture.convert("CMYK"), "JPEG", progressive=True),
        saved(picture.convert("RGBA"), "PNG", exif=exif),
        saved(picture.convert("P"), "PNG", transparency=3),
        turned_png(np.asarray(picture), 8, "ImageMagick"),
        turned_png(np.asarray(picture), 8, "XMP compressed"),
        saved(picture, "GIF", **animated),
        saved(picture, "BMP"),
        saved(picture.convert("P"), "BMP"),
        saved(picture, "TIFF", exif=exif),
        saved(picture.convert("F"), "TIFF", compression="tiff_lzw"),
        saved(picture.convert("1"), "TIFF", compression="group4"),
        saved(picture, "TIFF", compression="jpeg"),
        saved(picture, "WEBP", exif=exif, lossless=True),
        saved(picture, "WEBP", **animated),
        saved(picture, "ICO", sizes=[(16, 16)], bitmap_format="bmp"),
        saved(picture, "ICO", sizes=[(16, 16)]),
    ]


SMALL = Decoder(ImageLimits(max_bytes=1 << 20, max_pixels=1_000_000))
positions = st.floats(0, 1, exclude_max=True)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_answered(data: bytes) -> None:
    outcome(data, SMALL)
    assert media_type(data)


@given(st.sampled_from(small_files()), st.binary(max_size=200))
def test_arbitrary_bytes_behind_a_beginning_are_answered(data: bytes, rest: bytes) -> None:
    outcome(data[:12] + rest, SMALL)


@given(st.sampled_from(small_files()), positions)
def test_a_file_cut_anywhere_is_answered(data: bytes, position: float) -> None:
    outcome(data[: int(position * len(data))], SMALL)


@given(
    st.sampled_from(small_files()),
    st.lists(st.tuples(positions, st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_file_with_bytes_changed_is_answered(
    data: bytes, changes: list[tuple[float, int]]
) -> None:
    damaged = bytearray(data)
    for position, value in changes:
        damaged[int(position * len(data))] = value
    outcome(bytes(damaged), SMALL)


@given(st.sampled_from(small_files()), positions, positions, positions)
def test_a_file_with_a_part_moved_is_answered(
    data: bytes, start: float, end: float, to: float
) -> None:
    first, last, target = (int(position * len(data)) for position in (start, end, to))
    outcome(data[:target] + data[first:last] + data[target:], SMALL)


# Known odd pictures


def evaluation_folder(name: str) -> Path:
    folder = EVALUATION / name
    if not folder.is_dir():
        pytest.skip(f"no evaluation data {name}: set KNOWNFACE_EVAL_DATA to where it lies")
    return folder


def manifest(folder: Path) -> Iterator[dict[str, str]]:
    """Yield what another decoder made of each file that is there."""
    with (folder / "MANIFEST.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if (folder / row["path"]).is_file():
                yield row


def test_odd_pictures_fed_by_eight_threads_are_all_answered() -> None:
    folder = evaluation_folder("robust-images")
    paths = [path for path in folder.rglob("*") if path.is_file()]
    slowest = [0.0]

    def answer(path: Path) -> str:
        data = path.read_bytes()
        before = time.thread_time()
        answered = outcome(data)
        slowest[0] = max(slowest[0], time.thread_time() - before)
        return answered

    with ThreadPoolExecutor(8) as threads:
        answers = Counter(threads.map(answer, paths))
    assert sum(answers.values()) == len(paths)
    assert answers["shown"] > 600
    assert slowest[0] < 2


def test_odd_pictures_cost_little_memory() -> None:
    folder = evaluation_folder("robust-images")
    files = f"[path.read_bytes() for path in Path({str(folder)!r}).rglob('*') if path.is_file()]"
    assert megabytes(files) < 400


def test_no_picture_is_refused_that_another_decoder_reads() -> None:
    folder = evaluation_folder("robust-images")
    readable = [
        row["path"] for row in manifest(folder) if row["status"] == "ok" and row["format"] in READ
    ]
    assert len(readable) > 600
    refused = [path for path in readable if outcome((folder / path).read_bytes()) == "refused"]
    assert refused == []


@pytest.mark.parametrize("name", ["Landscape", "Portrait"])
def test_pictures_of_all_orientations_look_alike(name: str) -> None:
    folder = evaluation_folder("robust-exif")
    pictures = [
        DECODER.decode((folder / f"{name}_{number}.jpg").read_bytes()).pixels.astype(np.int16)
        for number in range(9)
    ]
    assert {picture.shape for picture in pictures} == {pictures[0].shape}
    # They carry their number as text, were compressed anew, and differ by 4.4 levels at most;
    # turned the wrong way they differ by more than 30.
    assert max(float(np.abs(picture - pictures[0]).mean()) for picture in pictures) < 8


# Memory


def test_work_within_the_budget_goes_on_side_by_side() -> None:
    budget = MemoryBudget(total=10, free=1)
    with budget.hold(6), budget.hold(4), budget.hold(1):
        pass  # all at once, or this would never end


def test_work_beyond_the_budget_waits_in_order_and_small_work_does_not() -> None:
    budget = MemoryBudget(total=10, free=1)
    done: list[str] = []
    first_inside, release = threading.Event(), threading.Event()

    def work(name: str, amount: int, inside: threading.Event | None = None) -> None:
        with budget.hold(amount):
            done.append(name)
            if inside:
                inside.set()
                release.wait(10)

    threads = [threading.Thread(target=work, args=("first", 8, first_inside))]
    threads[0].start()
    assert first_inside.wait(10)
    for name, amount in (("huge", 99), ("small enough, but later", 2)):
        threads.append(threading.Thread(target=work, args=(name, amount)))
        threads[-1].start()
        while budget.waiting < len(threads) - 1:
            threading.Event().wait(0.001)
    work("tiny", 1)
    assert done == ["first", "tiny"]
    release.set()
    for thread in threads:
        thread.join(10)
    assert done == ["first", "tiny", "huge", "small enough, but later"]


def test_a_failure_gives_its_share_back() -> None:
    budget = MemoryBudget(total=10, free=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), budget.hold(10):
            raise ZeroDivisionError
