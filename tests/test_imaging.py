"""Decoding what is sound: formats by content, colours, orientation."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image as Pillow

from knownface.imaging import (
    Decoder,
    media_type,
)
from knownface.types import U8
from picture_files import (
    bitmap,
    icon,
    raw_png,
    saved,
    texture,
    tiff,
    turned_png,
)

DECODER = Decoder()
PLAIN = texture(40, 24)
ROWS_IN_TWO_STRIPS = texture(700, 500)

# What the orientation of EXIF means, in numpy's words.
UPRIGHT: dict[int, Callable[[U8], U8]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).transpose(1, 0, 2),
    8: np.rot90,
}


def decoded(data: bytes) -> U8:
    return DECODER.decode(data).pixels


def difference(one: U8, other: U8) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_pixels_come_as_contiguous_rgb_bytes() -> None:
    image = DECODER.decode(saved(Pillow.fromarray(PLAIN), "PNG"))
    assert (image.width, image.height) == (40, 24)
    assert image.pixels.dtype == np.uint8
    assert image.pixels.flags.c_contiguous
    assert np.array_equal(image.pixels, PLAIN)


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        ("JPEG", "image/jpeg"), ("PNG", "image/png"), ("GIF", "image/gif"), ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"), ("WEBP", "image/webp"), ("ICO", "image/x-icon"),
    ],
)  # fmt: skip
def test_a_format_is_told_from_the_content(kind: str, type_: str) -> None:
    picture = Pillow.fromarray(texture(64, 64))
    data = saved(picture, kind, **({"sizes": [(64, 64)]} if kind == "ICO" else {}))
    assert media_type(data) == type_
    assert difference(decoded(data), np.asarray(picture)) < 12


lossless = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40).map(lambda size: (*size, 3))
)


@given(lossless, st.sampled_from(["PNG", "BMP", "TIFF", "TIFF lzw", "TIFF deflate", "WEBP"]))
def test_a_lossless_format_gives_back_each_pixel(pixels: U8, way: str) -> None:
    kind, _, compression = way.partition(" ")
    options: dict[str, object] = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    if compression:
        options["compression"] = f"tiff_{'adobe_' * (compression == 'deflate')}{compression}"
    assert np.array_equal(decoded(saved(Pillow.fromarray(pixels), kind, **options)), pixels)


@given(lossless)
def test_grey_gif_gives_back_each_pixel(pixels: U8) -> None:
    grey = Pillow.fromarray(pixels[..., 0].copy())
    assert np.array_equal(decoded(saved(grey, "GIF")), np.asarray(grey.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    frames = [Pillow.new("RGB", (32, 32), colour) for colour in ("red", "blue", "lime")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert difference(decoded(data), np.asarray(frames[0])) < 3


def test_the_largest_picture_of_an_icon_is_taken() -> None:
    data = saved(Pillow.fromarray(texture(64, 64)), "ICO", sizes=[(16, 16), (64, 64), (32, 32)])
    assert decoded(data).shape == (64, 64, 3)


def test_an_icon_may_hold_a_bitmap_with_a_mask() -> None:
    body = bytes([0, 0, 255] * 8 + [255, 0, 0] * 8) * 16
    mask = b"\x00\x00\0\0" * 8 + b"\xff\xff\0\0" * 8
    data = icon(bitmap(16, 32, 24, body + mask)[14:], side=16, bits=24)
    pixels = decoded(data)
    assert pixels[15, 0].tolist() == [255, 0, 0]
    assert pixels[15, 15].tolist() == [0, 0, 255]
    assert pixels[0, 0].tolist() == [255, 255, 255], "what the mask hides is white"


# Colours


def test_cmyk_jpegs_have_the_colours_that_were_meant() -> None:
    meant = Pillow.fromarray(texture(64, 64))
    data = saved(meant.convert("CMYK"), "JPEG", quality=95)
    assert difference(decoded(data), np.asarray(meant.convert("CMYK").convert("RGB"))) < 6


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_tiffs_of_other_colour_spaces_become_rgb(mode: str) -> None:
    meant = Pillow.new("RGB", (16, 16), (180, 90, 40))
    assert difference(decoded(saved(meant.convert(mode), "TIFF")), np.asarray(meant)) < 4


def test_one_bit_pictures_are_black_and_white() -> None:
    picture = Pillow.fromarray(PLAIN).convert("1")
    assert np.array_equal(decoded(saved(picture, "PNG")), np.asarray(picture.convert("RGB")))


RAMP = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)


@pytest.mark.parametrize("way", ["PNG", "TIFF", "big-endian TIFF", "negative TIFF", "12-bit TIFF"])
def test_sixteen_bit_grey_is_scaled_not_cut(way: str) -> None:
    data = {
        "PNG": raw_png(RAMP, 0),
        "TIFF": tiff(8, 8, RAMP.tobytes(), {258: (3, [16])}),
        "big-endian TIFF": tiff(8, 8, RAMP.astype(">u2").tobytes(), {258: (3, [16])}, ">"),
        "negative TIFF": tiff(8, 8, (65535 - RAMP).tobytes(), {258: (3, [16]), 262: (3, [0])}),
        "12-bit TIFF": tiff(8, 8, packed_12(RAMP >> 4), {258: (3, [12])}),
    }[way]
    expected = np.repeat((RAMP / 257)[..., None], 3, axis=2)
    assert np.abs(decoded(data) - expected).max() <= 1


def packed_12(values: np.ndarray) -> bytes:
    """Two 12-bit values in three bytes."""
    digits = "".join(f"{value:03x}" for value in values.flat)
    return bytes.fromhex(digits)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_sixteen_bit_colour_is_scaled_not_cut(colour: int, channels: int) -> None:
    values = np.repeat(RAMP[..., None], channels, axis=2)
    if channels in (2, 4):
        values[..., -1] = 65535
    expected = np.repeat((RAMP >> 8)[..., None], 3, axis=2)
    assert np.array_equal(decoded(raw_png(values, colour)), expected)


def test_a_transparent_grey_value_of_sixteen_bits_is_white() -> None:
    pixels = decoded(raw_png(RAMP, 0, (b"tRNS", struct.pack(">H", RAMP[0, 3]))))
    assert pixels[0, 3].tolist() == [255, 255, 255]
    assert pixels[0, 2, 0] < 10


@pytest.mark.parametrize(
    ("low", "high", "black", "white"),
    [
        (0.0, 1.0, 0.0, 1.0),
        (0.0, 0.7, 0.0, 1.0),
        (0.0, 255.0, 0.0, 255.0),
        (0.0, 65535.0, 0.0, 65535.0),
        (0.0, 3000.0, 0.0, 3000.0),
        (-2.0, 6.0, -2.0, 6.0),
        (5e6, 9e6, 0.0, 9e6),
    ],
)
def test_floating_point_grey_is_shown_over_its_range(
    low: float, high: float, black: float, white: float
) -> None:
    values = np.linspace(low, high, 64, dtype=np.float32).reshape(8, 8)
    data = tiff(8, 8, values.tobytes(), {258: (3, [32]), 339: (3, [3])})
    expected = (values - black) / (white - black) * 255
    assert np.abs(decoded(data)[..., 0] - expected).max() <= 0.51


def test_numbers_that_are_none_do_not_spoil_a_floating_point_picture() -> None:
    values = np.full((8, 8), 0.5, np.float32)
    values[0, :3] = [np.nan, np.inf, -np.inf]
    values[7, 7] = 1.0
    pixels = decoded(tiff(8, 8, values.tobytes(), {258: (3, [32]), 339: (3, [3])}))[..., 0]
    assert pixels[0, :4].tolist() == [0, 255, 0, 128]


def test_the_extremes_of_floating_point_are_shown() -> None:
    values = np.array([[-3e38, 3e38, 0, 0]], np.float32)
    body = values.tobytes()[:12] + b"\1\0\x80\x7f"  # a signalling NaN
    pixels = decoded(tiff(4, 1, body, {258: (3, [32]), 339: (3, [3])}))[..., 0]
    assert pixels[0].tolist() == [0, 255, 128, 0]


def test_a_floating_point_picture_of_nothing_is_black() -> None:
    values = np.full((8, 8), np.nan, np.float32)
    assert not decoded(tiff(8, 8, values.tobytes(), {258: (3, [32]), 339: (3, [3])})).any()


@pytest.mark.parametrize(
    "picture",
    [
        Pillow.new("RGBA", (4, 4), (200, 0, 0, 0)),
        Pillow.new("LA", (4, 4), (0, 0)),
    ],
    ids=["colour", "grey"],
)
def test_what_is_transparent_is_white(picture: Pillow.Image) -> None:
    picture.putpixel((1, 1), (200, 0, 0, 255) if picture.mode == "RGBA" else (40, 255))
    picture.putpixel((2, 2), (0, 0, 0, 128) if picture.mode == "RGBA" else (0, 128))
    pixels = decoded(saved(picture, "PNG"))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == ([200, 0, 0] if picture.mode == "RGBA" else [40, 40, 40])
    assert pixels[2, 2].tolist() == [127, 127, 127]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff"])
def test_transparent_colours_of_a_palette_are_white(transparency: int | bytes) -> None:
    picture = Pillow.new("P", (3, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    for x in range(3):
        picture.putpixel((x, 0), x)
    pixels = decoded(saved(picture, "PNG", transparency=transparency))
    assert pixels[0].tolist() == [[10, 20, 30], [255, 255, 255], [70, 80, 90]]


def test_one_colour_may_be_the_transparent_one() -> None:
    data = raw_png(PLAIN, 2, (b"tRNS", struct.pack(">HHH", *PLAIN[5, 5].tolist())))
    pixels = decoded(data)
    assert pixels[5, 5].tolist() == [255, 255, 255]
    assert difference(pixels, PLAIN) < 2


def test_premultiplied_grey_is_laid_on_white() -> None:
    body = bytes([100, 255, 0, 0])
    tags = {258: (3, [8, 8]), 277: (3, [2]), 338: (3, [1])}
    assert decoded(tiff(2, 1, body, tags))[0].tolist() == [[100] * 3, [255] * 3]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_that_hides_everything_was_not_meant(mode: str) -> None:
    picture = Pillow.fromarray(PLAIN).convert(mode)
    picture.putalpha(0)
    expected = np.asarray(picture.convert("RGB"))
    assert np.array_equal(decoded(saved(picture, "PNG")), expected)


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_upright(kind: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x112] = orientation
    data = saved(Pillow.fromarray(ROWS_IN_TWO_STRIPS), kind, exif=exif)
    expected = UPRIGHT[orientation](ROWS_IN_TWO_STRIPS)
    assert difference(decoded(data), expected) < 6
    assert decoded(data).flags.c_contiguous


@pytest.mark.parametrize("way", ["eXIf", "ImageMagick", "XMP", "XMP compressed"])
def test_a_png_may_say_its_orientation_in_several_ways(way: str) -> None:
    assert np.array_equal(decoded(turned_png(PLAIN, 6, way)), UPRIGHT[6](PLAIN))


def test_xmp_counts_where_exif_says_nothing() -> None:
    xmp = b"http://ns.adobe.com/xap/1.0/\0<tiff:Orientation>8</tiff:Orientation>"
    segment = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
    data = saved(Pillow.fromarray(texture(64, 32)), "JPEG")
    assert decoded(data[:2] + segment + data[2:]).shape == (64, 32, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"nonsense",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x09\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\0\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0\1\0\x12\1\2\0\1\0\0\0\6\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0\1\0\x12\1\3\0\xff\xff\xff\xff\6\0\0\0\0\0\0\0",
    ],
)
def test_broken_exif_data_is_ignored(exif: bytes) -> None:
    body = b"Exif\0\0" + exif
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    data = saved(Pillow.fromarray(PLAIN), "JPEG")
    assert np.array_equal(decoded(data[:2] + segment + data[2:]), decoded(data))
    raw = (b"tEXt", b"Raw profile type exif\0\nexif\n 2\nnot hexadecimal")
    assert np.array_equal(decoded(raw_png(PLAIN, 2, raw)), PLAIN)
    with_chunk = raw_png(PLAIN, 2, (b"zTXt", b"Raw profile type exif\0\0oh"), (b"eXIf", exif))
    assert np.array_equal(decoded(with_chunk), PLAIN)
