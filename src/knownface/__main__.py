"""`python -m knownface`, for where the `knownface` command is not on the path."""

from knownface.cli import main

main(prog_name="knownface")
