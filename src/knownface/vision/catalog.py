"""Which models there are, what each of them expects, and where a verified file of it lies.

A model comes from the catalogue shipped with the program (`models.toml`) or from a folder inside
the models folder (`model.toml` beside `.onnx` files), which adds models or replaces those of the
same name. Such a folder may hold several models; it is called a pack then.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from knownface.errors import ConfigurationError, InvalidRequest
from knownface.types import Calibration, FalseMatchRates
from knownface.vision.families import KNOWN, NORMALISATIONS
from knownface.vision.onnx_nodes import normalises_itself

State = Literal["installed", "absent", "damaged"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

BUNDLE: Final = "knownface_models"
# Small networks of our own come with the program and need no installation.
PACKAGED: Final = Path(__file__).parent / "weights"
SHIPPED: Final = "models.toml"
# Definitions of packs that can be installed, one file each, by the name of the pack.
PACKS: Final = "packs"
DESCRIPTION: Final = "model.toml"
_SEVERAL: Final = "model"


@dataclass(frozen=True, slots=True)
class Carrier:
    """The package that carries a model's original, pinned by hash, and how to convert that."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    package: str
    version: str
    wheel: FileName
    sha256: Sha256
    bytes: Positive
    member: str
    member_sha256: Sha256
    conversion: Literal["int8bq", "tflite", "copy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Everything the program knows of a model before it loads it.

    `size` is (width, height) of the input, None where any size may be fed; a picture's value
    becomes `(value - mean) * scale`, channels in `colour` order, and so are three means. These are
    None only while the file that tells them is missing. `input` is the name of the only input, ""
    where that does not matter.
    `probability` are the knots (raw score, probability) of a detector; an embedder has `dimension`
    and `calibration`, and may have `fmr`, rows (similarity, false match rate). `answers` are the
    values that the outputs of a classifier stand for. `sha256` is None only for a user's own model;
    `pack` names the installed pack that a model belongs to.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    task: Literal["detector", "embedder", "attribute"]
    family: str
    file: FileName
    input: str = ""
    version: str = ""
    sha256: Sha256 | None = None
    bytes: Positive | None = None
    licence: str = "unknown"
    source: str = "unknown"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    colour: Literal["RGB", "BGR"] = "RGB"
    size: tuple[Positive, Positive] | None = None
    mean: Finite | tuple[Finite, Finite, Finite] | None = 0.0
    scale: Finite | None = 1.0
    threads: Positive = 1
    max_batch: Positive = 1
    bf16: bool = False
    dimension: Positive | None = None
    calibration: Calibration | None = None
    fmr: tuple[tuple[Share, Share], ...] = ()
    probability: tuple[tuple[Share, Share], ...] = ()
    answers: tuple[str, ...] = ()
    pack: str = ""
    carrier: Carrier | None = None

    def __post_init__(self) -> None:
        if not self.version:
            object.__setattr__(self, "version", self.name)
        if self.task == "embedder" and None in (self.size, self.dimension, self.calibration):
            raise ValueError("an embedder needs size, dimension and calibration")
        if self.task in ("detector", "embedder") and self.layout != "NCHW":
            raise ValueError("a detector or embedder is fed NCHW")
        raws = [raw for raw, _ in self.probability]
        values = [value for _, value in self.probability]
        if raws != sorted(set(raws)) or values != sorted(values):
            raise ValueError("the knots of probability must rise")
        try:
            _ = self.false_matches
        except ValueError as error:
            raise ValueError(f"fmr: {error}") from None

    @property
    def false_matches(self) -> FalseMatchRates | None:
        """How often an embedder takes strangers for one person, None where nobody measured it."""
        return FalseMatchRates(self.fmr) if self.fmr else None

    def similarity_at(self, max_fmr: float) -> float:
        """Return the similarity that strangers reach at this rate.

        InvalidRequest where the table of the model does not tell.
        """
        rates = self.false_matches
        if rates is None:
            raise InvalidRequest(
                f"max_fmr is {max_fmr:g}, but the model {self.name} has no table of false match "
                "rates. Use similarity_threshold, or add the table (fmr) to its model.toml."
            )
        if max_fmr < rates.least:
            raise InvalidRequest(
                f"max_fmr is {max_fmr:g}, but the smallest that the table of the model {self.name} "
                f"supports is {rates.least:g}."
            )
        return rates.similarity(max_fmr)


@dataclass(frozen=True, slots=True)
class Found:
    """What the disk says of a model: its state, and the sound or the damaged file."""

    spec: ModelSpec
    state: State
    path: Path | None


class Catalog:
    """The known models and where their files may lie; it reads, and never writes or fetches."""

    def __init__(
        self,
        specs: Iterable[ModelSpec],
        models_dir: Path,
        *,
        own_folders: Mapping[str, Path],
        bundle: Path | None,
    ) -> None:
        self.models_dir = models_dir
        self._specs = {spec.name: spec for spec in specs}
        self._own_folders = dict(own_folders)
        self._bundle = bundle

    @classmethod
    def load(cls, models_dir: Path, *, bundle: str = BUNDLE) -> Catalog:
        """Read the shipped catalogue and every `<models_dir>/*/model.toml`.

        `bundle` is the import name of the package of ready weights. Raises ConfigurationError
        naming the file and the key that cannot be used.
        """
        specs = {spec.name: spec for spec in _shipped()}
        own: dict[str, Path] = {}
        for path in sorted(models_dir.glob(f"*/{DESCRIPTION}")):
            for spec in read_description(path):
                if spec.name in own:
                    taken = own[spec.name] / path.name
                    raise ConfigurationError(
                        f"{path}: name: {spec.name!r} is taken by {taken} already."
                    )
                specs[spec.name] = spec
                own[spec.name] = path.parent
        return cls(specs.values(), models_dir, own_folders=own, bundle=_package_folder(bundle))

    def specs(self) -> tuple[ModelSpec, ...]:
        """Return every model, the shipped ones first."""
        return tuple(self._specs.values())

    def spec(self, name: str) -> ModelSpec:
        """Return the model of that name; ConfigurationError names the known ones."""
        try:
            return self._specs[name]
        except KeyError:
            known = ", ".join(sorted(self._specs))
            raise ConfigurationError(f"There is no model {name!r}; known are {known}.") from None

    def pick(self, name: str, task: str, families: Collection[str] = ()) -> ModelSpec:
        """Return the model of that name, or the one for this task in the folder of that name.

        `families` narrows down what is wanted. ConfigurationError names what there is.
        """
        fitting = {
            spec.name: spec
            for spec in self._specs.values()
            if spec.task == task and (not families or spec.family in families)
        }
        inside = [spec for spec in fitting.values() if self._folder_name(spec) == name]
        if name in fitting:
            return fitting[name]
        if len(inside) == 1:
            return inside[0]
        known = ", ".join(sorted(spec.name for spec in inside) or sorted(fitting))
        kind = f"{task} ({', '.join(sorted(families))})" if families else task
        problem = f"has several of the kind {kind}" if inside else f"is no {kind}"
        pack = next((p for p in shipped_packs() if name == p or name.startswith(f"{p}-")), None)
        installed = {self._folder_name(spec) for spec in self._specs.values()}
        wanted = pack is not None and pack not in installed
        hint = f" Or run `knownface models install {pack}`." if wanted else ""
        raise ConfigurationError(f"{name!r} {problem}; there are: {known}.{hint}")

    def target(self, spec: ModelSpec) -> Path:
        """Return where an installation puts this model; a user's own: where its file must lie."""
        return self._own_folders.get(spec.name, self.models_dir) / spec.file

    def find(self, spec: ModelSpec) -> Found:
        """Look for a sound file: in installed packages first, then in the models folder."""
        damaged = None
        for path in self._candidates(spec):
            if not path.is_file():
                continue
            if _sound(path, spec):
                return Found(spec, "installed", path)
            damaged = path
        return Found(spec, "damaged" if damaged else "absent", damaged)

    def path(self, spec: ModelSpec) -> Path | None:
        """Return a verified file of this model, or None when there is none that may be used."""
        found = self.find(spec)
        return found.path if found.state == "installed" else None

    def state(self, spec: ModelSpec) -> State:
        """Tell whether a verified file is there, none at all, or only a damaged one."""
        return self.find(spec).state

    def _folder_name(self, spec: ModelSpec) -> str | None:
        folder = self._own_folders.get(spec.name)
        return folder.name if folder else None

    def _candidates(self, spec: ModelSpec) -> tuple[Path, ...]:
        target = self.target(spec)
        if spec.name in self._own_folders:
            return (target,)
        packages = (PACKAGED,) if self._bundle is None else (PACKAGED, self._bundle)
        return (*(package / spec.file for package in packages), target)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sound(path: Path, spec: ModelSpec) -> bool:
    try:
        size = path.stat().st_size
        # The size is compared first: it spares reading a file that was cut short.
        if size == 0 or (spec.bytes is not None and size != spec.bytes):
            return False
        return spec.sha256 is None or sha256_of(path) == spec.sha256
    except OSError:  # a file that cannot be read is as good as a broken one
        return False


def _shipped() -> list[ModelSpec]:
    text = resources.files(__package__).joinpath(SHIPPED).read_text("utf-8")
    models = parsed(text, SHIPPED)
    return [validated(table, f"{SHIPPED}: {name}", name=name) for name, table in models.items()]


def shipped_packs() -> list[str]:
    """Return the names of the packs that can be installed."""
    folder = resources.files(__package__).joinpath(PACKS)
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir())


def read_description(path: Path) -> list[ModelSpec]:
    """Return the model, or the several, that a `model.toml` describes.

    ConfigurationError names the file, with several models the one, and the key that is wrong.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    specs = []
    for origin, table in tables(parsed(text, str(path)), str(path)):
        if "carrier" in table:
            raise ConfigurationError(
                f"{origin}: carrier: only shipped models are fetched; put the file beside it."
            )
        specs.append(_normalised(validated(table, origin), table, path.parent))
    return specs


def tables(table: dict[str, object], origin: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each model's table; what stands outside of `[[model]]` holds for all of them."""
    if _SEVERAL not in table:
        yield origin, table
        return
    several = table.pop(_SEVERAL)
    if not isinstance(several, list) or not all(isinstance(one, dict) for one in several):
        raise ConfigurationError(f"{origin}: model: is no list of tables; write [[model]].")
    for number, one in enumerate(several, start=1):
        yield f"{origin}: model {one.get('name', number)}", table | one


def _normalised(spec: ModelSpec, table: Mapping[str, object], folder: Path) -> ModelSpec:
    """Fill in mean and scale where a description leaves them to the family, or to the file."""
    usual = NORMALISATIONS.get(spec.family)
    if usual is None or not {"mean", "scale"}.isdisjoint(table):
        return spec
    if usual.reads_graph:
        try:
            if normalises_itself(folder / spec.file, by_batch_norm=usual.by_batch_norm):
                return spec
        except (OSError, ValueError):  # there is no file yet, or none that could be loaded
            return replace(spec, mean=None, scale=None)
    return replace(spec, mean=usual.mean, scale=usual.scale)


def parsed(text: str, origin: str) -> dict[str, object]:
    """Return what a TOML file holds; ConfigurationError names the file."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{origin}: not valid TOML: {error}") from error


def validated(table: object, origin: str, **more: str) -> ModelSpec:
    """Return the model that a table describes; ConfigurationError names the key that is wrong."""
    try:
        spec = _SPEC.validate_python({**table, **more} if isinstance(table, dict) else table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ": ".join([origin, *([".".join(map(str, first["loc"]))] if first["loc"] else [])])
        raise ConfigurationError(
            f"{where}: {first['msg'].removeprefix('Value error, ')}."
        ) from error
    if spec.family not in KNOWN[spec.task]:
        raise ConfigurationError(
            f"{origin}: family: there is no family {spec.family!r} of {spec.task}s; "
            f"known are {', '.join(KNOWN[spec.task])}."
        )
    return spec


def _package_folder(name: str) -> Path | None:
    """Find an installed package without importing it: it is data and has nothing to run."""
    found = importlib.util.find_spec(name)
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places))) if places else None


_SPEC: Final = TypeAdapter(ModelSpec)
