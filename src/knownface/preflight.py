"""What is refused before the program runs: settings that cannot be meant as they are.

They name what there is not, lack another setting, or do not suit what the database holds.
"""

from __future__ import annotations

from shlex import quote

from knownface.errors import ConfigurationError
from knownface.index import BACKENDS
from knownface.settings import Settings
from knownface.store import Store
from knownface.vision.catalog import Catalog
from knownface.vision.runtimes import openvino_installed


def chosen_models(settings: Settings, catalog: Catalog) -> dict[str, str]:
    """Return the models that the settings mean by a name, which may be that of a pack.

    Raises ConfigurationError that names the setting where it names no model for its task.
    """
    found = {}
    for task, name in (("detector", settings.detector), ("embedder", settings.embedder)):
        try:
            found[task] = catalog.pick(name, task).name
        except ConfigurationError as error:
            raise ConfigurationError(f"KNOWNFACE_{task.upper()}: {error.message}") from None
    return found


def refuse_unusable(settings: Settings) -> None:
    """Raise ConfigurationError for a setting that cannot do without another, or names nothing."""
    _check_index(settings)
    _check_runtime(settings)
    _check_people(settings)


def embedder_refusal(store: Store, usual: str, settings: Settings) -> str | None:
    """Say why a server must not start with this embedder, None when it may.

    Services that chose none of their own would compare what cannot be compared.
    """
    with store.snapshot() as tx:
        stored = {s: tx.model(s.id) for s in tx.services() if s.embedder is None}
    strange = {s: model for s, model in stored.items() if model not in (None, usual)}
    if not strange:
        return None
    names = ", ".join(f"{s.name} ({s.application})" for s in strange)
    models = sorted({str(model) for model in strange.values()})
    first = next(iter(strange))
    return (
        f"KNOWNFACE_EMBEDDER is {usual}, but these services hold embeddings of "
        f"{', '.join(models)}, which cannot be compared with its own: {names}. Start with "
        f"KNOWNFACE_EMBEDDER={models[0]}, or change each of them first, be it now or while the "
        f"server runs with {models[0]}: knownface reembed {quote(first.name)} "
        f"--application {quote(first.application)} --model {usual}{_places(settings)}"
    )


def _places(settings: Settings) -> str:
    """Return the flags that lead another command to the same data and models."""
    said = settings.model_fields_set
    flags = [("data", settings.data), ("models_dir", settings.models_dir)]
    return "".join(
        f" --{name.replace('_', '-')} {quote(str(value))}" for name, value in flags if name in said
    )


def _check_index(settings: Settings) -> None:
    if settings.index not in BACKENDS:
        known = ", ".join(sorted(BACKENDS))
        raise ConfigurationError(f"KNOWNFACE_INDEX is {settings.index!r}; there are: {known}.")


def _check_runtime(settings: Settings) -> None:
    if settings.runtime == "openvino" and not openvino_installed():
        raise ConfigurationError(
            "KNOWNFACE_RUNTIME is openvino, which is not installed here: install the package "
            "openvino, or set it to auto."
        )


def _check_people(settings: Settings) -> None:
    """Raise ConfigurationError for a setting about people that needs another one."""
    needs = {
        "smtp_url": ("public_url", "mail_from"),
        "oidc_issuer": ("public_url", "oidc_client_id"),
        "bootstrap_owner_email": ("bootstrap_owner_password",),
        "bootstrap_owner_password": ("bootstrap_owner_email",),
    }
    for name, others in needs.items():
        missing = [other for other in others if not getattr(settings, other)]
        if getattr(settings, name) and missing:
            named = " and ".join(f"KNOWNFACE_{other.upper()}" for other in missing)
            raise ConfigurationError(f"KNOWNFACE_{name.upper()} is set: set {named}, too.")
