from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from knownface import memory
from knownface.errors import ModelUnavailable
from knownface.types import F32, U8, Calibration
from knownface.vision.catalog import Carrier, Catalog, ModelSpec
from knownface.vision.runtimes import Choice, openvino_installed, runtime_for
from knownface.vision.session import Network
from onnx_graph import Graph
from tiny_models import DETECTOR, EMBEDDER, Mark, picture, write_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture(params=["onnxruntime", "openvino"])
def runtime(request: pytest.FixtureRequest) -> Choice:
    """Each runtime that this machine may have; what a network promises, it promises on both."""
    name: Choice = request.param
    if name == "openvino" and not openvino_installed():
        pytest.skip("there is no OpenVINO for this machine")
    return name


@pytest.fixture
def embedder(models: Path, runtime: Choice) -> Network:
    catalog = Catalog.load(models)
    spec = catalog.spec(EMBEDDER)
    return Network(spec, catalog.path(spec), runtime=runtime, streams=2)


@pytest.fixture
def detector(models: Path) -> Network:
    catalog = Catalog.load(models)
    spec = catalog.spec(DETECTOR)
    return Network(spec, catalog.path(spec))


def crop(seed: int = 0) -> F32:
    return np.random.default_rng(seed).integers(0, 256, (1, 3, 112, 112)).astype(np.float32)


def attribute_model(file: str = "own.onnx", **fields: object) -> ModelSpec:
    values: dict[str, object] = {"name": "own", "task": "attribute", "family": "own", "input": "x"}
    return ModelSpec(file=file, **{**values, **fields})  # type: ignore[arg-type] # a test's shortcut


def write(
    path: Path, graph: Graph, shape: tuple[int | str, ...], **outputs: list[int | str]
) -> Path:
    path.write_bytes(graph.serialize("x", shape, {n: tuple(s) for n, s in outputs.items()}))
    return path


def mean_model(path: Path, batch: int | str = "batch") -> Path:
    """Write a network that takes any number of pictures and gives the mean of each channel."""
    graph = Graph()
    means = graph.add("GlobalAveragePool", "x")
    graph.add("Flatten", means, output="mean")
    path.write_bytes(graph.serialize("x", (batch, 3, "height", "width"), {"mean": (batch, 3)}))
    return path


# life


def test_a_model_is_loaded_and_warmed_before_it_is_ready(
    embedder: Network, runtime: Choice
) -> None:
    assert (embedder.state, embedder.healthy, embedder.output_names) == ("unloaded", False, ())
    assert embedder.runtime == runtime
    embedder.load()
    assert (embedder.state, embedder.healthy, embedder.output_names) == ("ready", True, ("fc1",))
    device = {"onnxruntime": "CPUExecutionProvider", "openvino": "CPU"}[runtime]
    assert embedder.provider == device
    said = rf"{runtime} \d+\.\d+\.\d+, {device}, float32"
    assert re.fullmatch(said, embedder.runtime)


def test_both_runtimes_give_the_same_embeddings(models: Path) -> None:
    if not openvino_installed():
        pytest.skip("there is no OpenVINO for this machine")
    catalog = Catalog.load(models)
    spec = catalog.spec(EMBEDDER)
    one, other = (
        Network(spec, catalog.path(spec), runtime=name).run(crop())[0]
        for name in ("onnxruntime", "openvino")
    )
    assert np.allclose(one, other, rtol=1e-4, atol=1e-4)


OPENED = """
import sys
from pathlib import Path
from knownface.vision.catalog import Catalog
from knownface.vision.session import Network

catalog = Catalog.load(Path(sys.argv[1]))
spec = catalog.spec(sys.argv[2])
network = Network(spec, catalog.path(spec), runtime=sys.argv[3])
network.load()
print(network.runtime)
print([name for name in sys.modules if "telemetry" in name])
"""


def test_nobody_is_told_that_a_model_was_opened(
    models: Path, tmp_path: Path, runtime: Choice
) -> None:
    # On what looks like a build server, the runtimes would keep quiet by themselves.
    environment = {k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH")}
    opened = subprocess.run(
        [sys.executable, "-c", OPENED, str(models), EMBEDDER, runtime],
        env=environment | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    described, tellers = opened.stdout.splitlines()
    assert described.startswith(runtime)
    assert tellers == "[]"
    assert not list(tmp_path.iterdir())


def test_openvino_runs_on_processors_what_has_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned, free = attribute_model(size=(112, 112)), attribute_model()
    best = "openvino" if openvino_installed() else "onnxruntime"
    assert runtime_for(pinned, "auto") == best
    assert runtime_for(pinned, "onnxruntime") == "onnxruntime"
    assert runtime_for(free, "auto") == runtime_for(free, "openvino") == "onnxruntime"
    assert runtime_for(pinned, "auto", "CUDAExecutionProvider") == "onnxruntime"
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert runtime_for(pinned, "auto") == "onnxruntime"


def test_sixteen_bits_are_used_only_where_they_were_measured(models: Path) -> None:
    if not openvino_installed():
        pytest.skip("there is no OpenVINO for this machine")
    catalog = Catalog.load(models)
    spec = catalog.spec(EMBEDDER)
    exact = Network(spec, catalog.path(spec))
    short = Network(replace(spec, bf16=True), catalog.path(spec))
    a, b = exact.run(crop())[0][0], short.run(crop())[0][0]
    assert exact.runtime.endswith("float32")
    if "avx512_bf16" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor does not compute with bfloat16")
    assert short.runtime.endswith("bfloat16")
    assert float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) > 0.95


def test_loading_twice_loads_once(embedder: Network, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        embedder.load()
        embedder.load()
    assert caplog.messages == ["model ready"]


def test_of_many_first_runs_one_loads_and_all_succeed(
    embedder: Network, caplog: pytest.LogCaptureFixture
) -> None:
    together = threading.Barrier(8)

    def first_run(_: int) -> F32:
        together.wait(20)
        return embedder.run(crop())[0]

    with caplog.at_level(logging.INFO), ThreadPoolExecutor(8) as threads:
        outputs = list(threads.map(first_run, range(8)))
    assert caplog.messages == ["model ready"]
    assert all(np.array_equal(output, outputs[0]) for output in outputs)


def test_while_a_model_loads_its_state_says_so(models: Path, tmp_path: Path) -> None:
    spec = Catalog.load(models).spec(EMBEDDER)
    loading = Network(spec, tmp_path / "embedder.onnx")
    (tmp_path / "embedder.onnx").write_bytes(b"")
    states: list[str] = []

    class Watch(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            states.append(loading.state)

    watch, log = Watch(), logging.getLogger("knownface.vision.session")
    log.addHandler(watch)
    try:
        with pytest.raises(ModelUnavailable):
            loading.load()
    finally:
        log.removeHandler(watch)
    assert [*states, loading.state] == ["loading", "failed"]


def test_an_unloaded_model_loads_itself_when_it_is_run(embedder: Network) -> None:
    before = embedder.run(crop())[0]
    embedder.unload()
    assert (embedder.state, embedder.output_names) == ("unloaded", ("fc1",))
    assert np.array_equal(embedder.run(crop())[0], before)
    assert (embedder.state, embedder.output_names) == ("ready", ("fc1",))


def test_the_thread_that_loads_keeps_its_own_stack_for_signals(embedder: Network) -> None:
    if sys.platform != "linux":
        pytest.skip("the layout of a signal stack is Linux's")
    before = signal_stack()
    embedder.load()
    assert signal_stack() == before
    with ThreadPoolExecutor(1) as thread:
        thread.submit(embedder.unload).result()
    assert signal_stack() == before


def test_runs_are_not_disturbed_by_unloading(embedder: Network) -> None:
    expected = embedder.run(crop())[0]
    stop = threading.Event()

    def runs() -> bool:
        same = True
        while not stop.is_set():
            same &= np.array_equal(embedder.run(crop())[0], expected)
        return same

    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(runs) for _ in range(3)]
        for _ in range(20):
            embedder.unload()
            embedder.load()
        stop.set()
        assert all(future.result(60) for future in running)


def test_concurrent_runs_give_what_single_runs_give(embedder: Network) -> None:
    crops = [crop(seed) for seed in range(40)]
    expected = [embedder.run(one)[0] for one in crops]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda one: embedder.run(one)[0], crops))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


def test_health_is_how_the_last_run_went(embedder: Network) -> None:
    embedder.load()
    with pytest.raises(Exception, match=r"(?i)invalid|shape"):
        embedder.run(np.zeros((1, 3, 7, 7), np.float32))
    assert not embedder.healthy
    assert embedder.state == "ready"
    embedder.run(crop())
    assert embedder.healthy


@pytest.mark.parametrize(("asked", "granted"), [(None, 1), (1, 1), (10_000, os.cpu_count())])
def test_threads_never_exceed_the_processors(
    embedder: Network, asked: int | None, granted: int
) -> None:
    other = Network(embedder.spec, embedder.path, asked)
    assert other.threads == granted
    assert np.allclose(other.run(crop())[0], embedder.run(crop())[0], atol=1e-5)


# what can be wrong with a file


def test_a_model_that_is_not_installed_says_what_to_run() -> None:
    carrier = Carrier("p", "1", "p.whl", "0" * 64, 1, "m", "0" * 64, "copy")
    absent = Network(attribute_model(carrier=carrier), None)
    assert absent.state == "absent"
    for attempt in (absent.load, lambda: absent.run(crop())):
        with pytest.raises(ModelUnavailable, match="run 'knownface models install own'"):
            attempt()
    assert absent.state == "absent"
    assert not absent.healthy


def test_a_users_model_without_its_file_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"put own\.onnx beside its model\.toml"):
        Network(attribute_model(), tmp_path / "own.onnx").load()


def test_a_file_that_appears_later_is_used_by_the_next_run(tmp_path: Path) -> None:
    late = Network(attribute_model(), tmp_path / "own.onnx")
    with pytest.raises(ModelUnavailable):
        late.run(crop())
    mean_model(tmp_path / "own.onnx")
    assert late.run(crop())[0].shape == (1, 3)
    assert late.state == "ready"


def test_a_damaged_file_is_never_used_and_not_tried_again_until_it_changes(
    models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = Catalog.load(models).spec(EMBEDDER)
    good = models / EMBEDDER / spec.file
    path = tmp_path / spec.file
    # Still a valid network, so that only the hash tells.
    content = good.read_bytes().replace(b"knownface-tests", b"somebody-others")
    path.write_bytes(content)
    damaged = Network(spec, path)
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="is damaged"):
            damaged.run(crop())
    assert (damaged.state, damaged.healthy) == ("failed", False)
    assert caplog.messages == ["model failed to load"]
    with pytest.raises(ModelUnavailable, match="is damaged"):
        damaged.load()
    assert len(caplog.messages) == 2
    path.unlink()
    shutil.copy(good, path)
    damaged.run(crop())
    assert (damaged.state, damaged.healthy) == ("ready", True)


def test_a_file_damaged_while_its_model_was_unloaded_is_not_used(
    models: Path, tmp_path: Path
) -> None:
    spec = Catalog.load(models).spec(EMBEDDER)
    path = Path(shutil.copy(models / EMBEDDER / spec.file, tmp_path))
    idle = Network(spec, path)
    idle.load()
    idle.unload()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelUnavailable, match="is damaged"):
        idle.run(crop())


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x09" * 1000])
def test_what_is_no_network_is_refused_without_telling_its_folder(
    tmp_path: Path, content: bytes, runtime: Choice
) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"^Model own cannot be loaded: .") as raised:
        Network(attribute_model(size=(112, 112)), path, runtime=runtime).load()
    assert str(tmp_path) not in raised.value.message
    assert "\n" not in raised.value.message


def test_an_input_of_another_name_is_refused_naming_what_there_is(
    tmp_path: Path, runtime: Choice
) -> None:
    path = mean_model(tmp_path / "own.onnx")
    spec = attribute_model(input="data", size=(112, 112))
    with pytest.raises(ModelUnavailable, match="one input named 'data'; its file has: x"):
        Network(spec, path, runtime=runtime).load()


def test_an_input_of_another_rank_is_refused(tmp_path: Path, runtime: Choice) -> None:
    graph = Graph()
    graph.add("Neg", "x", output="y")
    path = write(tmp_path / "own.onnx", graph, (1, 3), y=[1, 3])
    with pytest.raises(ModelUnavailable, match="takes 2 dimensions instead of the 4 of NCHW"):
        Network(attribute_model(size=(112, 112)), path, runtime=runtime).load()


def test_an_embedder_of_another_dimension_is_refused(tmp_path: Path, runtime: Choice) -> None:
    path = mean_model(tmp_path / "own.onnx")
    spec = attribute_model(
        task="embedder", size=(112, 112), dimension=512, calibration=Calibration(1.2, 6.0)
    )
    with pytest.raises(ModelUnavailable, match="3 numbers a face, not the 512"):
        Network(spec, path, runtime=runtime).load()


def test_a_device_that_is_not_there_is_refused(embedder: Network) -> None:
    elsewhere = Network(embedder.spec, embedder.path, provider="CUDAExecutionProvider")
    assert elsewhere.provider == "CUDAExecutionProvider"
    with pytest.raises(ModelUnavailable, match="this ONNX Runtime has no CUDAExecutionProvider"):
        elsewhere.load()


# batches and shapes


def test_a_model_with_batches_is_warmed_and_run_in_batches(tmp_path: Path, runtime: Choice) -> None:
    spec = attribute_model(max_batch=4, size=(112, 112))
    batching = Network(spec, mean_model(tmp_path / "own.onnx"), runtime=runtime)
    assert batching.max_batch == 4
    tensor = np.concatenate([crop(seed) for seed in range(3)])
    (means,) = batching.run(tensor)
    assert np.allclose(means, tensor.mean(axis=(2, 3)), rtol=1e-4)


def test_a_file_pinned_at_one_item_cannot_be_given_batches(tmp_path: Path, runtime: Choice) -> None:
    path = mean_model(tmp_path / "own.onnx", batch=1)
    spec = attribute_model(size=(112, 112))
    Network(spec, path, runtime=runtime).load()
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        Network(replace(spec, max_batch=4), path, runtime=runtime).load()


def test_outputs_without_a_batch_axis_get_one(tmp_path: Path, runtime: Choice) -> None:
    graph = Graph()
    graph.add("Reshape", "x", graph.constant(np.array([-1, 3])), output="rows")
    graph.add("Identity", "x", output="same")
    graph.add("ReduceMax", "x", output="most", keepdims=0)
    outputs: dict[str, list[int | str]] = {"rows": ["cells", 3], "same": [1, 3, 4, 5], "most": []}
    path = write(tmp_path / "own.onnx", graph, (1, 3, 4, 5), **outputs)
    own = Network(attribute_model(size=(5, 4)), path, runtime=runtime)
    rows, same, most = own.run(np.zeros((1, 3, 4, 5), np.float32))
    assert (rows.shape, same.shape, most.shape) == ((1, 20, 3), (1, 3, 4, 5), (1,))


def test_outputs_without_a_batch_axis_forbid_batches(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Reshape", "x", graph.constant(np.array([-1, 3])), output="rows")
    path = write(tmp_path / "own.onnx", graph, ("b", 3, 4, 5), rows=["cells", 3])
    Network(attribute_model(), path).load()
    with pytest.raises(ModelUnavailable, match="set its max_batch to 1"):
        Network(attribute_model(max_batch=2), path).load()


def test_a_model_whose_channels_come_last_is_warmed_so(tmp_path: Path, runtime: Choice) -> None:
    graph = Graph()
    # Fails with any other order of the axes.
    graph.add("Add", "x", graph.constant(np.zeros((8, 6, 3), np.float32)), output="y")
    path = write(tmp_path / "own.onnx", graph, (1, "h", "w", "c"), y=[1, "h", "w", "c"])
    Network(attribute_model(size=(6, 8), layout="NHWC"), path, runtime=runtime).load()


def test_weights_of_8_bits_are_run_one_at_a_time(tmp_path: Path) -> None:
    """OpenVINO computes some of them wrongly when it runs several at once on a busy machine."""
    if not openvino_installed():
        pytest.skip("there is no OpenVINO for this machine")
    graph = Graph()
    weights = graph.constant(np.ones((4, 3, 3, 3), np.int8))
    kernel = graph.add("Cast", weights, to=TensorProto.FLOAT)
    graph.add("Conv", "x", kernel, output="y")
    path = write(tmp_path / "own.onnx", graph, (1, 3, 8, 8), y=[1, 4, 6, 6])
    network = Network(attribute_model(size=(8, 8)), path, runtime="openvino", streams=2)
    blank, ones = np.zeros((1, 3, 8, 8), np.float32), np.ones((1, 3, 8, 8), np.float32)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda tensor: network.run(tensor)[0].max(), [blank, ones] * 20))
    assert found == [0.0, 27.0] * 20
    assert network.runtime.endswith("float32, one run at a time")


def test_a_detector_takes_pictures_of_any_size(detector: Network) -> None:
    detector.load()
    for width, height in ((32, 32), (640, 480), (96, 320), (1280, 64)):
        mark = Mark(1, width // 2 - 8, height // 2 - 8, 16)
        pixels = picture([mark], width, height)
        assert found(detector, pixels) == [mark.box]


def test_memory_does_not_grow_with_the_number_of_shapes(detector: Network) -> None:
    if sys.platform != "linux":
        pytest.skip("resident memory is read from /proc")
    sides = range(32, 513, 32)
    detector.run(np.zeros((1, 3, 640, 640), np.float32))
    before = resident()
    for height in sides:
        for width in sides:
            detector.run(np.zeros((1, 3, height, width), np.float32))
    # 256 shapes; the rest of this process takes some megabytes, too.
    assert resident() - before < 40e6


def test_a_network_at_rest_keeps_nothing_of_the_pictures_it_saw(detector: Network) -> None:
    if sys.platform != "linux":
        pytest.skip("resident memory is read from /proc")
    detector.load()
    detector.rest()
    memory.return_freed()
    before = resident()
    with ThreadPoolExecutor(4) as pool:
        pictures = [np.zeros((1, 3, side, side), np.float32) for side in (1280, 1536, 1408, 1344)]
        list(pool.map(detector.run, pictures))
    memory.return_freed()
    assert resident() - before > 100e6
    detector.rest()
    del pictures
    memory.return_freed()
    assert resident() - before < 20e6
    assert detector.healthy


def test_a_network_may_rest_while_it_is_run(embedder: Network) -> None:
    expected = embedder.run(crop())[0]

    def rest() -> None:
        for _ in range(200):
            embedder.rest()

    resting = threading.Thread(target=rest)
    resting.start()
    while resting.is_alive():
        assert np.array_equal(embedder.run(crop())[0], expected)


def run(detector: Network, pixels: U8) -> tuple[F32, ...]:
    tensor = pixels[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    return detector.run(tensor)


def found(detector: Network, pixels: U8) -> list[tuple[int, ...]]:
    """Return the boxes in the finest grid of a network with the outputs of YuNet."""
    heads = dict(zip(detector.output_names, run(detector, pixels), strict=True))
    columns = pixels.shape[1] // 8
    boxes = []
    for cell in np.flatnonzero(heads["cls_8"][0, :, 0] > 0.5):
        x, y, width, height = heads["bbox_8"][0, cell]
        centre = np.array([cell % columns + x, cell // columns + y]) * 8
        half = np.exp([width, height]) * 4
        boxes.append(tuple(np.rint([*(centre - half), *(centre + half)]).astype(int)))
    return boxes


class SignalStack(ctypes.Structure):
    """The `stack_t` of Linux."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack() -> tuple[int | None, int]:
    """Return the address and the size of this thread's own stack for signals, if it has one."""
    stack = SignalStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.start, stack.size


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
