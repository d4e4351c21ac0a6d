"""Folding: the float32 file computes what the quantised original means, and is always the same."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tiny_carrier
from knownface.errors import ConfigurationError, ModelUnavailable
from knownface.vision.catalog import ModelSpec
from knownface.vision.convert import convert

# Of the folded tiny model, with onnx 1.17 to 1.23 and numpy 2.3 to 2.4.
PINNED = "b2521c1ea50fd8bea7874a885e0481c1df90619d366f56aa49d44983923d7355"


@pytest.fixture(scope="module")
def original() -> bytes:
    return tiny_carrier.int8bq_model()


@pytest.fixture(scope="module")
def spec(original: bytes, tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    wheel = tiny_carrier.write_wheel(tmp_path_factory.mktemp("wheel"), original)
    return tiny_carrier.tiny_spec(original, wheel)


def detector(spec: ModelSpec) -> ModelSpec:
    return replace(spec, task="detector", size=None)


def edited(original: bytes, **opsets: int) -> onnx.ModelProto:
    model = onnx.load_model_from_string(original)
    for domain, version in opsets.items():
        model.opset_import.add(domain=domain, version=version)
    return model


def test_each_folded_constant_is_exactly_what_the_reference_computes(
    original: bytes, spec: ModelSpec
) -> None:
    names = ["conv.weight_reshaped", "conv.bias_dequantized"]
    names += ["dense.weight_dequantized", "dense.bias_dequantized"]
    model = onnx.load_model_from_string(original)
    reference = ReferenceEvaluator(model)
    feed = {
        "data": np.zeros((1, 3, 8, 8), np.float32),
        "conv.weight_quantized": numpy_helper.to_array(model.graph.initializer[0]),
    }
    expected = reference.run(names, feed)
    folded = onnx.load_model_from_string(convert(original, spec))
    constants = {item.name: numpy_helper.to_array(item) for item in folded.graph.initializer}
    for name, values in zip(names, expected, strict=True):
        assert constants[name].dtype == np.float32
        np.testing.assert_array_equal(constants[name], values, strict=True)


def test_the_runtime_computes_with_the_folded_file_what_the_original_means(
    original: bytes, spec: ModelSpec
) -> None:
    session = onnxruntime.InferenceSession(convert(original, spec))
    model = onnx.load_model_from_string(original)
    weights = numpy_helper.to_array(model.graph.initializer[0])
    reference = ReferenceEvaluator(model)
    for picture in np.random.default_rng(1).uniform(0, 255, (5, 1, 3, 8, 8)).astype(np.float32):
        (expected,) = reference.run(None, {"data": picture, "conv.weight_quantized": weights})
        found = np.asarray(session.run(None, {"data": picture})[0])
        assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()


def test_weights_that_the_original_lists_as_inputs_are_asked_of_nobody(
    original: bytes, spec: ModelSpec
) -> None:
    session = onnxruntime.InferenceSession(convert(original, spec))
    assert [item.name for item in session.get_inputs()] == ["data"]
    assert [item.name for item in session.get_outputs()] == ["fc"]


def test_folding_gives_the_same_bytes_in_every_process(spec: ModelSpec, tmp_path: Path) -> None:
    program = (
        "import sys, tiny_carrier as t; from pathlib import Path; o = t.int8bq_model();"
        "print(t.tiny_spec(o, t.write_wheel(Path(sys.argv[1]), o)).sha256)"
    )
    for seed in ("1", "2"):  # of the hashes of strings, and with them of the order of sets
        run = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(tiny_carrier.__file__).parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == spec.sha256


def test_folding_gives_the_bytes_that_every_version_of_onnx_gave_so_far(spec: ModelSpec) -> None:
    assert spec.sha256 == PINNED, (
        "the shipped catalogue pins converted files in the same way: with these bytes its models "
        "could no longer be installed"
    )


def test_the_folded_file_says_nothing_of_its_exporter(original: bytes, spec: ModelSpec) -> None:
    model = onnx.load_model_from_string(convert(original, spec))
    assert (model.producer_name, model.producer_version, model.ir_version) == ("knownface", "", 8)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert not any(node.doc_string for node in model.graph.node)


def test_a_fixed_size_and_a_batch_of_one_are_pinned(original: bytes, spec: ModelSpec) -> None:
    session = onnxruntime.InferenceSession(convert(original, spec))
    assert session.get_inputs()[0].shape == [1, 3, 8, 8]
    assert session.get_outputs()[0].shape == [1, 5]


def test_sizes_that_may_vary_are_open(original: bytes, spec: ModelSpec) -> None:
    open_size = onnx.load_model_from_string(convert(original, detector(spec)))
    dims = open_size.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value or dim.dim_param for dim in dims] == [1, 3, "height", "width"]
    open_batch = onnx.load_model_from_string(convert(original, replace(spec, max_batch=8)))
    dims = open_batch.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value or dim.dim_param for dim in dims] == ["batch", 3, 8, 8]
    dims = open_batch.graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_value or dim.dim_param for dim in dims] == ["batch", 5]


def test_an_original_that_runs_as_it_is_is_copied(spec: ModelSpec) -> None:
    assert spec.carrier is not None
    copied = replace(spec, carrier=replace(spec.carrier, conversion="copy"))
    assert convert(b"as it is", copied) == b"as it is"


def test_a_file_that_is_not_onnx_is_refused(spec: ModelSpec) -> None:
    with pytest.raises(ConfigurationError, match="tiny is not an ONNX file"):
        convert(b"<html>not found</html>", spec)


def test_operators_of_unproven_meaning_are_refused(original: bytes, spec: ModelSpec) -> None:
    model = edited(original)
    model.graph.node[-1].op_type = "GroupNormalization"
    with pytest.raises(ConfigurationError, match="uses GroupNormalization; it cannot be converted"):
        convert(model.SerializeToString(), spec)


def test_operator_sets_of_unproven_meaning_are_refused(original: bytes, spec: ModelSpec) -> None:
    with pytest.raises(ConfigurationError, match="operator sets"):
        convert(edited(original, vendor=1).SerializeToString(), spec)
    newer = edited(original)
    newer.opset_import[0].version = 22
    with pytest.raises(ConfigurationError, match="operator sets"):
        convert(newer.SerializeToString(), spec)


def test_an_original_with_another_input_is_refused(original: bytes, spec: ModelSpec) -> None:
    with pytest.raises(ConfigurationError, match=r"has the inputs \['data'\], not \['image'\]"):
        convert(original, replace(spec, input="image"))


def test_a_dequantisation_of_what_is_not_constant_is_refused(
    original: bytes, spec: ModelSpec
) -> None:
    model = edited(original)
    tail = helper.make_node("DequantizeLinear", ["data", "conv.bias_scales"], ["unused"])
    model.graph.node.append(tail)
    with pytest.raises(ConfigurationError, match="uses DequantizeLinear"):
        convert(model.SerializeToString(), spec)


def test_without_the_converter_the_message_says_what_to_install(
    original: bytes, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelUnavailable, match="package onnx: `pip install onnx`"):
        convert(original, spec)


def test_a_model_without_a_carrier_has_nothing_to_convert(original: bytes, spec: ModelSpec) -> None:
    with pytest.raises(ConfigurationError, match="no carrier"):
        convert(original, replace(spec, carrier=None))
