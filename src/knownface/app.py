"""The whole program in one object: `build` wires it once and hands every part what it needs.

Nothing here is global, so one process may hold as many Apps as it likes.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from knownface import memory
from knownface.accounts import Accounts
from knownface.administration import Administration
from knownface.collections_by_service import Collections
from knownface.copying import Copier
from knownface.errors import ConfigurationError, KnownfaceError
from knownface.identity import Desk
from knownface.imaging import Decoder, ImageLimits
from knownface.keeping import Keeper, catch_up, follow_erasures, kept_indexes
from knownface.known_faces import KnownFaces
from knownface.preflight import chosen_models, embedder_refusal, refuse_unusable
from knownface.provisioning import Provision, provide
from knownface.provisioning import check as check_provision
from knownface.readiness import Examiner, Readiness
from knownface.recognition import Recognition
from knownface.reembedding import Reembedder
from knownface.settings import Settings
from knownface.status import Status
from knownface.store import Store
from knownface.types import Service, ServiceType
from knownface.usage import FLUSH_SECONDS, UsageCounter
from knownface.vision.catalog import Catalog, Found
from knownface.vision.install import Progress, ensure, silent
from knownface.vision.optional import OptionalModels
from knownface.vision.pipeline import Pipeline
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Load, Network
from knownface.vision.threads import FILE, Tuner

log = logging.getLogger(__name__)

_KEEP_SECONDS: Final = 60.0


class App:
    """The parts of one running program; made by `build`, ready after `start`."""

    def __init__(
        self,
        settings: Settings,
        *,
        catalog: Catalog,
        scheduler: Scheduler,
        pipeline: Pipeline,
        store: Store,
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.scheduler = scheduler
        self.pipeline = pipeline
        self.store = store
        self.decoder = Decoder(ImageLimits(settings.max_file_size, settings.max_image_pixels))
        self.usage = UsageCounter(store)
        self.accounts = Accounts(store, on_use=self.usage.key_used)
        self.desk = open_desk(store, settings)
        self.signer = self.desk.signer
        self.identity = self.desk.identity
        self.users = self.desk.users
        self.tokens = self.desk.tokens
        self.invitations = self.desk.invitations
        self.collections = Collections(
            store,
            pipeline.embedder,
            backend=settings.index,
            kept=kept_indexes(store, settings.data),
            memory=settings.index_memory,
        )
        self.keeper = Keeper(self._keep, _KEEP_SECONDS)
        self.counting = Keeper(self.usage.flush, FLUSH_SECONDS, "counting requests")
        self.copier = Copier(store)
        self.status = Status(
            store,
            pipeline,
            self.collections,
            data=settings.data,
            cores=cores(),
            readiness=self._ready,
        )
        self.administration = Administration(
            store, self.usage, status=self.status, similarity_at=self._similarity_at
        )
        self.recognition = Recognition(
            pipeline,
            self.collections,
            store,
            self.decoder,
            save_images=settings.save_images_to_db,
        )
        self.known_faces = KnownFaces(store, self.collections)
        self.reembedder = Reembedder(
            store,
            self.recognition,
            self.collections,
            threads=max(1, (settings.slots or cores()) // 2),
        )
        required = {network.name for network in pipeline.required}
        self._optional = OptionalModels(
            catalog, {name: n for name, n in pipeline.networks.items() if name not in required}
        )
        self.tuner = Tuner(
            pipeline.required,
            settings.data / FILE,
            asked=settings.threads,
            cores=max(1, cores() // settings.workers),
        )
        self._draining = False
        self._closed = False
        self._started = False
        self._starting = threading.Lock()
        self._examiner = Examiner(store, pipeline)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def draining(self) -> bool:
        """Whether new work should go elsewhere because this process is about to stop."""
        return self._draining

    def _similarity_at(self, embedder: str | None, max_fmr: float) -> float:
        return self.pipeline.embedder_named(embedder).similarity_at(max_fmr)

    def start(self, progress: Progress = silent, plugins: Collection[str] = ()) -> None:
        """Load every required model, after installing what is absent or damaged of them.

        The models of optional attributes are loaded by the first request that asks for one; those
        of `plugins` are required. `progress(stage, done, total)` hears of the installation. A
        second call does nothing. Raises ModelUnavailable, with a sentence that says what to run,
        when a required one cannot be had.
        """
        with self._starting:
            if self._started:
                return
            known = [self.pipeline.plugins[s] for s in plugins if s in self.pipeline.plugins]
            required = [network.name for network in self.pipeline.required]
            self._load([*required, *(name for p in known for name in p.models)], progress)
            self._started = True

    def rest(self) -> None:
        """Give back the memory that nothing needs while nobody asks anything."""
        for network in self.pipeline.networks.values():
            network.rest()
        memory.return_freed()
        memory.return_code()

    def refuse_another_embedder(self) -> None:
        """Raise ConfigurationError where a service would compare what cannot be compared.

        For a server: what never searches, or one service alone, has no need to ask.
        """
        if reason := embedder_refusal(self.store, self.pipeline.embedder.name, self.settings):
            raise ConfigurationError(reason)

    def provide(self) -> None:
        """Make the owner, application and services that the settings want from the start on."""
        provide(self.store, self.users, provision_of(self.settings))

    def start_reembedding(self, service: Service, embedder: str, progress: Progress) -> None:
        """Work on one service's change of embedder alone, with all there is: no server runs.

        Raises ModelUnavailable, with a sentence that says what to run, without the models for it.
        """
        self.pipeline.open_embedder(embedder)
        with self._starting:
            self._load([self.pipeline.detector.name, embedder], progress)
        self.reembedder.threads = self.settings.slots or cores()
        self.reembedder.polite = False
        self.reembedder.only = service.id
        self.reembedder.start()

    def fetch_optional(self) -> None:
        """Begin to install what is missing for optional attributes, keeping nobody waiting.

        Until it is there, answers lack these attributes. With `offline` nothing is fetched.
        """
        if not self.settings.offline:
            self._optional.fetch()

    def readiness(self) -> Readiness:
        """Look at the database and the models, running each required model unless one just ran."""
        limits = {
            "workers": self.settings.workers,
            "slots": self.settings.slots or cores(),
            "max_requests": self.settings.max_requests,
            "index_memory": self.settings.index_memory,
        }
        return self._examiner.look(limits, started=self._started, draining=self._draining)

    def begin_drain(self) -> None:
        """Report "not ready" from now on; requests are still served. Safe in a signal handler."""
        self._draining = True

    def close(self) -> None:
        """Let running work end, then release models and database; a second call does nothing."""
        self._draining = True
        with self._starting:
            if self._closed:
                return
            self._closed = True
            self.tuner.stop()
            self._optional.stop()
            self.reembedder.stop()
            self.copier.stop()
            self.keeper.stop()
            self.counting.stop()
            self.desk.close()
            self.scheduler.close(drain=True)
            for network in self.pipeline.networks.values():
                network.unload()
            try:
                self.collections.keep()
            except KnownfaceError as error:
                log.warning("indexes are not kept: %s", error.message)
            self.collections.close()
            try:
                self.usage.flush()
            except KnownfaceError as error:
                log.warning("the last requests are not counted: %s", error.message)
            self.store.close()

    def _ready(self) -> tuple[bool, Mapping[str, str]]:
        now = self.readiness()
        return now.ready, now.checks

    def _keep(self) -> None:
        """Follow what other processes deleted, and keep what has changed."""
        catch_up(self.store, kept_indexes(self.store, self.settings.data))
        self.collections.keep()

    def _load(self, required: Sequence[str], progress: Progress) -> None:
        """Find or fetch each file, then load all at once: one reads while another computes."""
        found = ensure(self.catalog, required, offline=self.settings.offline, progress=progress)
        with ThreadPoolExecutor(len(found), thread_name_prefix="load") as pool:
            loads = [pool.submit(self._load_one, row) for row in found]
            self._optional.find()
        for load in loads:
            load.result()

    def _load_one(self, found: Found) -> None:
        network = self.pipeline.networks[found.spec.name]
        network.path = found.path
        network.load()


def build(settings: Settings) -> App:
    """Wire the whole program, its database migrated but its models not yet loaded.

    Raises ConfigurationError, in one line, when a setting, the data folder or the database is
    not usable.
    """
    with ExitStack() as undo:
        store = open_store(settings)
        undo.callback(store.close)
        catalog = Catalog.load(settings.models_dir)
        settings = settings.model_copy(update=chosen_models(settings, catalog))
        refuse_unusable(settings)
        check_provision(provision_of(settings))
        slots = settings.slots or cores()
        scheduler = Scheduler(slots)
        undo.callback(scheduler.close)
        load = Load()
        pipeline = Pipeline(
            catalog,
            scheduler,
            detector=settings.detector,
            embedder=settings.embedder,
            max_detect_size=settings.max_detect_size,
            det_prob_threshold=settings.det_prob_threshold,
            open_network=lambda spec: Network(
                spec,
                catalog.target(spec),
                runtime=settings.runtime,
                streams=slots,
                load=load,
            ),
            models=settings.plugin_models,
        )
        app = App(settings, catalog=catalog, scheduler=scheduler, pipeline=pipeline, store=store)
        undo.pop_all()  # from here on they are closed with the App
    return app


def provision_of(settings: Settings) -> Provision:
    """Return what the settings want to be there from the first start on."""
    keys = {
        ServiceType.RECOGNITION: settings.bootstrap_recognition_key,
        ServiceType.DETECTION: settings.bootstrap_detection_key,
        ServiceType.VERIFICATION: settings.bootstrap_verification_key,
    }
    return Provision(
        settings.bootstrap_application,
        settings.bootstrap_owner_email,
        settings.bootstrap_owner_password,
        {kind: key for kind, key in keys.items() if key},
    )


def open_desk(store: Store, settings: Settings) -> Desk:
    """Open what deals with people, as the settings want it."""
    return Desk(
        store,
        registration=settings.registration,
        public_url=settings.public_url,
        smtp_url=settings.smtp_url,
        mail_from=settings.mail_from,
    )


def open_store(settings: Settings) -> Store:
    """Open the database alone, migrated; the data folder is made for the owner's eyes only."""
    prepare_data(settings)
    store = Store.open(settings.database_url)
    follow_erasures(store, kept_indexes(store, settings.data))
    return store


def prepare_data(settings: Settings) -> None:
    """Make the data folder, for its owner alone; ConfigurationError when it cannot be made."""
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot use the data folder {settings.data}: {error.strerror}. "
            "Choose another with --data or KNOWNFACE_DATA."
        ) from None


def cores() -> int:
    """Return how many processors this process may keep busy, a container's quota included."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        allowed = min(allowed or 1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no container, or one without a quota ("max")
    return max(1, allowed or 1)
