"""The command line; `knownface --help` teaches it by example.

A command is one function. What it needs of the program it imports when it runs, so that help and
mistakes are answered at once.
"""

from __future__ import annotations

from typing import Final

import click

from knownface import __version__
from knownface.cli.application import application
from knownface.cli.attributes import age_gender, detection, mask, pose
from knownface.cli.bulk import export, import_
from knownface.cli.checks import doctor, migrate
from knownface.cli.evaluate import evaluate
from knownface.cli.models import models
from knownface.cli.pictures import detect, recognize, verify
from knownface.cli.reembed import reembed
from knownface.cli.run import OneLineErrors
from knownface.cli.serve import serve
from knownface.cli.service import service
from knownface.cli.status import status
from knownface.cli.user import user

__all__ = ["main"]

EXAMPLES = """Examples:

\b
  knownface serve
      Start the server on port 8000. The first start fetches the models and prints
      the API keys.
\b
  curl -H "x-api-key: KEY" -F file=@photo.jpg \\
      "http://localhost:8000/api/v1/detection/detect"
      Find the faces of a picture over HTTP.
\b
  knownface service create --type recognition --name door
      Make another face collection and print its key.
\b
  knownface import people/ --service door
      Add many pictures at once: a folder for each subject.
\b
  knownface detect photo.jpg --annotate faces.jpg
      Find the faces without a server, and draw them.
\b
  knownface evaluate verification pairs.csv --images photos
      Measure how accurate the models are on your own pictures.
\b
  knownface doctor
      Say what is wrong with this installation, and what to do about it.

Every setting is a flag of `knownface serve`, an environment variable such as
KNOWNFACE_PORT, or a line of a file called .env in the working directory.
"""


@click.group(
    cls=OneLineErrors,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXAMPLES,
)
@click.version_option(__version__, prog_name="knownface")
def main() -> None:
    """Knownface: a self-hosted face recognition server that speaks CompreFace's REST API."""


COMMANDS: Final = (
    serve,
    application,
    service,
    user,
    models,
    reembed,
    import_,
    export,
    recognize,
    detect,
    verify,
    evaluate,
    migrate,
    status,
    doctor,
)
for command in COMMANDS:
    main.add_command(command)

for command in (detection, mask, age_gender, pose):
    evaluate.add_command(command)
