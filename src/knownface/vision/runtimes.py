"""The model runtimes behind `session.Network`: one class each, and the rule that chooses.

OpenVINO runs the networks whose input has one size: there it takes less than half the time of ONNX
Runtime on a processor. It compiles anew for each size that it sees, which costs a detector of
pictures of any size more than it gains, so ONNX Runtime runs those, and everything where OpenVINO
is not installed or the device is no processor. docs/adr/0011 has the figures.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

import numpy as np

from knownface.errors import ModelUnavailable
from knownface.types import F32
from knownface.vision.catalog import ModelSpec

if TYPE_CHECKING:
    import openvino

RuntimeName = Literal["openvino", "onnxruntime"]
Choice = Literal["auto", "openvino", "onnxruntime"]

CPU: Final = "CPUExecutionProvider"
ERRORS_ONLY: Final = 3
_SMALL: Final = frozenset({"i4", "u4", "i8", "u8"})
SMALLEST: Final = 32  # pixels of a side, which a detector's input is a multiple of


class Session(Protocol):
    """A network that is in memory and can be run by any number of threads at once.

    `inputs` maps each input's name to its shape, with None where any number may stand; `provider`
    is the runtime's name of the device and `description` says it all to an operator.
    """

    inputs: dict[str, tuple[int | None, ...]]
    output_names: tuple[str, ...]
    provider: str
    description: str

    def run(self, tensor: F32) -> list[F32]:
        """Return the outputs in the order of `output_names`, arrays that nobody else writes to."""
        ...

    def rest(self) -> None:
        """Free what only runs need; they may go on meanwhile, and the next one allocates it again.

        It gives nothing back to the system: that is the allocator's affair.
        """
        ...


def runtime_for(spec: ModelSpec, choice: Choice, provider: str = CPU) -> RuntimeName:
    """Return the runtime that a model is run with on this machine."""
    if choice == "onnxruntime" or provider != CPU or spec.size is None:
        return "onnxruntime"
    return "openvino" if openvino_installed() else "onnxruntime"


def openvino_installed() -> bool:
    """Tell whether there is an OpenVINO, without the time that importing it takes."""
    return importlib.util.find_spec("openvino") is not None


def open_session(
    spec: ModelSpec, path: Path, *, choice: Choice, threads: int, streams: int, provider: str
) -> Session:
    """Read a model's file into the runtime of choice.

    `threads` work on one run, and `streams` runs go on at the same time. What is wrong with a file
    is raised as the runtime has it.
    """
    if runtime_for(spec, choice, provider) == "openvino":
        # OpenVINO gives the thread that first uses a Core a stack for signals, and frees that with
        # the last reference, on whatever thread that is: the next signal, as Ctrl-C, would then
        # kill the program. So the Core's thread is one that handles no signal and ends at once.
        with ThreadPoolExecutor(1, "openvino") as apart:
            return apart.submit(OpenVino, spec, path, threads, streams).result()
    return OnnxRuntime(spec, path, threads, provider)


class OnnxRuntime:
    """A session of ONNX Runtime; each run takes `threads` threads, its caller's included."""

    def __init__(self, spec: ModelSpec, path: Path, threads: int, provider: str) -> None:
        _keep_to_ourselves()
        import onnxruntime

        if provider not in onnxruntime.get_available_providers():
            raise ModelUnavailable(
                f"Model {spec.name} cannot be loaded: this ONNX Runtime has no {provider}."
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        # Spinning threads of several sessions fight for the cores: a pipeline took four times as
        # long.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        # A memory pattern is kept for each shape ever seen, and pictures come in hundreds of them.
        options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        self.inputs = {
            entry.name: tuple(d if isinstance(d, int) else None for d in entry.shape)
            for entry in self._session.get_inputs()
        }
        self.output_names: tuple[str, ...] = tuple(o.name for o in self._session.get_outputs())
        self.provider = str(self._session.get_providers()[0])
        self.description = f"onnxruntime {onnxruntime.__version__}, {self.provider}, float32"
        self._shrinking = onnxruntime.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        # What is allocated first stays for ever: let that be little, and not a whole picture's.
        self.rest()

    def run(self, tensor: F32) -> list[F32]:
        name = next(iter(self.inputs))
        return list(self._session.run(self.output_names, {name: tensor}))

    def rest(self) -> None:
        """Free what pictures of many sizes, several at a time, have left of room between them.

        Only a run can be asked to do so at its end: here one on the smallest picture.
        """
        for name, shape in self.inputs.items():
            if self.provider == CPU and None in shape[1:]:
                smallest = np.zeros((1, *(d or SMALLEST for d in shape[1:])), np.float32)
                # Whatever is wrong with the model, the runs that are needed will tell.
                with suppress(Exception):
                    self._session.run(None, {name: smallest}, self._shrinking)


class OpenVino:
    """A model that OpenVINO compiled for this processor and for pinned shapes.

    In 16 bits (bfloat16) where the processor computes with them and the catalogue says that the
    model was measured so. `streams` runs of `threads` threads each go on at once; more wait.
    """

    def __init__(self, spec: ModelSpec, path: Path, threads: int, streams: int) -> None:
        _keep_to_ourselves()
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        self.inputs = {
            entry.get_any_name(): _numbers(entry.get_partial_shape()) for entry in model.inputs
        }
        for name, shape in self.inputs.items():
            _pin(model, name, shape, spec)
        # An output without a name is known by its number, as it is by ONNX Runtime.
        self.output_names: tuple[str, ...] = tuple(
            min(output.get_names(), default=str(number))
            for number, output in enumerate(model.outputs)
        )
        # Of several runs at a time on a busy machine it computes such weights wrongly, and says
        # nothing: all 120 answers of a network were wrong (OpenVINO 2026.4), and none one by one.
        at_once = 1 if _has_weights_of_8_bits(model) else streams
        short = spec.bf16 and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads * at_once,
                "NUM_STREAMS": str(at_once),
                "INFERENCE_PRECISION_HINT": "bf16" if short else "f32",
                # Whoever else works on this machine may need the cores that we would pin.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._idle: deque[openvino.InferRequest] = deque()
        self.provider = "CPU"
        precision = "bfloat16" if short else "float32"
        number = openvino.__version__.split("-")[0]
        in_turn = at_once < streams and self._compiled.get_property("NUM_STREAMS") == at_once
        alone = ", one run at a time" if in_turn else ""
        self.description = f"openvino {number}, CPU, {precision}{alone}"

    def run(self, tensor: F32) -> list[F32]:
        # A request is one caller's at a time; as many are made as are ever needed at once.
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            request.infer([np.ascontiguousarray(tensor)], share_inputs=True)
            return [
                np.array(request.get_output_tensor(number).data)
                for number in range(len(self.output_names))
            ]
        finally:
            self._idle.append(request)

    def rest(self) -> None:
        with suppress(RuntimeError):  # it refuses while something is run
            self._compiled.release_memory()


def _keep_to_ourselves() -> None:
    """See to it that a runtime that is imported from now on tells nobody of it.

    Left alone, both send events to their makers and write an identity into the home folder: ONNX
    Runtime from its library, OpenVINO from the tools for converting models that it imports where
    it can. Nothing is converted here.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    sys.modules.setdefault("openvino.tools.ovc", cast("ModuleType", None))


def _has_weights_of_8_bits(model: openvino.Model) -> bool:
    """Tell whether numbers of a model are kept in 8 bits or fewer, as those of quantised ones."""
    return any(
        op.get_type_name() == "Constant" and op.get_element_type().get_type_name() in _SMALL
        for op in model.get_ops()
    )


def _pin(model: openvino.Model, name: str, shape: tuple[int | None, ...], spec: ModelSpec) -> None:
    """Fix the dimensions that the file leaves open, as far as the catalogue knows them."""
    if len(shape) != 4 or None not in shape or spec.size is None:
        return
    width, height = spec.size
    sample = (3, height, width) if spec.layout == "NCHW" else (height, width, 3)
    known = (1 if spec.max_batch == 1 else -1, *sample)
    pinned = [k if d is None else d for d, k in zip(shape, known, strict=True)]
    model.reshape({name: pinned})


def _numbers(shape: openvino.PartialShape) -> tuple[int | None, ...]:
    """Return the dimensions of OpenVINO's partial shape, None for each that is not fixed."""
    if shape.rank.is_dynamic:
        return ()
    return tuple(d.get_length() if d.is_static else None for d in shape)


def reason(error: Exception, path: Path) -> str:
    """Return in one line, without folders, what a runtime has to say about a file."""
    # OpenVINO begins with the places in its source where an exception passed by.
    lines = [
        line.strip()
        for line in str(error).splitlines()
        if line.strip() and not line.lstrip().startswith(("Exception from ", "Check "))
    ]
    text = lines[0] if lines else type(error).__name__
    return text.replace(str(path), path.name)[:300]


def input_of(session: Session, spec: ModelSpec) -> Sequence[int | None]:
    """Return the shape of a network's one input; ModelUnavailable when it has others."""
    if len(session.inputs) != 1 or (spec.input and spec.input not in session.inputs):
        there = ", ".join(session.inputs)
        name = f" named {spec.input!r}" if spec.input else ""
        raise ModelUnavailable(f"Model {spec.name} needs one input{name}; its file has: {there}.")
    return next(iter(session.inputs.values()))
