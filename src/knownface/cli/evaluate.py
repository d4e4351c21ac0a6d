"""`knownface evaluate`: how accurate the models are on one's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from knownface.cli.measuring import (
    folder_of,
    images_folder,
    measured,
    opened_judge,
    pairs_file,
    tell,
    tight,
)
from knownface.cli.run import Failure
from knownface.settings import Settings


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
@pairs_file
@images_folder
@click.option("--by", metavar="COLUMN", help="Show the figures of each value of this column, too.")
@tight
@measured
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

    place = folder_of(pairs, images)
    with opened_judge(settings, json_file, report) as (judge, _):
        found = measure.evaluate(pairs, place, judge, by=by, padding=padding)
    tell(found, f"Verification of {pairs.name}", json_file, report)


@evaluate.command(short_help="A gallery of known people, and probes: who is found?")
@click.argument("gallery", type=click.Path(exists=True, path_type=Path))
@click.argument("probes", type=click.Path(exists=True, path_type=Path))
@images_folder
@tight
@measured
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

    with opened_judge(settings, json_file, report) as (judge, _):
        found = measure.evaluate(gallery, probes, judge, images=images, padding=padding)
    tell(found, f"Identification of {probes.name} in {gallery.name}", json_file, report)


@evaluate.command(short_help="Let similarities mean what your pictures say.")
@pairs_file
@images_folder
@click.option(
    "--steepness",
    metavar="C1",
    type=click.FloatRange(0.1, 100),
    help="How steeply similarity changes around 0.5 [default: as the model has it].",
)
@tight
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@measured
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

    place = folder_of(pairs, images)
    with opened_judge(settings, json_file, report) as (judge, catalog):
        derived = calibration.derive(pairs, place, judge, steepness=steepness, padding=padding)
        spec = judge.pipeline.embedder
        path = descriptions.place_of(catalog, spec)
        # Services that go by max_fmr would refuse every request without one.
        table_lost = bool(spec.fmr) and not derived.fmr
        writes = not dry_run and not table_lost
        if writes:
            strangers = f"measured on {pairs.name}, {datetime.now(UTC):%Y-%m-%d}"
            descriptions.write(catalog, spec, derived.calibration, derived.fmr, strangers)
    written = {"written": str(path) if writes else None}
    tell(derived.evaluation, f"Calibration by {pairs.name}", json_file, report, **written)
    if table_lost:
        raise Failure(
            f"Nothing was written: {spec.name} has a table of false match rates, and these pairs "
            "are too few to measure another. Take pictures of more people."
        )
    click.echo(_consequences(spec.name, path, derived.fmr, dry_run=dry_run), err=True)


def _consequences(
    model: str, path: Path, table: Sequence[tuple[float, float]], *, dry_run: bool
) -> str:
    if dry_run:
        return f"Nothing was written; without --dry-run it would go to {path}."
    rates = "are refused, for there is no table"
    if table:
        rates = f"follow the new table; below its smallest rate, {table[-1][1]:g}, they are refused"
    return (
        f"Wrote {path}; the next start of the server uses it. Similarities of {model} mean "
        "something else from then on: look at the similarity_threshold of services "
        "(knownface service list) and at thresholds in your clients. Thresholds given as max_fmr "
        f"{rates}. Faces that are stored need nothing."
    )
