"""What measurements see pictures through: the pipeline alone, without a database."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from knownface.cli import output
from knownface.cli.pictures import LARGEST_FILE
from knownface.cli.run import STOPPED_BY_SETTINGS, Failure
from knownface.errors import ConfigurationError
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.evaluation.judging import Judge
    from knownface.vision.catalog import Catalog


@contextmanager
def open_judge(
    settings: Settings, progress: output.Progress, plugins: Collection[str] = ()
) -> Iterator[tuple[Judge, Catalog]]:
    """Open the pipeline of these settings, its models loaded and those of `plugins` too.

    Models are installed when they are missing, as a start of the server does.
    """
    from knownface.app import cores, prepare_data
    from knownface.evaluation.judging import Judge
    from knownface.imaging import Decoder, ImageLimits
    from knownface.vision.catalog import Catalog
    from knownface.vision.install import ensure
    from knownface.vision.pipeline import Pipeline
    from knownface.vision.scheduler import Scheduler
    from knownface.vision.session import Network

    if settings.models_dir.absolute().is_relative_to(settings.data.absolute()):
        prepare_data(settings)
    catalog = Catalog.load(settings.models_dir)
    _check(catalog, settings)
    workers = settings.slots or cores()
    scheduler = Scheduler(workers)
    try:
        pipeline = Pipeline(
            catalog,
            scheduler,
            detector=settings.detector,
            embedder=settings.embedder,
            max_detect_size=settings.max_detect_size,
            det_prob_threshold=settings.det_prob_threshold,
            # As many pictures at a time as there are cores, and so one thread for each.
            open_network=lambda spec: Network(
                spec, catalog.target(spec), threads=1, runtime=settings.runtime, streams=workers
            ),
            models=settings.plugin_models,
        )
        slugs = [pipeline.plugins[slug] for slug in plugins]
        names = dict.fromkeys(
            [*(n.name for n in pipeline.required), *(name for p in slugs for name in p.models)]
        )
        found = ensure(catalog, list(names), offline=settings.offline, progress=progress)
        for row in found:
            pipeline.networks[row.spec.name].path = row.path
        with ThreadPoolExecutor(len(found), thread_name_prefix="load") as pool:
            list(pool.map(lambda row: pipeline.networks[row.spec.name].load(), found))
        limits = ImageLimits(max(settings.max_file_size, LARGEST_FILE), settings.max_image_pixels)
        # One more, so that a picture is decoded while the others are looked at.
        yield Judge(pipeline, Decoder(limits), progress, workers + 1), catalog
    finally:
        scheduler.close()


def _check(catalog: Catalog, settings: Settings) -> None:
    """Fail in one line where a setting names no model, or one for another task."""
    for task, name in (("detector", settings.detector), ("embedder", settings.embedder)):
        try:
            catalog.pick(name, task)
        except ConfigurationError as error:
            raise Failure(f"--{task}: {error.message}", STOPPED_BY_SETTINGS) from None
