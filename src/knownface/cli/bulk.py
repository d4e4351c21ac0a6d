"""`knownface import` and `export`: whole collections in and out, beside a server or without one."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Final

import click

from knownface.cli import output
from knownface.cli.pictures import recognition_service
from knownface.cli.run import Failure, with_settings
from knownface.errors import KnownfaceError
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.bulk.exporting import Export
    from knownface.bulk.importing import Enrolling, Importer, Outcome

SETTINGS: Final = (
    "data",
    "database_url",
    "models_dir",
    "det_prob_threshold",
    "max_detect_size",
    "max_file_size",
    "save_images_to_db",
    "offline",
)
JOBS_ELSEWHERE: Final = 4  # how many cores a server has is not known here
STOPPED: Final = 130  # what shells say of a program that Ctrl-C ended
_SHOWN: Final = 10  # failures that are told without a report
_RESUME: Final = "What was added is kept; the same command goes on from there."
_COLUMNS: Final = ("file", "subject", "outcome", "image_id", "message", "line")
_PATH = click.Path(path_type=Path)

_service = click.option("--service", "service_name", metavar="NAME", help="Recognition service.")
_application = click.option(
    "--application", default="default", show_default=True, help="Its application."
)


@click.command("import", short_help="Add many pictures to a recognition service at once.")
@click.argument("source", metavar="FOLDER|ZIP|CSV", type=click.Path(exists=True, path_type=Path))
@_service
@_application
@click.option(
    "--jobs", type=click.IntRange(1), help="Pictures to work on at one time; one a core by default."
)
@click.option(
    "--report", metavar="FILE", type=_PATH, help="Tell of each picture in this .csv or .json file."
)
@click.option("--dry-run", is_flag=True, help="Look at all pictures, but store nothing.")
@click.option(
    "--url", help="Send the pictures to the server at this address, which needs no data folder."
)
@click.option("--api-key", metavar="KEY", help="Key of its recognition service, with --url.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@with_settings(*SETTINGS)
def import_(
    settings: Settings,
    source: Path,
    service_name: str | None,
    application: str,
    jobs: int | None,
    report: Path | None,
    dry_run: bool,
    url: str | None,
    api_key: str | None,
    as_json: bool,
) -> None:
    """Add the pictures of a folder, of a ZIP archive or of a list to a recognition service.

    A folder or archive holds a folder for each subject, of its name. A list is a CSV file with the
    columns file and subject; files are found from where the list is. What an export wrote comes
    back as it was. A picture that its subject has already is passed over, so the same command goes
    on with an import that was stopped. A server may run on the same data folder meanwhile.

    Exit code 0: all are in the collection. 1: some are not, or nothing could be done. 130: stopped.

    \b
    Examples:
      knownface import people/ --service door
      knownface import people.zip --service door --report failures.csv
      knownface import list.csv --service door --det-prob-threshold 0.6 --dry-run
      knownface import people/ --url http://faces.example:8000 --api-key KEY
    """
    from knownface.app import cores
    from knownface.bulk.importing import Importer
    from knownface.bulk.sources import open_source

    if (url is None) != (api_key is None) or (url and (dry_run or service_name)):
        raise click.UsageError(
            "--url and --api-key belong together; the key names the service, and nothing but "
            "sending can be tried."
        )
    if dry_run:
        click.echo("A dry run: nothing is stored, whatever is told as added.", err=True)
    jobs = jobs or settings.slots or (JOBS_ELSEWHERE if url else cores())
    with (
        open_source(source) as pictures,
        _reporting(report) as tell,
        _elsewhere(settings, url, api_key)
        if url and api_key
        else _here(settings, application, service_name, jobs) as enrolling,
    ):
        limit = settings.max_file_size
        importer = Importer(enrolling, jobs=jobs, max_file_size=limit, dry_run=dry_run)
        with _stopped_by_ctrl_c(importer):
            _follow(importer, importer.run(pictures.items()), pictures.count(), tell, as_json)


@contextmanager
def _here(
    settings: Settings, application: str, service_name: str | None, jobs: int
) -> Iterator[Enrolling]:
    from knownface.app import build
    from knownface.bulk.enrolment import Enrolment
    from knownface.recognition import Options

    with closing(build(settings.model_copy(update={"slots": jobs}))) as app:
        service = recognition_service(app.accounts, application, service_name)
        with output.progress() as progress:
            app.start(progress)
        yield Enrolment(app.recognition, app.store, service, Options())


@contextmanager
def _elsewhere(settings: Settings, url: str, api_key: str) -> Iterator[Enrolling]:
    from knownface.bulk.remote import RemoteEnrolment

    # A server has a threshold of its own unless somebody here has set one.
    told = "det_prob_threshold" in settings.model_fields_set
    with closing(
        RemoteEnrolment(url, api_key, settings.det_prob_threshold if told else None)
    ) as remote:
        yield remote


def _follow(
    importer: Importer,
    outcomes: Generator[Outcome, None, None],
    total: int,
    tell: Callable[[Outcome], None],
    as_json: bool,
) -> None:
    """Tell of each outcome as it comes, and in the end how many there were of which kind."""
    counts: Counter[str] = Counter()
    failures: list[Outcome] = []
    try:
        with output.counting("Importing", total) as show, closing(outcomes):
            for outcome in outcomes:
                tell(outcome)
                counts[outcome.kind] += 1
                if outcome.kind.failed and len(failures) < _SHOWN:
                    failures.append(outcome)
                show(counts.total())
    except KnownfaceError as error:
        raise Failure(f"{error.message} {_RESUME}") from error
    finally:
        _summarize(counts, failures, as_json)
    if importer.stopped and counts.total() < total:
        click.echo(f"Stopped after {counts.total()} of {total}. {_RESUME}", err=True)
        raise click.exceptions.Exit(STOPPED)
    failed = sum(counts[kind] for kind in _failures())
    if failed:
        raise Failure(f"{failed} of {counts.total()} are not in the collection.")


def _summarize(counts: Counter[str], failures: Sequence[Outcome], as_json: bool) -> None:
    from knownface.bulk.importing import Kind

    if as_json:
        output.json({kind.value: counts[kind] for kind in Kind})
        return
    output.table(
        ("outcome", "pictures"), [(k.value, counts[k]) for k in Kind if counts[k] or k == "added"]
    )
    for one in failures:
        place = f"line {one.item.line}: " if one.item.line else ""
        click.echo(f"{place}{_printable(one.item.file)}: {one.kind}. {one.message}", err=True)
    left = sum(counts[kind] for kind in _failures()) - len(failures)
    if left > 0:
        click.echo(f"… and {left} more; --report FILE.csv tells of each.", err=True)


def _failures() -> list[str]:
    from knownface.bulk.importing import Kind

    return [kind for kind in Kind if kind.failed]


@contextmanager
def _stopped_by_ctrl_c(importer: Importer) -> Iterator[None]:
    """Let the first Ctrl-C end the import in good order, and a second one end it at once."""
    before = signal.getsignal(signal.SIGINT)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        importer.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _reporting(path: Path | None) -> Iterator[Callable[[Outcome], None]]:
    """Give what writes an outcome into the report, row by row, whatever ends the import."""
    if path is None:
        yield lambda _: None
        return
    kind = path.suffix.lower()
    if kind not in (".csv", ".json"):
        raise click.BadParameter(f"{path} should end in .csv or .json.", param_hint="--report")
    try:
        stream = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--report") from None
    with stream, _csv(stream) if kind == ".csv" else _json(stream) as write:
        yield lambda outcome: write(_row(outcome))


def _row(outcome: Outcome) -> tuple[object, ...]:
    item = outcome.item
    image_id = str(outcome.image_id) if outcome.image_id else None
    return item.file, item.subject, outcome.kind.value, image_id, outcome.message, item.line


@contextmanager
def _csv(stream: IO[str]) -> Iterator[Callable[[tuple[object, ...]], None]]:
    writer = csv.writer(stream)
    writer.writerow(_COLUMNS)
    yield writer.writerow


@contextmanager
def _json(stream: IO[str]) -> Iterator[Callable[[tuple[object, ...]], None]]:
    first = True

    def write(row: tuple[object, ...]) -> None:
        nonlocal first
        stream.write("[\n" if first else ",\n")
        # The standard library writes names that are no Unicode, too.
        stream.write(json.dumps(dict(zip(_COLUMNS, row, strict=True))))
        first = False

    try:
        yield write
    finally:
        stream.write("[]\n" if first else "\n]\n")


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


@click.command(short_help="Write a recognition service's photographs into a folder or a ZIP.")
@_service
@_application
@click.option(
    "--to", "target", metavar="FOLDER|ZIP", required=True, type=_PATH, help="Where to write it."
)
@click.option("--subject", help="Only this subject; all when absent.")
@click.option("--embeddings", is_flag=True, help="Write the embeddings, too: embeddings.jsonl.")
@with_settings("data", "database_url")
def export(
    settings: Settings,
    service_name: str | None,
    application: str,
    target: Path,
    subject: str | None,
    embeddings: bool,
) -> None:
    """Write the photographs of a recognition service, a folder for each subject.

    Beside them stands manifest.csv, which tells of each example the image id, the subject, the file
    and its SHA-256. `knownface import` of it makes the same collection.

    \b
    Examples:
      knownface export --service door --to door.zip
      knownface export --service door --to door/ --embeddings
    """
    from knownface.accounts import Accounts
    from knownface.app import open_store
    from knownface.bulk.exporting import Export

    with closing(open_store(settings)) as store:
        service = recognition_service(Accounts(store), application, service_name)
        found = Export(store, service, subject=subject, embeddings=embeddings)
        with store.snapshot() as tx:
            total = tx.counts(service.id)[1] if subject is None else None
        try:
            with output.counting("Exporting", total) as show:
                for _ in _written(found, target):
                    show(found.examples)
        except OSError as error:
            raise Failure(f"Cannot write {error.filename or target}: {error.strerror}") from None
    click.echo(f"Wrote {found.photographs} photographs of {found.examples} faces to {target}")
    if found.photographs < found.examples:
        click.echo("The photographs of the others were not kept (save_images_to_db).", err=True)


def _written(found: Export, target: Path) -> Iterator[None]:
    """Write an export; whoever reads elsewhere what is written here must be its owner."""
    from knownface.bulk.exporting import write_folder, write_zip

    if target.suffix.lower() != ".zip":
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise Failure(f"{target} exists already; name a new folder, or an empty one.")
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield from write_folder(found.entries(), target)
        return
    if target.exists():
        raise Failure(f"{target} exists already; name a new file.")
    part = target.with_name(f".{target.name}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            yield from write_zip(found.entries(), stream)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
