"""`knownface recognize`, `detect` and `verify`: the server's answers without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from knownface.cli import output
from knownface.cli.run import Failure, with_settings
from knownface.errors import KnownfaceError, ServiceNotFound
from knownface.settings import Settings
from knownface.types import Service, ServiceType, Threshold

if TYPE_CHECKING:
    from knownface.accounts import Accounts
    from knownface.api.wire import Json, View
    from knownface.app import App
    from knownface.drawing import Label
    from knownface.recognition import Compared, Options, Recognized
    from knownface.types import Face

SETTINGS: Final = ("data", "models_dir", "max_detect_size", "det_prob_threshold", "offline")
# The limit for uploads protects a server from strangers; whoever types a file's name means it.
LARGEST_FILE: Final = 256 << 20

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What there is to say of one picture: as JSON, as rows of a table, and drawn onto it."""

    document: Json
    rows: list[tuple[object, ...]]
    labels: list[Label] = field(default_factory=list)


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_files = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
# What parts same from different people, where nobody says otherwise.
SAME_PERSON: Final = 0.5


def _common(command: Command) -> Command:
    options = (
        click.option("--limit", default=0, type=click.IntRange(0), help="Most faces; 0 means all."),
        click.option(
            "--plugins",
            default="",
            metavar="SLUG,...",
            help="Attributes to add to the JSON, such as age, gender, pose or landmarks.",
        ),
        click.option("--status", is_flag=True, help="Add times and versions to the JSON."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON for programs."),
        click.option(
            "--annotate",
            metavar="OUT",
            type=click.Path(path_type=Path),
            help="Draw the faces into this .jpg, .png or .webp; for several pictures a folder.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that all three commands take."""

    limit: int
    plugins: str
    status: bool
    as_json: bool
    annotate: Path | None

    def options(self, prediction_count: int = 1) -> Options:
        from knownface.recognition import Options

        slugs = tuple(self.plugins.replace(",", " ").split())
        return Options(limit=self.limit, plugins=slugs, prediction_count=prediction_count)


@click.command(short_help="Tell who is in pictures, without a server.")
@_files
@click.option("--service", "service_name", metavar="NAME", help="Recognition service to search.")
@click.option("--application", default="default", show_default=True, help="Its application.")
@click.option(
    "--prediction-count",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Most similar subjects for each face.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Similarity from which a face counts as known, instead of the service's own threshold; "
    "where there is neither, 0.5 in the table and the drawing.",
)
@_common
@with_settings(*SETTINGS, "database_url")
def recognize(
    settings: Settings,
    files: tuple[Path, ...],
    service_name: str | None,
    application: str,
    prediction_count: int,
    threshold: float | None,
    **asked: object,
) -> None:
    """Tell who is in pictures, by the faces that a recognition service of the data folder knows.

    \b
    Examples:
      knownface recognize party.jpg
      knownface recognize *.jpg --service door --threshold 0.7 --annotate named/
    """
    from knownface.api import wire

    common = Asked(**asked)  # type: ignore[arg-type]  # click made them of these types
    options = common.options(prediction_count)
    with _app(settings, common) as app:
        service = recognition_service(app.accounts, application, service_name)
        least = SAME_PERSON if threshold is None else threshold
        if service.threshold is not None:
            least = 0.0  # what its threshold lets pass is known
            if threshold is not None:
                options = replace(options, threshold=Threshold(threshold))

        def answered(service: Service, data: bytes) -> Answer:
            found = app.recognition.recognize(service, data, options)
            view = _view(app, common, embedder=service.embedder)
            versions = _versions(app, common, embedder=service.embedder)
            return Answer(wire.recognition(found, view, versions), *_recognized(found, least))

        def answer(data: bytes) -> Answer:
            return app.recognition.steadily(service, lambda current: answered(current, data))

        columns = ("file", "face", "probability", "subject", "similarity", "verdict")
        _each(app, files, common, columns, answer)


@click.command(short_help="Find the faces of pictures, without a server.")
@_files
@_common
@with_settings(*SETTINGS)
def detect(settings: Settings, files: tuple[Path, ...], **asked: object) -> None:
    """Find the faces of pictures, the largest first.

    \b
    Examples:
      knownface detect photo.jpg --annotate faces.png
      knownface detect *.jpg --plugins landmarks --json
    """
    from knownface.api import wire

    common = Asked(**asked)  # type: ignore[arg-type]  # click made them of these types
    options = common.options()
    with _app(settings, common) as app:

        def answer(data: bytes) -> Answer:
            faces = app.recognition.detect(data, options)
            view = _view(app, common, rounded=False)
            versions = _versions(app, common, calculator=False)
            return Answer(wire.detection(faces, view, versions), *_detected(faces))

        _each(app, files, common, ("file", "face", "probability"), answer)


@click.command(short_help="Tell whether two pictures show one person, without a server.")
@click.argument("source", type=_FILE)
@click.argument("target", type=_FILE)
@click.option(
    "--threshold",
    default=SAME_PERSON,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Similarity from which two faces count as one person in the table and the drawing.",
)
@_common
@with_settings(*SETTINGS)
def verify(
    settings: Settings, source: Path, target: Path, threshold: float, **asked: object
) -> None:
    """Compare the one face of SOURCE with every face of TARGET.

    \b
    Example:
      knownface verify passport.jpg visitor.jpg
    """
    from knownface.api import wire

    common = Asked(**asked)  # type: ignore[arg-type]  # click made them of these types
    with _app(settings, common) as app:

        def answer(data: bytes) -> Answer:
            face, compared = app.recognition.verify(source.read_bytes(), data, common.options())
            view, versions = _view(app, common), _versions(app, common)
            document = wire.verification(face, compared, view, versions)
            return Answer(document, *_compared(compared, threshold))

        columns = ("file", "face", "probability", "similarity", "verdict")
        _each(app, (target,), common, columns, answer)


@contextmanager
def _app(settings: Settings, asked: Asked) -> Iterator[App]:
    from knownface.app import build

    larger = max(settings.max_file_size, LARGEST_FILE)
    app = build(settings.model_copy(update={"max_file_size": larger}))
    try:
        with output.progress() as progress:
            app.start(progress, asked.options().plugins)
        yield app
    finally:
        app.close()


def recognition_service(accounts: Accounts, application: str, name: str | None) -> Service:
    """Return the named recognition service, or the only one there is."""
    known = [s for s in accounts.services() if s.type is ServiceType.RECOGNITION]
    if name is None and len(known) == 1:
        return known[0]
    wanted = [s for s in known if s.name == name and s.application == application]
    if wanted:
        return wanted[0]
    names = ", ".join(f"{s.name} (application {s.application})" for s in known)
    if not known:
        raise ServiceNotFound(
            "This data folder has no recognition service. "
            "Make one: knownface service create --type recognition --name NAME"
        )
    problem = "Choose one with --service" if name is None else f"There is no service {name!r}"
    raise ServiceNotFound(f"{problem}; there are: {names}.")


def _view(app: App, asked: Asked, *, embedder: str | None = None, rounded: bool = True) -> View:
    from knownface.api.wire import View

    rates = app.pipeline.embedder_named(embedder).false_matches
    return View(app.pipeline.plugins, asked.options().plugins, asked.status, rounded, rates)


def _versions(
    app: App, asked: Asked, *, embedder: str | None = None, calculator: bool = True
) -> dict[str, str] | None:
    if not asked.status:
        return None
    plugins = asked.options().plugins
    return app.recognition.versions(plugins, calculator=calculator, embedder=embedder)


def _each(
    app: App,
    files: Sequence[Path],
    asked: Asked,
    columns: Sequence[str],
    answer: Callable[[bytes], Answer],
) -> None:
    """Answer for each picture; one that fails is told of and does not keep the others from it."""
    drawings = _drawings(files, asked.annotate)
    documents: list[dict[str, object]] = []
    rows: list[tuple[object, ...]] = []
    failed = []
    for path, drawing in zip(files, drawings, strict=True):
        try:
            data = path.read_bytes()
            found = answer(data)
        except (KnownfaceError, OSError) as error:
            code = error.code if isinstance(error, KnownfaceError) else 0
            message = error.message if isinstance(error, KnownfaceError) else str(error.strerror)
            failed.append(f"{path}: {message}")
            documents.append({"file": str(path), "message": message, "code": code})
            continue
        documents.append({"file": str(path), **found.document})
        rows += [(path, *row) for row in found.rows]
        if drawing:
            _draw(app, data, found.labels, drawing)
    if asked.as_json:
        output.json(documents)
    elif rows:
        output.table(columns, rows)
    if failed:
        raise Failure("; ".join(failed))


def _drawings(files: Sequence[Path], out: Path | None) -> list[Path | None]:
    """Return where each picture is drawn; a usage error when that cannot be."""
    from knownface.drawing import FORMATS, format_of

    if out is None:
        return [None] * len(files)
    if len(files) == 1 and not out.is_dir():
        if format_of(out) is None:
            kinds = ", ".join(FORMATS)
            raise click.BadParameter(
                f"{out} should end in one of {kinds}.", param_hint="--annotate"
            )
        return [out]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(f"{out}: {error.strerror}", param_hint="--annotate") from None
    # Pictures of several folders may share a name, and one must not overwrite the other.
    names: dict[str, int] = {}
    drawings: list[Path | None] = []
    for path in files:
        count = names[path.stem] = names.get(path.stem, 0) + 1
        drawings.append(out / (f"{path.stem}.png" if count == 1 else f"{path.stem}-{count}.png"))
    return drawings


def _draw(app: App, data: bytes, labels: Sequence[Label], target: Path) -> None:
    from knownface import drawing

    picture = drawing.annotate(app.decoder.decode(data), labels)
    try:
        target.write_bytes(drawing.encoded(picture, drawing.format_of(target) or "PNG"))
    except OSError as error:
        raise Failure(f"Cannot write {target}: {error.strerror}") from None
    click.echo(f"Drew {target}", err=True)


def _recognized(
    found: Sequence[Recognized], threshold: float
) -> tuple[list[tuple[object, ...]], list[Label]]:
    from knownface.drawing import Label

    rows: list[tuple[object, ...]] = []
    labels = []
    for one in found:
        for match in one.matches:
            known = match.similarity >= threshold
            verdict = "known" if known else "unknown"
            rows.append((*_face(one.face), match.subject, f"{match.similarity:.5f}", verdict))
        if not one.matches:
            rows.append((*_face(one.face), "-", "-", "unknown"))
        best = one.matches[0] if one.matches else None
        if best and best.similarity >= threshold:
            labels.append(Label(one.face, f"{best.subject} {best.similarity:.2f}"))
        else:
            labels.append(Label(one.face, "unknown", known=False))
    return rows, labels


def _detected(faces: Sequence[Face]) -> tuple[list[tuple[object, ...]], list[Label]]:
    from knownface.drawing import Label

    labels = [Label(face, f"{face.box.probability:.2f}") for face in faces]
    return [_face(face) for face in faces], labels


def _compared(
    compared: Sequence[Compared], threshold: float
) -> tuple[list[tuple[object, ...]], list[Label]]:
    from knownface.drawing import Label

    rows: list[tuple[object, ...]] = []
    labels = []
    for one in compared:
        same = one.similarity >= threshold
        verdict = "same person" if same else "different"
        rows.append((*_face(one.face), f"{one.similarity:.5f}", verdict))
        labels.append(Label(one.face, f"{one.similarity:.2f}", known=same))
    return rows, labels


def _face(face: Face) -> tuple[object, ...]:
    """Return where a face is, as x,y widthxheight in pixels, and how probable."""
    box = face.box
    place = f"{box.x_min:.0f},{box.y_min:.0f} {box.width:.0f}x{box.height:.0f}"
    return place, f"{box.probability:.3f}"
