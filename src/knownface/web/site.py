"""What every page is made with: templates, texts and static files, read once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from knownface import __version__
from knownface.web.assets import Assets
from knownface.web.texts import Language, Texts

# Scripts and styles come from us alone; pictures also from what a script has at hand.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
    # What is behind a login must not come out of a cache, the browser's own included.
    "cache-control": "no-store",
    "vary": "Cookie, Accept-Language",
}


@dataclass(frozen=True, slots=True)
class Site:
    """The parts that pages are made of; one for each server."""

    templates: Environment
    texts: Texts
    assets: Assets

    @classmethod
    def load(cls) -> Self:
        """Read everything that pages are made of."""
        assets = Assets.load()
        templates = Environment(
            loader=PackageLoader("knownface.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        templates.globals |= {"static": assets.address, "version": __version__}
        return cls(templates, Texts.load(), assets)

    def render(self, template: str, language: Language, **context: object) -> str:
        """Return a page as HTML in this language; every text is escaped."""
        return self.templates.get_template(template).render(
            t=language.text,
            language=language,
            languages=self.texts.languages.values(),
            script_texts=lambda *words: _json(language.among(["script", "format", *words])),
            **context,
        )


def _json(texts: dict[str, str]) -> Markup:
    """Return texts as JSON that cannot end the element it stands in."""
    return Markup(json.dumps(texts, ensure_ascii=False).replace("<", "\\u003c"))  # noqa: S704 - no "<" is left
