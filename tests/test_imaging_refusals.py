"""Decoding what is too large, foreign, cut short or damaged: what is shown, and what is said."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Literal

import numpy as np
import pytest
from PIL import Image as Pillow

from knownface.errors import PayloadTooLarge, UnreadableImage
from knownface.imaging import (
    Decoder,
    ImageLimits,
    media_type,
)
from knownface.types import U8
from picture_files import (
    END,
    Tags,
    bitmap,
    flat_png,
    header,
    icon,
    many_scans,
    png,
    saved,
    texture,
    tiff,
)

DECODER = Decoder()
PLAIN = texture(40, 24)
FRAME = b"\xff\xc0\0\x0b"
TWELVE_BITS = saved(Pillow.new("L", (8, 8)), "JPEG").replace(FRAME + b"\x08", FRAME + b"\x0c")


def decoded(data: bytes) -> U8:
    return DECODER.decode(data).pixels


def refused(data: bytes, decoder: Decoder = DECODER) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decoder.decode(data)
    return caught.value.message


def difference(one: U8, other: U8) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_a_file_over_the_limit_is_refused_naming_the_limit() -> None:
    data = saved(Pillow.fromarray(PLAIN), "PNG")
    assert Decoder(ImageLimits(max_bytes=len(data))).decode(data).width == 40
    with pytest.raises(PayloadTooLarge, match=rf"{len(data) - 1} are allowed \(max_file_size\)"):
        Decoder(ImageLimits(max_bytes=len(data) - 1)).decode(data)


def test_a_picture_over_the_limit_is_refused_naming_the_limit() -> None:
    data = saved(Pillow.fromarray(PLAIN), "PNG")
    assert Decoder(ImageLimits(max_pixels=960)).decode(data).width == 40
    text = refused(data, Decoder(ImageLimits(max_pixels=959)))
    assert "40 x 24" in text
    assert "(max_image_pixels)" in text


def test_the_largest_photographs_of_compreface_are_admitted() -> None:
    assert decoded(flat_png(4912, 7360)).shape == (7360, 4912, 3)


def test_the_library_sets_no_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 10)
    frames = [Pillow.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    webp = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    lzw = saved(Pillow.fromarray(PLAIN), "TIFF", compression="tiff_lzw")
    decoder = Decoder(ImageLimits(max_pixels=4096))
    assert decoder.decode(webp).width == 64
    assert decoder.decode(lzw).width == 40


FOREIGN = {
    b"\0\0\0\x20ftypheic\0\0\0\0mif1heic": "HEIC",
    b"\0\0\0\x20ftypmif1\0\0\0\0mif1avif": "AVIF",
    b"\0\0\0\x20ftypmif1\0\0\0\0mif1heix": "HEIF",
    b"\0\0\0\x1cftypavif\0\0\0\0avifmif1": "AVIF",
    b"\0\0\0\x18ftypmp42\0\0\0\0isommp42": "a video",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51\0": "JPEG 2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"%PDF-1.7\n": "a PDF document",
    b"8BPS\0\1": "a Photoshop picture (PSD)",
    b"RIFF\0\0\0\0AVI LIST": "a video",
    b"\x89PNG\r\n\x1a"[:3] + b"x": None,
    b'<?xml version="1.0"?>\n<svg xmlns=': "SVG",
    b"\xef\xbb\xbf<svg>": "SVG",
    b"<!DOCTYPE html><html><svg>": "SVG",
    b"<!DOCTYPE html><html>": "an HTML page",
    b"data:image/png;base64,iVBORw0KGgo": "base64 text that was not decoded",
    b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAUDBAQEAwUEBAQ": "base64 text that was not decoded",
    b"hello": "text",
    bytes(64): None,
    bytes(64) + b"\0" * 8 + b"TRUEVISION-XFILE.\0": "TGA",
}


@pytest.mark.parametrize(("data", "name"), FOREIGN.items())
def test_what_is_not_read_is_named_with_what_is(data: bytes, name: str | None) -> None:
    text = refused(data)
    assert (f"looks like {name}." if name else "not recognised.") in text
    assert text.endswith("Accepted are JPEG, PNG, GIF, BMP, TIFF, WebP and ICO.")
    assert media_type(data) == "application/octet-stream"


def test_an_empty_file_is_called_empty() -> None:
    assert "empty" in refused(b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xd8\xff", "JPEG picture cannot be read: it ends before the picture begins"),
        (png([END]), "PNG picture cannot be read: it has no header"),
        (png([header(0, 5), END]), "its header gives it no size"),
        (png([header(5, 5), END]), "PNG picture cannot be read: cannot load this image"),
        (b"GIF89a\1\0\1\0\0\0\0;", "GIF picture cannot be read: it holds no picture"),
        (b"GIF89a\1\0", "it ends too early"),
        (b"BM" + bytes(60), "BMP picture cannot be read"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "its header gives it no size"),
        (b"MM\0+\0\x08\0\0" + bytes(7) + b"\x10" + bytes(16), "BigTIFF"),
        (b"RIFF\x04\0\0\0WEBPABCD" + bytes(40), "WebP picture cannot be read: its first chunk"),
        (b"\0\0\1\0\0\0", "ICO picture cannot be read: it holds no picture"),
        (TWELVE_BITS, "cannot handle 12-bit layers"),
        (many_scans(2000, 600), "more scans than a picture needs"),
        (tiff(4000, 4000, many_scans(64, 200), {259: (3, [7])}), "more scans than a picture needs"),
    ],
)  # fmt: skip
def test_a_refusal_says_which_format_and_why(data: bytes, reason: str) -> None:
    assert reason in refused(data)


# Broken files


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_cut_short_is_shown_as_far_as_it_goes(progressive: bool) -> None:
    whole = texture(256, 256)
    data = saved(Pillow.fromarray(whole), "JPEG", progressive=progressive)
    pixels = decoded(data[: len(data) // 2])
    assert pixels.shape == whole.shape
    assert difference(pixels[:64], whole[:64]) < (40 if progressive else 12)


def test_a_jpeg_that_is_cut_within_a_table_is_shown_as_far_as_it_goes() -> None:
    whole = texture(256, 256)
    data = saved(Pillow.fromarray(whole), "JPEG", progressive=True)
    second_scan = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    table = data.rindex(b"\xff\xc4", 0, second_scan)
    assert difference(decoded(data[: table + 9]), whole) < 40


@pytest.mark.parametrize(
    ("kind", "rows"),
    [("PNG", slice(64)), ("GIF", slice(64)), ("TIFF", slice(64)), ("BMP", slice(-64, None))],
)
def test_other_formats_that_are_cut_short_are_shown_as_far_as_they_go(
    kind: str, rows: slice
) -> None:
    picture = Pillow.fromarray(texture(256, 256)).convert("L")
    data = saved(picture, kind, **({"interlace": 0} if kind == "GIF" else {}))
    whole = np.asarray(picture.convert("RGB"))
    assert np.array_equal(decoded(data[: len(data) // 2])[rows], whole[rows])


def test_a_picture_damaged_in_the_middle_is_shown_as_far_as_it_goes() -> None:
    whole = texture(256, 256)
    data = bytearray(saved(Pillow.fromarray(whole), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert difference(decoded(bytes(data))[:64], whole[:64]) < 1


@pytest.mark.parametrize("progressive", [False, True])
def test_a_picture_of_which_nothing_is_left_is_refused(progressive: bool) -> None:
    data = saved(Pillow.fromarray(texture(640, 640)), "JPEG", progressive=progressive)
    assert "cut short" in refused(data[: data.index(b"\xff\xda") + 16])


def test_a_whole_picture_of_one_colour_is_not_taken_for_a_broken_one() -> None:
    assert np.ptp(decoded(saved(Pillow.new("L", (64, 64), 128), "JPEG"))) == 0


def test_no_warning_of_the_library_becomes_an_error_or_is_shown() -> None:
    # The directory says 32 x 32, the picture inside is 16 x 16: Pillow warns of it.
    data = icon(bitmap(16, 32, 24, bytes(16 * 16 * 3 + 64))[14:], side=32, bits=24)
    actions: tuple[Literal["error", "always"], ...] = ("error", "always")
    for action in actions:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter(action)
            assert decoded(data).shape == (16, 16, 3)
        assert heard == []


@pytest.mark.parametrize("tags", [{}, {277: (3, [60000])}], ids=["libtiff", "Pillow"])
def test_libraries_write_nothing_to_the_error_output(tags: Tags) -> None:
    program = (
        "import sys; from knownface.imaging import Decoder\n"
        "from knownface.errors import UnreadableImage\n"
        "try: Decoder().decode(sys.stdin.buffer.read())\n"
        "except UnreadableImage: print('refused')"
    )
    broken = tiff(64, 64, b"\x80\0\0" * 40, {259: (3, [5]), **tags})
    told = subprocess.run(
        [sys.executable, "-c", program], input=broken, capture_output=True, check=True
    )
    assert (told.stdout.strip(), told.stderr) == (b"refused", b"")
