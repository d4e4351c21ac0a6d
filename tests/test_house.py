"""The rules of the house that no tool knows: what a reviewer would otherwise have to remember."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# No line of the program is run.
pytestmark = pytest.mark.no_cover

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = ("bench", "dev", "portraits", "sdk")
ADRS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
# The brackets keep these lines from breaking the rule that they state.
INDEX = r"--(extra-)?index[-]url|--find[-]links|python[h]osted|pypi[.]org/simple"
HOME = r"(?<![\w.])/(home|root|Users)/\w"


@cache
def tracked() -> tuple[Path, ...]:
    """Return every text file that is, or is about to be, part of the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8000])


def python_files() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return every part of a Python file that says something by its type."""
    wanted = (ast.ClassDef, ast.Import, ast.ImportFrom)
    return tuple(
        node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, wanted)
    )


def matches(pattern: str, paths: list[Path]) -> Iterator[str]:
    """Yield `path:line: text` for each line of these files that the pattern is found in."""
    expression = re.compile(pattern)
    for path in paths:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            if expression.search(line):
                yield f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def pins(lock: str) -> dict[str, set[Version]]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")
    found: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([\w.+!-]+)", text, re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(Version(version))
    return found


def requirements(lock: str) -> list[str]:
    groups = PROJECT["dependency-groups"]
    if lock == "sdk":
        return list(groups["sdk"])
    project = PROJECT["project"]
    if lock == "bench":
        return [*project["dependencies"], *groups["bench"]]
    return [
        *project["dependencies"],
        *project["optional-dependencies"]["convert"],
        *groups["dev"],
    ]


def test_no_python_file_outgrows_one_sitting() -> None:
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in python_files()}
    assert {str(path.relative_to(ROOT)): n for path, n in lines.items() if n > 650} == {}


def test_no_class_has_a_name_that_says_nothing() -> None:
    empty = re.compile(r"(Manager|Helper|Utils?|Base|Impl)$")
    names = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in python_files()
        for node in nodes(path)
        if isinstance(node, ast.ClassDef) and empty.search(node.name)
    ]
    assert names == []


def test_each_silenced_check_names_its_code_and_its_reason() -> None:
    silenced = r"#\s*(noqa|type:\s*ignore|pragma)"
    sound = (
        r"# (noqa: [A-Z]+\d+(, [A-Z]+\d+)*|type: ignore\[[a-z-, ]+\]|pragma: no cover)\s+[-#] ?\w"
    )
    files = [path for path in python_files() if path != Path(__file__).resolve()]
    unsound = set(matches(silenced, files)) - set(matches(sound, files))
    assert sorted(unsound) == []


def test_no_file_names_a_package_index_or_a_path_of_one_machine() -> None:
    pattern = f"{INDEX}|{HOME}|{re.escape(str(ROOT))}/"
    assert list(matches(pattern, list(tracked()))) == []


def test_no_lock_format_that_records_addresses_is_used() -> None:
    recording = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml"}
    assert {path.name for path in tracked()} & recording == set()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_pins_with_hashes_and_nothing_else(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")
    body = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    entry = r"[\w.-]+==[\w.+!-]+( ; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert re.fullmatch(f"({entry})+", body)
    assert "://" not in text


@pytest.mark.parametrize("lock", ["bench", "dev", "sdk"])
def test_a_lock_satisfies_each_requirement(lock: str) -> None:
    pinned = pins(lock)
    unmet = []
    for text in requirements(lock):
        requirement = Requirement(text)
        versions = pinned.get(canonicalize_name(requirement.name), set())
        if not versions or not all(version in requirement.specifier for version in versions):
            unmet.append(text)
    assert unmet == [], "run `make lock`"


@pytest.mark.parametrize("folder", ["src", "bench", "scripts", "tests"])
def test_code_imports_only_what_is_declared(folder: str) -> None:
    project = PROJECT["project"]
    texts = [*project["dependencies"], *project["optional-dependencies"]["convert"]]
    if folder != "src":
        texts += PROJECT["dependency-groups"]["bench" if folder == "bench" else "dev"]
    declared = {canonicalize_name(Requirement(text).name) for text in texts}
    files = sorted((ROOT / folder).rglob("*.py"))
    own = {path.stem for path in files} | {path.parent.name for path in files}
    own.add("compreface")  # what drives the official client runs in .venv-sdk
    # What the bench compares with is not in the environment of the tests.
    providers = {"faiss": ["faiss-cpu"], **packages_distributions()}
    undeclared = set()
    for path in files:
        for module in imported(nodes(path)) - own:
            names = {canonicalize_name(n) for n in providers.get(module, [module])}
            if not names & declared:
                undeclared.add(f"{path.relative_to(ROOT)}: {module}")
    assert sorted(undeclared) == []


def imported(tree: tuple[ast.AST, ...]) -> set[str]:
    """Return the top-level names of the third-party modules that a file imports."""
    modules = set()
    for node in tree:
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    return modules - {"__future__", "knownface"} - sys.stdlib_module_names


def test_the_checks_are_strict() -> None:
    tools = PROJECT["tool"]
    assert tools["mypy"]["strict"] is True
    assert tools["pytest"]["strict"] is True
    assert tools["pytest"]["filterwarnings"][0] == "error"
    assert tools["coverage"]["run"]["branch"] is True
    assert tools["coverage"]["report"]["fail_under"] >= 95
    assert {contract["id"] for contract in tools["importlinter"]["contracts"]} >= {
        "layers",
        "settings",
        "http",
        "async",
        "runtime",
        "sql",
    }


@pytest.mark.parametrize(
    "tool", ["ruff format --check", "ruff check", "typos", "mypy", "lint-imports"]
)
def test_make_test_runs_each_check(tool: str) -> None:
    plan = subprocess.run(
        ["make", "--dry-run", "--always-make", "test"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
    ).stdout
    assert f".venv/bin/{tool}" in plan
    assert "pytest" in plan.partition(f".venv/bin/{tool}")[2], "the quick checks come first"


@pytest.mark.parametrize(
    "target", ["demo", "serve", "test", "check", "format", "bench", "docs", "lock", "models-wheel"]
)
def test_make_offers(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(rf"^{target}:.* ## \w", makefile, re.MULTILINE), "a target says what it does"


def test_ci_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text("utf-8").splitlines()[-1] == "exec make test"


def test_hypothesis_is_deterministic_in_ci() -> None:
    program = "import hypothesis; print(hypothesis.settings().derandomize)"
    printed = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"CI": "true"},
    ).stdout
    assert printed.strip() == "True"


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.stem)
def test_a_decision_is_one_page_with_its_four_parts(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert headings == ["Context", "Decision", "Consequences", "Alternatives"]
    assert lines[0].startswith(f"# {int(path.name[:4])}. ")
    assert re.match(r"Status: (accepted|superseded by \d{4}), \w+ \d{4}$", lines[2])
    assert len(lines) <= 60, "a decision fits on one page"


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    assert [int(path.name[:4]) for path in ADRS] == list(range(1, len(ADRS) + 1))
    listed = re.findall(
        r"\]\((\d{4}-[\w-]+\.md)\)", (ROOT / "docs/adr/README.md").read_text("utf-8")
    )
    assert listed == [path.name for path in ADRS]


def test_changelog_fragments_have_a_topic_a_known_type_and_one_paragraph() -> None:
    types = "|".join(kind["directory"] for kind in PROJECT["tool"]["towncrier"]["type"])
    for path in (ROOT / "changelog.d").glob("*.md"):
        assert re.fullmatch(rf"[a-z0-9-]+\.({types})\.md", path.name)
        assert path.read_text("utf-8").strip().count("\n") == 0, (
            f"{path.name}: one paragraph, one line"
        )


def test_every_relative_link_of_the_documents_leads_somewhere() -> None:
    dead = []
    for path in tracked():
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
            file = target.partition("#")[0]
            if file and "://" not in file and not (path.parent / file).exists():
                dead.append(f"{path.relative_to(ROOT)}: {target}")
    assert dead == []


def test_the_notice_names_the_weights_that_are_shipped() -> None:
    notice = (ROOT / "NOTICE").read_text("utf-8")
    models = tomllib.loads((ROOT / "src/knownface/vision/models.toml").read_text("utf-8"))
    carried = {name: model for name, model in models.items() if "carrier" in model}
    assert carried
    for name, model in carried.items():
        carrier = model["carrier"]
        assert Path(carrier["member"]).name in notice, name
        assert f"{carrier['package']} {carrier['version']}" in notice, name
