"""`knownface evaluate detection`, `mask`, `age-gender` and `pose`: what is said of faces."""

from __future__ import annotations

from pathlib import Path

import click

from knownface.cli.measuring import (
    folder_of,
    images_folder,
    labels_file,
    measured,
    opened_judge,
    padding_for,
    tell,
)
from knownface.settings import Settings


@click.command(short_help="Are the faces found that are there?")
@click.argument(
    "labels", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="LABELS"
)
@images_folder
@measured
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

    with opened_judge(settings, json_file, report) as (judge, _):
        found = measure.evaluate(labels, folder_of(labels, images), judge)
    tell(found, f"Detection in {labels.name}", json_file, report)


@click.command(short_help="Is there a mask, and is it worn well?")
@labels_file
@images_folder
@measured
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

    with opened_judge(settings, json_file, report, plugins=(measure.SLUG,)) as (judge, _):
        found = measure.evaluate(labels, folder_of(labels, images), judge)
    tell(found, f"Masks in {labels.name}", json_file, report)


@click.command("age-gender", short_help="How far off are ages, and how often genders?")
@labels_file
@images_folder
@padding_for(
    "for crops that end at the face. Pictures in which no face is found get 0.4 in any case."
)
@measured
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

    with opened_judge(settings, json_file, report, plugins=measure.SLUGS) as (judge, _):
        found = measure.evaluate(labels, folder_of(labels, images), judge, padding=padding)
    tell(found, f"Age and gender in {labels.name}", json_file, report)


@click.command(short_help="How far off are the angles of heads?")
@labels_file
@images_folder
@click.option(
    "--roll-sign",
    type=click.Choice(["same", "opposite"]),
    help="Whether the labels count roll as the server does, counter-clockwise [default: same, and "
    "opposite where the columns end in _deg].",
)
@measured
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
    with opened_judge(settings, json_file, report, plugins=(measure.SLUG,)) as (judge, _):
        found = measure.evaluate(labels, folder_of(labels, images), judge, roll_sign=sign)
    tell(found, f"Pose in {labels.name}", json_file, report)
