"""What the page says: the same keys in each language, nothing said that has no translation."""

from __future__ import annotations

import re
import string
import tomllib
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

from knownface.errors import InvalidRequest, KnownfaceError, NotFound, NotSignedIn
from knownface.web.texts import Texts

WEB = Path(__file__).resolve().parents[2] / "src" / "knownface" / "web"
TEXTS = Texts.load()
CODES = sorted(TEXTS.languages)
PAGES = sorted((WEB / "templates").rglob("*.html"))
MODULES = sorted((WEB / "static").rglob("*.js"))
PLURAL = re.compile(r"\.(one|other)$")


def own(code: str) -> dict[str, str]:
    """Return what a file says itself, by flat key."""
    found: dict[str, str] = {}

    def add(table: dict[str, object], prefix: str) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                add(value, f"{prefix}{name}.")
            else:
                found[prefix + name] = str(value)

    add(tomllib.loads((WEB / "texts" / f"{code}.toml").read_text("utf-8")), "")
    return found


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@cache
def used() -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the keys that are asked for by name, and the beginnings of those put together."""
    whole: set[str] = set()
    begun: set[str] = set()
    for page in PAGES:
        source = page.read_text("utf-8")
        for key, rest in re.findall(r"""\bt\(\s*["']([\w.]+)["'](\s*~)?""", source):
            (begun if rest else whole).add(key)
    for module in MODULES:
        source = module.read_text("utf-8")
        whole |= set(re.findall(r"""\b(?:text|has)\(\s*["']([\w.]+)["']""", source))
        begun |= set(re.findall(r"""`([a-z_]+\.[\w.]*)\$\{""", source))
    for module in sorted(WEB.glob("*.py")):
        whole |= set(re.findall(r"""\.text\(\s*"([\w.]+)\"""", module.read_text("utf-8")))
    return frozenset(whole), tuple(begun)


@pytest.mark.parametrize("code", CODES)
def test_each_language_has_every_text_and_no_other(code: str) -> None:
    assert own(code).keys() == own("en").keys()


@pytest.mark.parametrize("code", CODES)
def test_a_translation_fills_in_the_same_values(code: str) -> None:
    original = own("en")
    other = {
        key: (placeholders(text), placeholders(original[key]))
        for key, text in own(code).items()
        # "1 service" need not say its number.
        if not key.endswith(".one") and placeholders(text) != placeholders(original[key])
    }
    assert other == {}


def test_every_text_that_is_used_exists() -> None:
    known = TEXTS.languages["en"].texts
    whole, begun = used()
    missing = {key for key in whole if key not in known and f"{key}.other" not in known}
    missing |= {start for start in begun if not any(key.startswith(start) for key in known)}
    assert missing == set()


def test_every_text_is_used() -> None:
    whole, begun = used()
    # A module may also choose between two of them before it asks for one.
    sources = "".join(module.read_text("utf-8") for module in MODULES)
    whole |= set(re.findall(r'"([a-z_]+(?:\.\w+)+)"', sources))
    idle = {
        key
        for key in own("en")
        if PLURAL.sub("", key) not in whole
        and key not in whole
        and not key.startswith(("format.", "language", *begun))
    }
    assert idle == set()


class Words(HTMLParser):
    """Collects what a reader would see or hear that stands in the template itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._silent += tag in {"script", "style", "pre"}
        for name, value in attributes:
            if name in {"title", "alt", "placeholder", "aria-label"} and value:
                self.handle_data(value)

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in {"script", "style", "pre"}

    def handle_data(self, data: str) -> None:
        if not self._silent and re.search(r"[^\W\d_]{2,}", data):
            self.found.append(data.strip())


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_no_template_speaks_for_itself(page: Path) -> None:
    source = page.read_text("utf-8")
    source = re.sub(r"\{% block main_class %\}.*?\{% endblock %\}", "", source)
    bare = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", source, flags=re.DOTALL)
    words = Words()
    words.feed(bare)
    allowed = {"– Knownface", "ms"}  # a name, and a unit that is the same everywhere
    assert [word for word in words.found if word not in allowed] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_module_speaks_for_itself(module: Path) -> None:
    said = re.findall(
        r"""(?:textContent|ariaLabel|placeholder|title) = ["'`][^"'`]*[a-z]{3}""",
        module.read_text("utf-8"),
    )
    assert said == []


def every(kind: type[KnownfaceError]) -> set[type[KnownfaceError]]:
    return {kind}.union(*map(every, kind.__subclasses__()))


REFUSALS = sorted(every(InvalidRequest) | every(NotSignedIn) | every(NotFound), key=str)
OF_PROGRAMS = {"MissingApiKey", "MissingParameter", "MissingPart"}  # no page makes such a request


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.__name__)
def test_each_refusal_has_words_in_each_language(kind: type[KnownfaceError]) -> None:
    numbered = f"script.code.{kind.code}"
    keys = {f"{numbered}_{kind.status}", numbered, f"script.status.{kind.status}"}
    keys.add(f"reason.code_{kind.code}")
    for code in CODES:
        assert keys & own(code).keys() or kind.__name__ in OF_PROGRAMS


@pytest.mark.parametrize(
    ("chosen", "accepted", "code"),
    [
        (None, "", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "fr, en;q=0.2, de;q=0.7", "de"),
        (None, "de;q=0, en", "en"),
        (None, "xx;q=abc,,;", "en"),
        ("en", "de", "en"),
        ("nonsense", "de", "de"),
    ],
)
def test_a_visitor_gets_his_language(chosen: str | None, accepted: str, code: str) -> None:
    assert TEXTS.choose(chosen, accepted).code == code


def test_numbers_and_sizes_are_written_as_the_language_does() -> None:
    german, english = TEXTS.languages["de"], TEXTS.languages["en"]
    assert german.number(1234567) == "1.234.567"
    assert english.number(1234.56, 1) == "1,234.6"
    assert german.size(1_540_000) == "1,5 MB"
    assert english.size(999) == "999 bytes"
    assert english.size(81_234_567_890) == "81 GB"


def test_a_text_has_a_form_for_one() -> None:
    english = TEXTS.languages["en"]
    assert english.text("count.services", n=1) == "1 service"
    assert english.text("count.services", n=2000) == "2,000 services"
