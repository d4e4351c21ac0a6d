"""A crop becomes what a network is fed: the catalogue says its colours, range and layout."""

from __future__ import annotations

import numpy as np

from knownface.types import F32, U8
from knownface.vision.catalog import ModelSpec


def to_tensor(crop: U8, spec: ModelSpec) -> F32:
    """Return a crop, uint8 [H, W, 3] RGB, as float32 [3, H, W], or [H, W, 3] for an NHWC model."""
    channels = crop[:, :, ::-1] if spec.colour == "BGR" else crop
    values = channels.astype(np.float32)
    if spec.mean:
        values -= np.asarray(spec.mean, np.float32)
    if spec.scale != 1.0:
        values *= np.float32(spec.scale)
    return np.ascontiguousarray(values if spec.layout == "NHWC" else values.transpose(2, 0, 1))
