"""The whole program in half a minute: a real server, two people enrolled, the others recognised.

    python scripts/demo.py PORTRAITS [--models FOLDER] [--annotate FILE]

PORTRAITS holds the six portraits that `make demo` fetches, and CREDITS.md, which names who is on
them. Exit code 0 means that every answer was the right one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

THRESHOLD = 0.5
ENROLLED = ("person_a_1.jpg", "person_b_1.jpg")
# Each with the enrolled picture that shows the same person, if one does.
ASKED: Mapping[str, str | None] = {
    "person_a_2.jpg": "person_a_1.jpg",
    "person_b_2.jpg": "person_b_1.jpg",
    "impostor_1.jpg": None,
    "impostor_2.jpg": None,
}
SECONDS_TO_STOP = 30


class DemoError(Exception):
    """Something went otherwise than it should; the message says what."""


@dataclass(frozen=True)
class Server:
    """A running server: where it is, and the key of its service of each type."""

    address: str
    keys: Mapping[str, str]

    def post(self, kind: str, call: str, files: Mapping[str, Path], **query: str) -> object:
        """Send pictures to a call of the API and return its JSON; DemoError unless it succeeds."""
        answer = httpx.post(
            f"{self.address}/api/v1/{kind}/{call}",
            headers={"x-api-key": self.keys[kind]},
            params=query,
            files={name: path.read_bytes() for name, path in files.items()},
            timeout=60,
        )
        if answer.is_error:
            raise DemoError(f"{kind}/{call} answered {answer.status_code}: {answer.text}")
        return answer.json()


@dataclass(frozen=True)
class Guess:
    """Who the server says is on a portrait, and who really is."""

    file: str
    truth: str | None
    subject: str
    similarity: float

    @property
    def verdict(self) -> str | None:
        return self.subject if self.similarity >= THRESHOLD else None

    @property
    def right(self) -> bool:
        return self.verdict == self.truth


def main() -> int:
    """Run the demonstration; return the exit code."""
    options = _options()
    console = Console(highlight=False)
    try:
        names = _names(options.portraits)
        with tempfile.TemporaryDirectory(prefix="knownface-demo-") as data:
            environment = _environment(options.models)
            with _server(Path(data), environment) as server:
                right = _show(console, server, options.portraits, names)
                _annotate(console, Path(data), environment, options)
    except (DemoError, httpx.HTTPError, OSError) as error:
        console.print(f"The demonstration failed: {error}", style="bold red")
        return 1
    verdict = "Every answer is right." if right else "Some answers are wrong."
    console.print(verdict, style="bold green" if right else "bold red")
    return 0 if right else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("portraits", type=Path, help="folder of the six portraits")
    parser.add_argument("--models", type=Path, help="folder of the installed models")
    parser.add_argument("--annotate", type=Path, default=Path("demo.jpg"), help="where to draw")
    return parser.parse_args()


def _names(portraits: Path) -> dict[str, str]:
    """Return who is on each portrait, as its credits say."""
    missing = [name for name in (*ENROLLED, *ASKED) if not (portraits / name).is_file()]
    if missing:
        raise DemoError(f"{portraits} lacks {', '.join(missing)}")
    credits = portraits / "CREDITS.md"
    text = credits.read_text("utf-8") if credits.is_file() else ""
    named = dict(re.findall(r"^\| `([\w.]+)` \| ([^|(]+?) *(?:\([^|]*)?\|", text, re.MULTILINE))
    return {name: named.get(name, name.rsplit("_", 1)[0]) for name in (*ENROLLED, *ASKED)}


def _environment(models: Path | None) -> dict[str, str]:
    """Return the environment of the server: none of the caller's settings, but for the models."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KNOWNFACE_")}
    folder = models or os.environ.get("KNOWNFACE_MODELS_DIR")
    return {**kept, "KNOWNFACE_MODELS_DIR": str(Path(folder).absolute())} if folder else kept


@contextmanager
def _server(data: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Run a server on a free port with an empty data folder; it must stop cleanly at the end."""
    command = [sys.executable, "-m", "knownface", "serve", "--host", "127.0.0.1", "--port", "0"]
    command += ["--data", str(data), "--log-level", "warning", "--log-format", "text"]
    # Its working directory is the data folder, where no .env file of the caller is found.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=dict(environment), cwd=data
    )
    try:
        yield _greeting(process)
        process.send_signal(signal.SIGTERM)
        if code := process.wait(SECONDS_TO_STOP):
            raise DemoError(f"the server stopped with exit code {code}")
    finally:
        process.kill()
        process.communicate()


def _greeting(process: subprocess.Popen[str]) -> Server:
    """Read address and keys off the server's first lines."""
    address, keys = "", {}
    for line in process.stdout or ():
        if found := re.search(r"http://[\w.:\[\]]+", line):
            address = address or found[0]
        if found := re.search(r"(recognition|detection|verification)\s+([0-9a-f-]{36})", line):
            keys[found[1]] = found[2]
        if address and len(keys) == 3:
            return Server(address, keys)
    raise DemoError("the server did not start")


def _show(console: Console, server: Server, portraits: Path, names: Mapping[str, str]) -> bool:
    """Enrol, recognise and verify; print what comes back and tell whether all of it is right."""
    for name in ENROLLED:
        picture = {"file": portraits / name}
        server.post("recognition", "faces", picture, subject=names[name])
        console.print(f"Enrolled [bold]{names[name]}[/] from {name}")

    guesses: list[Guess] = []
    for name, same in ASKED.items():
        picture = {"file": portraits / name}
        answer = server.post("recognition", "recognize", picture, limit="1", status="true")
        if not guesses:
            console.print(f"\nPOST /api/v1/recognition/recognize with {name} answers:")
            console.print_json(json.dumps(answer))
        guesses.append(_guess(name, names[same] if same else None, answer))
    console.print(_table(guesses))

    pair = {"source_image": portraits / ENROLLED[0], "target_image": portraits / "person_a_2.jpg"}
    verified = server.post("verification", "verify", pair)
    similarity = verified["result"][0]["face_matches"][0]["similarity"]  # type: ignore[index]  # JSON
    console.print(f"Verified {ENROLLED[0]} against person_a_2.jpg: similarity {similarity:.5f}\n")
    return similarity >= THRESHOLD and all(guess.right for guess in guesses)


def _guess(name: str, truth: str | None, answer: object) -> Guess:
    best = answer["result"][0]["subjects"][0]  # type: ignore[index]  # JSON
    return Guess(name, truth, best["subject"], best["similarity"])


def _table(guesses: list[Guess]) -> Table:
    columns = ("file", "best subject", "similarity", f"verdict at {THRESHOLD}", "")
    table = Table(*columns, box=SIMPLE_HEAD)
    for guess in guesses:
        mark = "[green]right[/]" if guess.right else "[red]wrong[/]"
        verdict = guess.verdict or "unknown"
        table.add_row(guess.file, guess.subject, f"{guess.similarity:.5f}", verdict, mark)
    return table


def _annotate(
    console: Console, data: Path, environment: Mapping[str, str], options: argparse.Namespace
) -> None:
    """Let the command line, beside the running server, draw what it recognises."""
    portrait, drawing = options.portraits / "person_b_2.jpg", options.annotate.absolute()
    command = [sys.executable, "-m", "knownface", "recognize", str(portrait.absolute())]
    command += ["--data", str(data), "--annotate", str(drawing)]
    done = subprocess.run(
        command, env=dict(environment), cwd=data, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DemoError(f"knownface recognize: {done.stderr.strip()}")
    console.print(f"`knownface recognize {portrait.name} --annotate` drew {drawing}")


if __name__ == "__main__":
    sys.exit(main())
