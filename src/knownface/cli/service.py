"""`knownface service`: services and their API keys, with or without a running server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from knownface.cli import output
from knownface.cli.administering import (
    NOBODY,
    STORE,
    administration,
    opened_accounts,
    typed_name,
    yes,
)
from knownface.cli.administering import as_json as _as_json
from knownface.cli.administering import own_key as _own_key
from knownface.cli.administering import service_named as _named
from knownface.cli.collection import examples, subjects
from knownface.cli.keys import keys
from knownface.cli.run import with_settings
from knownface.cli.services import clone, rename, show_, statistics
from knownface.settings import Settings
from knownface.types import Service, ServiceType, Threshold

MODEL = ("models_dir", "embedder")  # whose table of false match rates is asked
SAVE_IMAGES = {"yes": True, "no": False, "server": None}


def _with_threshold(command: Callable[..., None]) -> Callable[..., None]:
    similarity = click.option(
        "--similarity-threshold",
        type=click.FloatRange(0, 1),
        help="Similarity that a subject has to reach; below it a face is unknown.",
    )
    rate = click.option(
        "--max-fmr",
        type=click.FloatRange(0, 1, min_open=True),
        help="The same as a false match rate, such as 1e-4, by the table of the model.",
    )
    return similarity(rate(command))


_save_images = click.option(
    "--save-images",
    type=click.Choice(list(SAVE_IMAGES)),
    help="Whether photographs are kept; server: as its setting says.",
)


@click.group(short_help="Create, change and delete services, renew their API keys.")
def service() -> None:
    """Create, list, change and delete services, and renew their API keys.

    A service is what an API key opens: a face collection (recognition), or the right to detect or
    to verify. Works while a server runs on the same data folder, and takes effect at once.
    """


@service.command()
@click.option(
    "--type",
    "kind",
    required=True,
    type=click.Choice([kind.value for kind in ServiceType]),
    help="What the key is for.",
)
@_named
@_own_key
@_with_threshold
@_save_images
@_as_json
@with_settings(*STORE, *MODEL)
def create(
    settings: Settings,
    kind: str,
    name: str,
    application: str,
    key: str | None,
    similarity_threshold: float | None,
    max_fmr: float | None,
    save_images: str | None,
    as_json: bool,
) -> None:
    """Create a service and print its key, once: only its digest is kept.

    \b
    Examples:
      knownface service create --type recognition --name door
      knownface service create --type recognition --name gate --max-fmr 1e-4
      knownface service create --type detection --name cam --application home --json
    """
    threshold = _threshold(settings, similarity_threshold, max_fmr)
    with opened_accounts(settings) as accounts:
        made, key = accounts.create_service(
            application, name, ServiceType(kind), key, threshold=threshold
        )
        if save_images:
            accounts.set_save_images(application, name, SAVE_IMAGES[save_images])
    _print_key(made, key, as_json)


@service.command(name="list")
@_as_json
@with_settings(*STORE)
def list_(settings: Settings, as_json: bool) -> None:
    """List all services, without their keys, which nobody can read any more."""
    with opened_accounts(settings) as accounts:
        services = accounts.services()
    if services or as_json:
        _print(services, as_json)
    else:
        click.echo("There is no service yet: `knownface serve` creates one of each type.")


@service.command()
@_named
@_with_threshold
@click.option("--no-threshold", is_flag=True, help="Always name the most similar subject again.")
@_save_images
@_as_json
@with_settings(*STORE, *MODEL)
def update(
    settings: Settings,
    name: str,
    application: str,
    similarity_threshold: float | None,
    max_fmr: float | None,
    no_threshold: bool,
    save_images: str | None,
    as_json: bool,
) -> None:
    """Change from when on a recognition service takes a face for a subject's, or what it keeps.

    \b
    Examples:
      knownface service update --name door --save-images no
      knownface service update --name door --similarity-threshold 0.8
      knownface service update --name door --max-fmr 1e-4
      knownface service update --name door --no-threshold
    """
    given = sum((similarity_threshold is not None, max_fmr is not None, no_threshold))
    if given > 1 or not (given or save_images):
        raise click.UsageError(
            "Give one of --similarity-threshold, --max-fmr and --no-threshold, or --save-images."
        )
    with opened_accounts(settings) as accounts:
        changed = accounts.service(application, name)
        if given:
            threshold = _threshold(settings, similarity_threshold, max_fmr, changed.embedder)
            changed = accounts.set_threshold(application, name, threshold)
        if save_images:
            changed = accounts.set_save_images(application, name, SAVE_IMAGES[save_images])
    if as_json:
        output.json(_document(changed))
    else:
        _print([changed], as_json)


@service.command()
@_named
@yes
@_as_json
@with_settings(*STORE)
def delete(settings: Settings, name: str, application: str, yes: bool, as_json: bool) -> None:
    """Erase a service with all its subjects, faces and photographs; its keys open nothing more.

    Unless --yes is given, its name has to be typed once more.
    """
    with administration(settings) as admin:
        info = admin.service_named(NOBODY, application, name)
        found = info.service
        typed = found.name
        if not yes:
            typed = typed_name(
                f"This erases the {found.type.value} service {found.name} of {found.application} "
                f"with {info.subjects} subjects and {info.examples} examples."
            )
        admin.delete_service(NOBODY, info.id, typed)
    if as_json:
        output.json({"application": found.application, "deleted": found.name})
    else:
        click.echo(f"Deleted {found.name} of {found.application}.")


@service.command(name="rotate-key")
@_named
@_own_key
@_as_json
@with_settings(*STORE)
def rotate_key(
    settings: Settings, name: str, application: str, key: str | None, as_json: bool
) -> None:
    """Give a service a new key and print it, once; the old key opens nothing from now on."""
    with opened_accounts(settings) as accounts:
        key = accounts.rotate_key(application, name, key)
        found = accounts.service(application, name)
    _print_key(found, key, as_json)


for command in (show_, rename, clone, keys, subjects, examples, statistics):
    service.add_command(command)


def _threshold(
    settings: Settings,
    similarity: float | None,
    max_fmr: float | None,
    embedder: str | None = None,
) -> Threshold | None:
    """Return the threshold asked for, which the embedder has to know the meaning of."""
    if similarity is None and max_fmr is None:
        return None
    try:
        threshold = Threshold(similarity, max_fmr)
    except ValueError as error:  # both of them, or not a number
        raise click.UsageError(f"--similarity-threshold, --max-fmr: {error}.") from None
    if threshold.max_fmr is not None:
        from knownface.vision.catalog import Catalog

        catalog = Catalog.load(settings.models_dir)
        chosen = catalog.pick(embedder or settings.embedder, "embedder")
        chosen.similarity_at(threshold.max_fmr)
    return threshold


def _print(services: Sequence[Service], as_json: bool) -> None:
    if as_json:
        output.json([_document(one) for one in services])
        return
    rows = [
        (
            *(one.application, one.name, one.type.value, _shown(one.threshold)),
            one.embedder or "of the server",
        )
        for one in services
    ]
    output.table(("application", "service", "type", "threshold", "embedder"), rows)


def _document(service: Service) -> dict[str, object]:
    threshold = service.threshold
    return {
        "application": service.application,
        "name": service.name,
        "type": service.type.value,
        "similarity_threshold": threshold and threshold.similarity,
        "max_fmr": threshold and threshold.max_fmr,
        "embedder": service.embedder,
        "save_images": service.save_images,
    }


def _shown(threshold: Threshold | None) -> str:
    if threshold is None:
        return "-"
    if threshold.max_fmr is not None:
        return f"false match rate {threshold.max_fmr:g}"
    return f"similarity {threshold.similarity:g}"


def _print_key(service: Service, key: str, as_json: bool) -> None:
    shown = {
        "application": service.application,
        "name": service.name,
        "type": service.type.value,
        "api_key": key,
    }
    if as_json:
        output.json(shown)
    else:
        output.table(("application", "service", "type", "API key"), [list(shown.values())])
        click.echo("The key is shown only now.")
