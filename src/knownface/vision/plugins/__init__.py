"""Plugins: what a client may ask of each face, by slug.

A plugin is one small class with a factory registered under the entry point group
`knownface.plugins`; the built-in ones come through the same door. It holds no state of a request
and may be called from many threads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Final, Protocol, TypeVar, runtime_checkable

from knownface.errors import ConfigurationError
from knownface.types import F32, Face, Image
from knownface.vision.catalog import Catalog, ModelSpec

GROUP: Final = "knownface.plugins"

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What a plugin may know when it is made: the models there are, and the embedder in use.

    `models` are the models that the settings choose for plugins, by slug.
    """

    catalog: Catalog
    embedder: ModelSpec
    models: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def model(self, slug: str, default: str, families: Collection[str]) -> ModelSpec:
        """Return the model that is chosen for a plugin, which can read these families.

        ConfigurationError names the setting, and the models that would fit.
        """
        chosen = self.models.get(slug, default)
        try:
            return self.catalog.pick(chosen, "attribute", families)
        except ConfigurationError as error:
            setting = f"KNOWNFACE_{slug.upper()}_MODEL"
            raise ConfigurationError(f"{setting}: {error.message}") from None


class Run(Protocol):
    """The models, as a plugin reaches them while one picture is described."""

    def __call__(self, model: str, items: Sequence[F32]) -> list[tuple[F32, ...]]:
        """Run a model on items without a batch axis; results have none either."""
        ...

    def once(
        self, name: str, faces: Sequence[Face], compute: Callable[[Sequence[Face]], Sequence[Value]]
    ) -> list[Value]:
        """Return `compute`'s value for each face, asking it only for those it was never asked for.

        So plugins that need the same of a face, and call it by the same `name`, share the work.
        """
        ...


@runtime_checkable
class Plugin(Protocol):
    """One attribute of faces.

    `slug` is the word in `face_plugins`, `field` the name in the answer, `version` the word in
    `plugins_versions`. A plugin that is not `timed` costs nothing and shows in neither report.
    `models` are the names of the networks it runs. Where two plugins fill one field, the one that
    runs a network has the last word.
    """

    slug: str
    field: str
    version: str
    timed: bool
    models: tuple[str, ...]

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:
        """Return one JSON-ready value for each face; None where there is nothing to say.

        What it raises is held against the one face that it concerns: it is called again for each.
        """
        ...


def load_plugin(slug: str, context: PluginContext) -> Plugin:
    """Return another instance of an installed plugin, in a context of its own."""
    return load_plugins(context)[slug]


def load_plugins(context: PluginContext) -> Mapping[str, Plugin]:
    """Return every installed plugin by its slug; two of one slug stop the start."""
    plugins: dict[str, Plugin] = {}
    for point in entry_points(group=GROUP):
        plugin = point.load()(context)
        if not isinstance(plugin, Plugin):
            raise ConfigurationError(f"{point.value} is registered as a plugin but is none.")
        if plugin.slug in plugins:
            raise ConfigurationError(f"Two plugins call themselves {plugin.slug!r}.")
        plugins[plugin.slug] = plugin
    return plugins
