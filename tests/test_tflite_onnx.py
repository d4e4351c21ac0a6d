"""Translating TFLite: the ONNX file computes what the original means, and is always the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import tiny_tflite
from knownface.errors import ConfigurationError, ModelUnavailable
from knownface.vision.catalog import Carrier, ModelSpec
from knownface.vision.convert import convert
from tiny_carrier import sha256
from tiny_tflite import Network

# Of the translated tiny network: the shipped catalogue pins the mesh in the same way.
PINNED = "16eef087e6528d6e9d553fff90bb61f2d7b2b6ce7606328ad9494acec39f2914"

SPEC = ModelSpec(
    name="tiny",
    task="attribute",
    family="tiny",
    file="tiny.onnx",
    input="picture",
    layout="NHWC",
    carrier=Carrier(
        package="tinycarrier",
        version="1.0",
        wheel="tinycarrier-1.0-py3-none-any.whl",
        sha256="0" * 64,
        bytes=1,
        member="tiny.tflite",
        member_sha256="0" * 64,
        conversion="tflite",
    ),
)


@pytest.fixture(scope="module")
def network() -> Network:
    return tiny_tflite.every_operator()


def test_the_runtime_computes_what_the_operators_are_defined_to(network: Network) -> None:
    session = onnxruntime.InferenceSession(convert(network.serialize(), SPEC))
    for picture in np.random.default_rng(1).standard_normal((5, 9, 8, 3)).astype(np.float32):
        expected = tiny_tflite.evaluate(network, picture)
        found = session.run(None, {"picture": picture[None]})
        assert [np.shape(values) for values in found] == [(1, 5), (1, 1)]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(np.ravel(ours), theirs, rtol=1e-4, atol=1e-4)


def test_the_translation_is_the_same_in_every_process_and_version(network: Network) -> None:
    program = (
        "import test_tflite_onnx as t, tiny_tflite as n;"
        "print(t.sha256(t.convert(n.every_operator().serialize(), t.SPEC)))"
    )
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == PINNED
    assert sha256(convert(network.serialize(), SPEC)) == PINNED


def test_the_file_says_nothing_of_its_exporter(network: Network) -> None:
    model = onnx.load_model_from_string(convert(network.serialize(), SPEC))
    assert (model.producer_name, model.producer_version, model.ir_version) == ("knownface", "", 8)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]


def test_a_batch_is_open_only_where_the_catalogue_says_so(network: Network) -> None:
    content = network.serialize()
    pinned = onnxruntime.InferenceSession(convert(content, SPEC))
    assert pinned.get_inputs()[0].shape == [1, 9, 8, 3]
    session = onnxruntime.InferenceSession(convert(content, replace(SPEC, max_batch=4)))
    assert session.get_inputs()[0].shape == ["batch", 9, 8, 3]
    pictures = np.random.default_rng(2).standard_normal((2, 9, 8, 3)).astype(np.float32)
    both = np.asarray(session.run(None, {"picture": pictures})[0])
    each = [np.asarray(session.run(None, {"picture": p[None]})[0])[0] for p in pictures]
    np.testing.assert_allclose(both, each, rtol=1e-5, atol=1e-5)


def fused() -> Network:
    net = Network((4, 4, 2))
    relu = 1
    made = net.add("ADD", [net.input, net.input], (4, 4, 2), FusedActivationFunction=relu)
    net.outputs = [made]
    return net


def dilated() -> Network:
    net = Network((4, 4, 2))
    inputs = [net.input, net.weights(1, 2, 2, 2), net.weights(1)]
    options = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 2, "DilationWFactor": 2}
    net.outputs = [net.add("CONV_2D", inputs, (4, 4, 1), **options)]
    return net


def unknown() -> Network:
    net = Network((4, 4, 2))
    net.outputs = [net.add("SOFTMAX", [net.input], (4, 4, 2))]
    return net


def spatial() -> Network:
    net = Network((4, 4, 2))
    net.outputs = [net.add("ADD", [net.input, net.input], (4, 4, 2))]
    return net


def constant_term() -> Network:
    net = Network((4, 4, 2))
    net.outputs = [net.add("ADD", [net.input, net.weights(1, 1, 2)], (4, 4, 2))]
    return net


def weightless() -> Network:
    net = Network((4, 4, 2))
    slopes = net.tensor("slopes", (1, 1, 2), np.array([[[1, 2]]], np.int32))
    net.outputs = [net.add("PRELU", [net.input, slopes], (4, 4, 2))]
    return net


def local_slopes() -> Network:
    net = Network((4, 4, 2))
    net.outputs = [net.add("PRELU", [net.input, net.weights(4, 4, 2)], (4, 4, 2))]
    return net


def multiplied() -> Network:
    net = Network((4, 4, 2))
    inputs = [net.input, net.weights(1, 1, 1, 4), net.weights(4)]
    options = {"StrideH": 1, "StrideW": 1, "DepthMultiplier": 2}
    net.outputs = [net.add("DEPTHWISE_CONV_2D", inputs, (4, 4, 4), **options)]
    return net


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (fused, "fuses an activation"),
        (dilated, "dilates a convolution"),
        (unknown, "uses SOFTMAX"),
        (spatial, "output of 4 x 4 cells"),
        (constant_term, "not two pictures of one size"),
        (weightless, "lacks slopes as a constant float32"),
        (local_slopes, "slopes differ"),
        (multiplied, "multiplies channels"),
    ],
)
def test_what_has_no_translation_is_refused(make: Callable[[], Network], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"tiny .*{complaint}.*; it cannot be converted"):
        convert(make().serialize(), SPEC)


def test_a_file_of_another_kind_is_refused(network: Network) -> None:
    with pytest.raises(ConfigurationError, match="tiny is not a TFLite file"):
        convert(b"<html>not found</html>", SPEC)
    with pytest.raises(ConfigurationError, match=r"has the inputs \['picture'\], not \['image'\]"):
        convert(network.serialize(), replace(SPEC, input="image"))


def test_without_the_converter_the_message_says_what_to_install(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(ModelUnavailable, match="package tflite: `pip install tflite`"):
        convert(network.serialize(), SPEC)
