"""The first blocks of SFace, taken out of its ONNX file as torch layers that can be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn


def blocks(path: Path, first: int, last: int) -> nn.Sequential:
    """Return blocks of SFace, its normalisations folded into the convolutions before them.

    A block is a convolution of each channel on its own and one across channels; the first is one
    whole convolution.
    """
    graph = onnx.load(path).graph
    constants = {
        value.name: torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
        for value in graph.initializer
    }
    layers: list[nn.Module] = []
    for node in graph.node:
        values = [constants[name] for name in node.input[1:] if name in constants]
        if not node.output[0].startswith("conv_"):
            continue
        if int(node.output[0].split("_")[1]) > last:
            break
        if int(node.output[0].split("_")[1]) < first:
            continue
        if node.op_type == "Conv":
            layers.append(convolution(node, values[0]))
        elif node.op_type == "BatchNormalization":
            epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
            fold(layers[-1], values, epsilon)
        else:
            layers.append(nn.PReLU(values[0].numel()))
            layers[-1].weight.data = values[0].reshape(-1)
    return nn.Sequential(*layers)


def convolution(node: onnx.NodeProto, weight: Tensor) -> nn.Conv2d:
    """Return the convolution of a node."""
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    groups = given.get("group", 1)
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(given["kernel_shape"]),
        tuple(given["strides"]),
        tuple(given["pads"][:2]),
        groups=groups,
    )
    layer.weight.data = weight
    layer.bias.data.zero_()
    return layer


def fold(layer: nn.Module, values: Sequence[Tensor], epsilon: float) -> None:
    """Put a normalisation (scale, shift, mean, variance) into the convolution before it."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    scale, shift, mean, variance = values
    factor = scale / torch.sqrt(variance + epsilon)
    layer.weight.data = layer.weight.data * factor[:, None, None, None]
    layer.bias.data = (layer.bias.data - mean) * factor + shift
