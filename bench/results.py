"""What one run found: ratios and absolute figures, with their spread, as JSON and as a table."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("knownface", "numpy", "onnxruntime", "openvino", "opencv-python-headless")


@dataclass(frozen=True)
class Figure:
    """One figure: what each repetition gave, and what it is compared with, in words."""

    name: str
    values: tuple[float, ...]
    meaning: str
    goal: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The smallest and the largest of the repetitions."""
        return min(self.values), max(self.values)


@dataclass
class Results:
    """The figures of a run in the order they were measured, and notes on how."""

    quick: bool
    ratios: list[Figure] = field(default_factory=list)
    absolute: list[Figure] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)

    def ratio(self, name: str, values: Sequence[float], meaning: str, goal: str = "") -> None:
        self.ratios.append(Figure(name, tuple(values), meaning, goal))

    def figure(self, name: str, values: Sequence[float], meaning: str, goal: str = "") -> None:
        self.absolute.append(Figure(name, tuple(values), meaning, goal))

    def document(self) -> dict[str, object]:
        """Return what results.json holds."""
        return {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "quick": self.quick,
            "machine": machine(),
            "ratios": {figure.name: round(figure.value, 4) for figure in self.ratios},
            "absolute": {figure.name: round(figure.value, 4) for figure in self.absolute},
            "figures": {
                figure.name: {
                    "median": figure.value,
                    "least": figure.spread[0],
                    "most": figure.spread[1],
                    "repetitions": len(figure.values),
                    "meaning": figure.meaning,
                    "goal": figure.goal,
                }
                for figure in (*self.ratios, *self.absolute)
            },
            "details": self.details,
        }

    def write(self, folder: Path) -> None:
        """Write results.json and results.md; those of a quick run lie beside, not over them.

        What was measured before on this machine, and not now, stays.
        """
        path = folder / ("quick.json" if self.quick else "results.json")
        document = self.document()
        if path.exists():
            before = json.loads(path.read_text("utf-8"))
            if before["machine"]["processor"] == machine()["processor"]:
                document = _joined(before, document)
        path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        path.with_suffix(".md").write_text(markdown(document), "utf-8")


def markdown(document: Mapping[str, Any]) -> str:
    """Return all figures of a document as one Markdown table, and the machine they are from."""
    lines = ["| figure | median | least … most | goal | what it is |", "|---|---:|---:|---|---|"]
    lines += [
        f"| `{name}` | {_number(figure['median'])} "
        f"| {_number(figure['least'])} … {_number(figure['most'])} "
        f"| {figure['goal']} | {figure['meaning']} |"
        for name, figure in document["figures"].items()
    ]
    about = document["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    lines += ["", f"{about['processor']}, {about['cores']} cores, {about['system']}; {packages}."]
    if document["quick"]:
        lines += ["", "A quick run: a tenth of the vectors, requests and repetitions."]
    return "\n".join(lines) + "\n"


def _joined(before: Mapping[str, Any], now: Mapping[str, object]) -> dict[str, object]:
    parts = ("ratios", "absolute", "figures", "details")
    return {**now, **{part: {**before[part], **_mapping(now[part])} for part in parts}}


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, dict)
    return value


def machine() -> dict[str, object]:
    """Describe the machine and the versions that matter."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
