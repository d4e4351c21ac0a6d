"""A crop becomes what a network is fed: the catalogue says its colours, range and layout."""

from __future__ import annotations

import cv2
import numpy as np

from knownface.errors import ModelUnavailable
from knownface.types import F32, U8
from knownface.vision.catalog import ModelSpec


def to_tensor(crop: U8, spec: ModelSpec) -> F32:
    """Return a crop, uint8 [H, W, 3] RGB, as float32 [3, H, W], or [H, W, 3] for an NHWC model.

    ModelUnavailable where nobody knows mean and scale.
    """
    if spec.mean is None or spec.scale is None:
        raise ModelUnavailable(
            f"How pictures are fed to the model {spec.name} stands in its file, which came after "
            "the start: start the program anew."
        )
    channels = crop[:, :, ::-1] if spec.colour == "BGR" else crop
    values = channels.astype(np.float32)
    if spec.mean:
        values -= np.asarray(spec.mean, np.float32)
    if spec.scale != 1.0:
        values *= np.float32(spec.scale)
    return np.ascontiguousarray(values if spec.layout == "NHWC" else values.transpose(2, 0, 1))


def planes(pixels: U8, *, backwards: bool = False) -> F32:
    """Return pixels, uint8 [H, W, C], as float32 [C, H, W], the last channel first if `backwards`.

    Plane by plane this takes half the time of one transposition.
    """
    height, width, channels = pixels.shape
    tensor = np.empty((channels, height, width), np.float32)
    into = tensor[::-1] if backwards else tensor
    for plane, channel in zip(into, cv2.split(pixels), strict=True):
        np.copyto(plane, channel)
    return tensor
