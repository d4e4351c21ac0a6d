"""What the page says, in each language: one TOML file a language, and nothing anywhere else."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, cast

FIRST: Final = "en"  # complete by definition: what another language lacks is said in this one


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its code, what it calls itself, and every text by its dotted key."""

    code: str
    name: str
    texts: Mapping[str, str]

    def text(self, key: str, **values: object) -> str:
        """Return a text with its values filled in; KeyError when there is none of this key.

        With a value `n`, a text may come in two: `key.one` for exactly 1 and `key.other`.
        """
        if "n" in values and f"{key}.other" in self.texts:
            key = f"{key}.one" if values["n"] == 1 else f"{key}.other"
        said = {name: self.value(value) for name, value in values.items()}
        return self.texts[key].format_map(said)

    def value(self, value: object) -> str:
        """Return a value as this language writes it: numbers with their thousands apart."""
        return self.number(value) if isinstance(value, int) else str(value)

    def number(self, value: float, digits: int = 0) -> str:
        """Write a number with these digits after the point, in this language's signs."""
        signs = {",": self.texts["format.thousands"], ".": self.texts["format.decimal"]}
        return "".join(signs.get(sign, sign) for sign in f"{value:,.{digits}f}")

    def size(self, octets: float) -> str:
        """Write a number of bytes, in the unit that leaves fewest digits."""
        units = ["bytes", "kB", "MB", "GB", "TB"]
        while abs(octets) >= 1000 and len(units) > 1:
            octets /= 1000
            units.pop(0)
        digits = 1 if octets < 10 and units[0] != "bytes" else 0
        return f"{self.number(octets, digits)} {units[0]}"

    def among(self, prefixes: Sequence[str]) -> dict[str, str]:
        """Return the texts whose keys begin with one of these words, for a script to say."""
        return {key: text for key, text in self.texts.items() if key.split(".")[0] in prefixes}


class Texts:
    """All languages that there is a file for."""

    def __init__(self, languages: Mapping[str, Language]) -> None:
        self.languages = languages

    @classmethod
    def load(cls) -> Texts:
        """Read the catalogue that is part of the program."""
        folder = files("knownface.web").joinpath("texts")
        found = {
            file.name.removesuffix(".toml"): dict(_flat(tomllib.loads(file.read_text("utf-8"))))
            for file in sorted(folder.iterdir(), key=lambda file: file.name)
            if file.name.endswith(".toml")
        }
        first = found[FIRST]
        return cls(
            {code: Language(code, said["language"], first | said) for code, said in found.items()}
        )

    def choose(self, chosen: str | None, accepted: str) -> Language:
        """Return the language that a visitor chose, else the first one his browser asks for."""
        if chosen in self.languages:
            return self.languages[str(chosen)]
        for code in _preferred(accepted):
            if code in self.languages:
                return self.languages[code]
        return self.languages[FIRST]


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(cast("Mapping[str, object]", value), f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)


def _preferred(header: str) -> list[str]:
    """Return the languages of an Accept-Language header without their regions, best first."""
    ranked = []
    for place, entry in enumerate(header.split(",")[:20]):
        name, _, parameters = entry.strip().partition(";")
        quality = parameters.strip().removeprefix("q=") if parameters else "1"
        try:
            ranked.append((-float(quality), place, name.split("-")[0].strip().lower()))
        except ValueError:
            continue
    return [code for quality, _, code in sorted(ranked) if quality < 0]
