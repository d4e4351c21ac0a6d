"""`knownface evaluate`: how accurate the models are on one's own pictures."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from knownface.cli import output
from knownface.cli.judges import open_judge
from knownface.cli.run import Failure, with_settings
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.evaluation.judging import Judge
    from knownface.evaluation.results import Evaluation, Problem
    from knownface.vision.catalog import Catalog

SETTINGS: Final = (
    "data",
    "models_dir",
    "detector",
    "embedder",
    "age_model",
    "gender_model",
    "mask_model",
    "max_detect_size",
    "det_prob_threshold",
    "runtime",
    "offline",
)
# More problems than anybody reads; all of them are in the JSON.
SHOWN: Final = 50
STANDARD_OUTPUT: Final = "-"

Command = Callable[..., None]

_labels = click.argument(
    "labels", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="LABELS.csv"
)
_pairs = click.argument(
    "pairs", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PAIRS.csv"
)
_images = click.option(
    "--images",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that the file names are relative to [default: the folder `images` beside the CSV "
    "file, else the folder of the CSV file].",
)
_json = click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    help="Write every figure as JSON; - prints it instead of the tables.",
)
_report = click.option(
    "--report",
    metavar="FILE.html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with charts and the worst mistakes, all in one file.",
)


def _padding(reason: str) -> Callable[[Command], Command]:
    return click.option(
        "--padding",
        metavar="SHARE",
        default=0.0,
        show_default=True,
        type=click.FloatRange(0, 2),
        help=f"Put black around every picture first, so much of its sides on each; {reason}",
    )


_tight = _padding("for crops that end at the face. The server itself never does that.")


def _measured(command: Command) -> Command:
    """Give a command the options that all measurements share."""
    return _json(_report(with_settings(*SETTINGS)(command)))


@click.group(short_help="Measure accuracy on your own pictures.")
def evaluate() -> None:
    """Measure how accurate the models are on your own labelled pictures.

    Figures go to standard output, rows and pictures that cannot be used to standard error, with
    the line and the reason. Nothing is stored and no server is needed.

    \b
    Examples:
      knownface evaluate verification pairs.csv --images photos --report report.html
      knownface evaluate identification gallery/ probes/ --json figures.json
      knownface evaluate calibrate pairs.csv --images photos --dry-run

    CSV files name their columns in the first line; more columns than a command needs do no harm.
    """


@evaluate.command(short_help="Pairs of pictures: one person or two?")
@_pairs
@_images
@click.option("--by", metavar="COLUMN", help="Show the figures of each value of this column, too.")
@_tight
@_measured
def verification(
    settings: Settings,
    pairs: Path,
    images: Path | None,
    by: str | None,
    padding: float,
    json_file: Path | None,
    report: Path | None,
) -> None:
    """Measure how well pairs of the same person are told from pairs of two people.

    Accuracy (per fold, at the threshold that is best for the other folds), TAR at FAR 1e-2 to 1e-6
    as far as there are pairs enough, EER, and thresholds from all pairs of pictures whose people
    are known. The face nearest to the middle of a picture counts; a pair in which a face is not
    found counts as told different.

    \b
    PAIRS.csv:
      fold,file_a,file_b,same
      1,anna/1.jpg,anna/2.jpg,1
      1,anna/1.jpg,ben/1.jpg,0
    same is 1, true or yes, or 0, false or no. Without fold, ten are made.

    \b
    Example:
      knownface evaluate verification pairs.csv --images photos --by country
    """
    from knownface.evaluation import verification as measure

    place = _place(pairs, images)
    with _judge(settings, json_file, report) as (judge, _):
        found = measure.evaluate(pairs, place, judge, by=by, padding=padding)
    _tell(found, f"Verification of {pairs.name}", json_file, report)


@evaluate.command(short_help="A gallery of known people, and probes: who is found?")
@click.argument("gallery", type=click.Path(exists=True, path_type=Path))
@click.argument("probes", type=click.Path(exists=True, path_type=Path))
@_images
@_tight
@_measured
def identification(
    settings: Settings,
    gallery: Path,
    probes: Path,
    images: Path | None,
    padding: float,
    json_file: Path | None,
    report: Path | None,
) -> None:
    """Measure how often the right person of a gallery is found (rank-1), and how often somebody who
    is not in it is taken for one (FNIR at FPIR 0.01).

    GALLERY and PROBES are folders with a sub-folder for each person, named alike in both. Probes of
    people who are not in the gallery, and files right in PROBES, are the unknown ones.

    \b
    Instead of a folder, a CSV file names the people; those without a subject are unknown:
      file,subject
      anna/1.jpg,Anna
      street/7.jpg,

    \b
    Example:
      knownface evaluate identification gallery/ probes/ --report report.html
    """
    from knownface.evaluation import identification as measure

    with _judge(settings, json_file, report) as (judge, _):
        found = measure.evaluate(gallery, probes, judge, images=images, padding=padding)
    _tell(found, f"Identification of {probes.name} in {gallery.name}", json_file, report)


@evaluate.command(short_help="Are the faces found that are there?")
@click.argument(
    "labels", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="LABELS"
)
@_images
@_measured
def detection(
    settings: Settings,
    labels: Path,
    images: Path | None,
    json_file: Path | None,
    report: Path | None,
) -> None:
    """Measure how many of the labelled faces are found (recall), and how much of what is found is
    one of them (precision); a found box is a labelled one if they overlap by half.

    \b
    LABELS.csv has a row for each face; pictures without a face have one without a box:
      file,x_min,y_min,x_max,y_max
      street.jpg,120,80,190,170
      empty.jpg,,,,

    LABELS may also be an XML file of dlib, or a JSON file of points in the faces:
    {"street.jpg": [[155, 130]]}. A point counts as found if it lies in a box.

    \b
    Example:
      knownface evaluate detection labels.csv --images photos --report report.html
    """
    from knownface.evaluation import detection as measure

    with _judge(settings, json_file, report) as (judge, _):
        found = measure.evaluate(labels, _place(labels, images), judge)
    _tell(found, f"Detection in {labels.name}", json_file, report)


@evaluate.command(short_help="Is there a mask, and is it worn well?")
@_labels
@_images
@_measured
def mask(
    settings: Settings,
    labels: Path,
    images: Path | None,
    json_file: Path | None,
    report: Path | None,
) -> None:
    """Measure how often the answer of the mask plugin is the labelled one: of three values, with
    each value counting the same, and about whether there is a mask at all.

    \b
    LABELS.csv:
      file,label,source,x_min,y_min,x_max,y_max
      hall.jpg,with_mask,camera 2,120,80,190,170
    label is with_mask, without_mask or mask_weared_incorrect, or one of many other spellings. The
    source may be missing, and so may the box: then the face nearest to the middle is meant. A face
    that the detector misses is judged on its box, and counted apart.

    \b
    Example:
      knownface evaluate mask labels.csv --json figures.json
    """
    from knownface.evaluation import mask as measure

    with _judge(settings, json_file, report, plugins=(measure.SLUG,)) as (judge, _):
        found = measure.evaluate(labels, _place(labels, images), judge)
    _tell(found, f"Masks in {labels.name}", json_file, report)


@evaluate.command("age-gender", short_help="How far off are ages, and how often genders?")
@_labels
@_images
@_padding("for crops that end at the face. Pictures in which no face is found get 0.4 in any case.")
@_measured
def age_gender(
    settings: Settings,
    labels: Path,
    images: Path | None,
    padding: float,
    json_file: Path | None,
    report: Path | None,
) -> None:
    """Measure by how many years the middle of the answered age range is off, how often the range
    holds the age, and how often the gender is the labelled one; apart for people of 15 or more.

    \b
    LABELS.csv:
      file,age,gender,race
      anna.jpg,34,female,white
    gender is female or male; age or gender may be missing, and race as well, by which the figures
    are shown if it is there. x_min, y_min, x_max and y_max name a face among several; without
    them the one nearest to the middle is meant.

    \b
    Example:
      knownface evaluate age-gender labels.csv --images crops --padding 0.4
    """
    from knownface.evaluation import age_gender as measure

    with _judge(settings, json_file, report, plugins=measure.SLUGS) as (judge, _):
        found = measure.evaluate(labels, _place(labels, images), judge, padding=padding)
    _tell(found, f"Age and gender in {labels.name}", json_file, report)


@evaluate.command(short_help="How far off are the angles of heads?")
@_labels
@_images
@click.option(
    "--roll-sign",
    type=click.Choice(["same", "opposite"]),
    help="Whether the labels count roll as the server does, counter-clockwise [default: same, and "
    "opposite where the columns end in _deg].",
)
@_measured
def pose(
    settings: Settings,
    labels: Path,
    images: Path | None,
    roll_sign: str | None,
    json_file: Path | None,
    report: Path | None,
) -> None:
    """Measure by how many degrees pitch, yaw and roll are off, and whether each picture and its
    mirror image are turned to opposite sides.

    \b
    LABELS.csv:
      file,pitch,yaw,roll
      anna.jpg,-4.7,0.9,-5.6
    Signs are those of the answers: pitch is positive when the face looks up, yaw when the nose
    points to the left of the picture, roll when the head is turned counter-clockwise. Columns
    pitch_deg, yaw_deg and roll_deg are read as AFLW's, where roll is clockwise.

    \b
    Example:
      knownface evaluate pose pose.csv --images heads
    """
    from knownface.evaluation import pose as measure

    sign = {None: None, "same": 1, "opposite": -1}[roll_sign]
    with _judge(settings, json_file, report, plugins=(measure.SLUG,)) as (judge, _):
        found = measure.evaluate(labels, _place(labels, images), judge, roll_sign=sign)
    _tell(found, f"Pose in {labels.name}", json_file, report)


@evaluate.command(short_help="Let similarities mean what your pictures say.")
@_pairs
@_images
@click.option(
    "--steepness",
    metavar="C1",
    type=click.FloatRange(0.1, 100),
    help="How steeply similarity changes around 0.5 [default: as the model has it].",
)
@_tight
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@_measured
def calibrate(
    settings: Settings,
    pairs: Path,
    images: Path | None,
    steepness: float | None,
    padding: float,
    dry_run: bool,
    json_file: Path | None,
    report: Path | None,
) -> None:
    """Derive the similarities of an embedder, and the table of their false match rates, from
    pairs as `verification` takes them, and write both into the folder of the model.

    c0 is put where same and different are equally likely, so that 0.5 means that; c1 stays, so that
    similarities remain graded. The next start uses them. Thresholds that were chosen before mean
    something else then: the output shows what becomes of them.

    \b
    Example:
      knownface evaluate calibrate pairs.csv --images photos --embedder my-arcface
    """
    from knownface.evaluation import calibration, descriptions

    place = _place(pairs, images)
    with _judge(settings, json_file, report) as (judge, catalog):
        derived = calibration.derive(pairs, place, judge, steepness=steepness, padding=padding)
        spec = judge.pipeline.embedder
        path = descriptions.place_of(catalog, spec)
        if not dry_run:
            strangers = f"measured on {pairs.name}, {datetime.now(UTC):%Y-%m-%d}"
            descriptions.write(catalog, spec, derived.calibration, derived.fmr, strangers)
    written = {"written": None if dry_run else str(path)}
    _tell(derived.evaluation, f"Calibration by {pairs.name}", json_file, report, **written)
    click.echo(_consequences(spec.name, path, dry_run=dry_run), err=True)


@contextmanager
def _judge(
    settings: Settings, *files: Path | None, plugins: Sequence[str] = ()
) -> Iterator[tuple[Judge, Catalog]]:
    """Open what pictures are seen through, after a look at where the answers shall go."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise click.UsageError(f"Cannot write {file}: there is no folder {file.parent}.")
    with output.measuring() as progress, open_judge(settings, progress, plugins) as opened:
        yield opened


def _place(labels: Path, images: Path | None) -> Path:
    from knownface.evaluation.people import images_beside

    return images or images_beside(labels)


def _tell(
    found: Evaluation, title: str, json_file: Path | None, report: Path | None, **more: object
) -> None:
    """Print the tables and the problems, and write the files that were asked for."""
    document = {
        "kind": found.kind,
        **found.figures,
        **more,
        "problems": [{"file": p.file, "line": p.line, "reason": p.reason} for p in found.problems],
    }
    printed = json_file is not None and str(json_file) == STANDARD_OUTPUT
    if printed:
        output.json(document)
    else:
        for table in found.tables:
            click.echo(f"\n{table.title}")
            output.table(table.columns, table.rows)
    _complain(found.problems)
    if json_file and not printed:
        _write(json_file, output.json_text(document) + "\n")
    if report:
        from knownface.evaluation.report import html

        command = shlex.join(["knownface", *sys.argv[1:]])
        _write(report, html(found, title=title, made=datetime.now(UTC), command=command))


def _complain(problems: Sequence[Problem]) -> None:
    for problem in problems[:SHOWN]:
        click.echo(f"Left out: {problem}", err=True)
    if len(problems) > SHOWN:
        click.echo(f"Left out: {len(problems) - SHOWN} more; --json lists all of them.", err=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise Failure(f"Cannot write {path}: {error.strerror}") from None
    click.echo(f"Wrote {path}", err=True)


def _consequences(model: str, path: Path, *, dry_run: bool) -> str:
    if dry_run:
        return f"Nothing was written; without --dry-run it would go to {path}."
    return (
        f"Wrote {path}; the next start of the server uses it. Similarities of {model} mean "
        "something else from then on: look at the similarity_threshold of services "
        "(knownface service list) and at thresholds in your clients. Thresholds given as max_fmr "
        "follow the new table. Faces that are stored need nothing."
    )
