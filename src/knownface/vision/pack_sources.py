"""Where the published files of a pack come from: addresses, or a folder that somebody filled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar, Literal, Protocol

from pydantic import ConfigDict

from knownface.errors import ConfigurationError, ModelUnavailable
from knownface.vision.catalog import Positive, Sha256
from knownface.vision.fetch import LARGEST, Fetcher, copy_within
from knownface.vision.install import Progress


@dataclass(frozen=True, slots=True)
class Download:
    """One file at an address: a model, or an archive of several."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    url: str
    sha256: Sha256 | None = None
    bytes: Positive | None = None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Original:
    """What is known of a model's published file, and what becomes of it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    sha256: Sha256 | None = None
    bytes: Positive | None = None
    conversion: Literal["copy", "any-size"] = "copy"


class Missing(ModelUnavailable):
    """A folder has nothing of one model; it may have the others."""


class Place(Protocol):
    """Where the published files of a pack come from."""

    def copy(self, file: str, original: Original, target: IO[bytes]) -> str:
        """Copy that file into the stream and return its SHA-256.

        Missing when this place has no such file, ModelUnavailable when it cannot be had or used.
        """
        ...

    def vouches(self, file: str) -> bool:
        """Tell whether the SHA-256 of what this file came out of was known and right."""
        ...

    def forget(self) -> None:
        """Remove what was only needed on the way."""
        ...


class Brought:
    """A folder that somebody filled, with the files themselves or with the archive."""

    def __init__(self, folder: Path, pack: str, downloads: Sequence[Download]) -> None:
        if not folder.is_dir():
            raise ConfigurationError(f"There is no folder {folder} to take weights from.")
        self._folder = folder
        self._pack = pack
        self._archives = [one.name for one in downloads if one.name.endswith(".zip")]

    def copy(self, file: str, original: Original, target: IO[bytes]) -> str:
        del original  # whoever brings a file answers for it
        folders = (self._folder, self._folder / self._pack)
        for path in (folder / file for folder in folders):
            if path.is_file():
                with _readable(path) as stream:
                    return _copied(stream, target, LARGEST, path.name)
        for path in (folder / name for folder in folders for name in self._archives):
            if path.is_file():
                return _unpacked(path, file, target, LARGEST)
        looked = ", ".join((file, f"{self._pack}/{file}", *self._archives))
        raise Missing(
            f"{self._folder} has nothing to install {self._pack} from: looked for {looked}."
        )

    def vouches(self, file: str) -> bool:
        del file
        return False

    def forget(self) -> None:
        """Leave the folder as it was: it is somebody else's."""


class Downloaded:
    """The addresses of a definition, each asked once."""

    def __init__(
        self, fetcher: Fetcher, pack: str, downloads: Sequence[Download], progress: Progress
    ) -> None:
        self._fetcher = fetcher
        self._pack = pack
        self._downloads = downloads
        self._progress = progress
        self._here: dict[str, Path] = {}

    def copy(self, file: str, original: Original, target: IO[bytes]) -> str:
        download = self._download_of(file)
        path = self._fetched(download)
        limit = original.bytes or LARGEST
        if download.name == file:
            with path.open("rb") as stream:
                found = _copied(stream, target, limit, file)
        else:
            try:
                found = _unpacked(path, file, target, limit)
            except Missing as error:  # a download is whole, or it is none
                raise ModelUnavailable(error.message) from error
        if original.sha256 not in (None, found):
            raise ModelUnavailable(
                f"{file} out of {download.url} is not the file that is known "
                f"(SHA-256 {found}, not {original.sha256})."
            )
        return found

    def vouches(self, file: str) -> bool:
        return self._download_of(file).sha256 is not None

    def forget(self) -> None:
        for path in self._here.values():
            path.unlink(missing_ok=True)

    def _download_of(self, file: str) -> Download:
        by_name = {download.name: download for download in self._downloads}
        return by_name.get(file) or self._downloads[0]

    def _fetched(self, download: Download) -> Path:
        if download.url not in self._here:
            stage = f"fetch {download.name}"
            report = _reporting(self._progress, stage)
            try:
                path = self._fetcher.fetch(download.url, download.sha256, download.bytes, report)
            except ModelUnavailable as error:
                raise ModelUnavailable(
                    f"{error.message} Or fetch it on another machine, and run `knownface models "
                    f"install {self._pack} --from DIR` with the folder it is in."
                ) from error
            self._here[download.url] = path
        return self._here[download.url]


def _reporting(progress: Progress, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(stage, done, total)


def _readable(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:  # which would otherwise look as if the models folder was the trouble
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}.") from error


def _copied(source: IO[bytes], target: IO[bytes], limit: int, name: str) -> str:
    try:
        return copy_within(source, target, limit)
    except ValueError as error:
        raise ModelUnavailable(f"{name} cannot be used: {error}.") from error


def _unpacked(archive: Path, file: str, target: IO[bytes], limit: int) -> str:
    """Copy a file out of an archive, wherever in it that lies; its own path is never used."""
    with _opened(archive) as opened:
        found = [i for i in opened.infolist() if PurePosixPath(i.filename).name == file]
        name = archive.name.lstrip(".")
        if not found:
            raise Missing(f"{name} cannot be used: {file} is not in it.")
        if len(found) > 1:
            raise ModelUnavailable(f"{name} cannot be used: {file} is in it more than once.")
        # Read piece by piece up to the limit, whatever size the archive claims.
        with opened.open(found[0]) as stream:
            return _copied(stream, target, limit, file)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with _readable(archive) as stream, zipfile.ZipFile(stream) as opened:
            yield opened
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise ModelUnavailable(f"{archive.name.lstrip('.')} cannot be read: {error}.") from error
