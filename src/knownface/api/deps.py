"""What handlers ask for: who calls, what was asked, and a thread to work in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Self, TypeVar
from urllib.parse import unquote
from uuid import UUID

import anyio
import anyio.to_thread
from fastapi import Depends, Path, Request, Security
from fastapi.security import APIKeyHeader
from starlette.responses import Response

from knownface.api.answers import json_answer
from knownface.api.bodies import JSON, media_kind, parse_json, uuid_of
from knownface.api.parameters import Parameters
from knownface.api.trail import ADMIN, Trail, local_path
from knownface.api.wire import Json, View
from knownface.app import App
from knownface.errors import (
    DeadlineExceeded,
    InvalidRequest,
    KnownfaceError,
    UnsupportedMediaType,
)
from knownface.recognition import Options
from knownface.types import Service, ServiceType

T = TypeVar("T")


class Pool:
    """The threads that the house's blocking code runs in, a bounded number of them."""

    def __init__(self, threads: int) -> None:
        self._limiter = anyio.CapacityLimiter(threads)
        # What one request of many pictures may take of them at one time.
        self.share = max(1, threads // 4)

    async def run(self, call: Callable[[], T], deadline: float) -> T:
        """Return what the call returns; DeadlineExceeded when no thread is free in time.

        A call that has begun is never given up: it looks at the deadline itself.
        """
        with anyio.move_on_after(deadline - time.monotonic()):
            return await anyio.to_thread.run_sync(call, limiter=self._limiter)
        raise DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Turn:
    """One request's access to the program."""

    app: App
    request: Request
    pool: Pool

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return what this request has; cheap enough to be asked for wherever it is needed."""
        state = request.app.state
        of_people = local_path(request.scope).startswith(ADMIN)
        return cls(state.app, request, state.desk if of_people else state.pool)

    @property
    def trail(self) -> Trail:
        return Trail.of(self.request.scope)

    @property
    def deadline(self) -> float:
        """When to give up, in seconds of `time.monotonic`; ask once the body has been read."""
        return self.trail.deadline

    @property
    def query(self) -> Parameters:
        return Parameters(self.request.scope["query_string"])

    async def use(self, call: Callable[[], T]) -> T:
        """Run blocking code in a thread of the bounded pool."""
        return await self.pool.run(call, self.deadline)

    async def use_with(self, service: Service, call: Callable[[Service], T]) -> T:
        """Run blocking code about a service in a thread of the bounded pool.

        It runs once more when the service's embedder changes meanwhile.
        """
        return await self.use(lambda: self.app.recognition.steadily(service, call))

    async def look(self, call: Callable[[], T]) -> T:
        """Run a look at the program's health in a thread of its own, however busy the pool is."""
        return await anyio.to_thread.run_sync(call)

    async def each(self, calls: Sequence[Callable[[], T]]) -> list[T | KnownfaceError]:
        """Run these in a share of the pool, and return what each returned or raised, in order."""
        done: dict[int, T | KnownfaceError] = {}
        share = anyio.CapacityLimiter(self.pool.share)

        async def run(place: int) -> None:
            async with share:
                try:
                    done[place] = await self.use(calls[place])
                except KnownfaceError as error:
                    done[place] = error

        async with anyio.create_task_group() as tasks:
            for place in range(len(calls)):
                tasks.start_soon(run, place)
        return [done[place] for place in range(len(calls))]

    async def json(self) -> object:
        """Return the JSON document in the body (UnsupportedMediaType, InvalidRequest)."""
        if media_kind(self.request.headers.get("content-type", "")) != JSON:
            raise UnsupportedMediaType("Send the body as application/json")
        # Not `Request.body`, which would keep megabytes of base64 for as long as the request lasts.
        chunks = [chunk async for chunk in self.request.stream()]
        return await self.use(lambda: parse_json(b"".join(chunks)))

    def answer_faces(self, document: Json, faces: int) -> Response:
        """Answer 200 and count these faces."""
        self.trail.faces = faces
        return json_answer(document)


async def _turn(request: Request) -> Turn:
    return Turn.of(request)


# Dependencies do not depend on each other: to solve one costs more than what most of them do.
TurnDep = Annotated[Turn, Depends(_turn)]


# Who calls


class _ServiceKey(APIKeyHeader):
    """The service of one type whose key a request brings."""

    def __init__(self, kind: ServiceType) -> None:
        super().__init__(
            name="x-api-key",
            scheme_name=APIKeyHeader.__name__,
            description="The API key of a service of the right type.",
        )
        self._kind = kind

    # An empty key is not a missing one, and both are our errors.
    async def __call__(self, request: Request) -> Service:  # type: ignore[override]  # FastAPI passes on whatever it returns
        turn = Turn.of(request)
        key = request.headers.get(self.model.name)
        accounts = turn.app.accounts
        found = accounts.authorize_at_once(key, self._kind)
        if found is None:
            found = await turn.use(lambda: accounts.authorize(key, self._kind))
        turn.trail.service = found.id
        return found


RecognitionService = Annotated[Service, Security(_ServiceKey(ServiceType.RECOGNITION))]
DetectionService = Annotated[Service, Security(_ServiceKey(ServiceType.DETECTION))]
VerificationService = Annotated[Service, Security(_ServiceKey(ServiceType.VERIFICATION))]


# What the path says


def decoded(segment: str) -> str:
    """Return a segment of the path as the text it stands for (InvalidRequest)."""
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest("The path is not UTF-8") from None


async def _subject(
    subject: Annotated[str, Path(description="The subject's name, percent-encoded.")],
) -> str:
    return decoded(subject)


async def _image_id(
    image_id: Annotated[
        str,
        Path(description="The id of an example.", json_schema_extra={"format": "uuid"}),
    ],
) -> UUID:
    return uuid_of(decoded(image_id), "image_id")


SubjectInPath = Annotated[str, Depends(_subject)]
ImageId = Annotated[UUID, Depends(_image_id)]


# What was asked


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks of a request about faces."""

    options: Options
    status: bool = False
    image_id: bool = False

    @classmethod
    def of(cls, parameters: Parameters, deadline: float) -> Asked:
        """Read the parameters that every call with a picture takes (InvalidRequest)."""
        options = Options(
            limit=parameters.integer("limit", 0, least=0),
            det_prob_threshold=parameters.probability("det_prob_threshold"),
            plugins=parameters.words("face_plugins"),
            deadline=deadline,
        )
        return cls(options, parameters.flag("status", default=False))

    @classmethod
    def of_recognition(cls, parameters: Parameters, deadline: float) -> Asked:
        """Read these and the ones that only recognition takes (InvalidRequest)."""
        asked = cls.of(parameters, deadline)._searching(parameters)
        if parameters.flag("detect_faces", default=True):
            return asked
        return replace(asked, options=replace(asked.options, detect_faces=False))

    @classmethod
    def of_embeddings(
        cls, parameters: Parameters, deadline: float, *, search: bool = False
    ) -> Asked:
        """Read the parameters of a call with embeddings, of a `search` among them or not."""
        asked = cls(Options(deadline=deadline), parameters.flag("status", default=False))
        return asked._searching(parameters) if search else asked

    def _searching(self, parameters: Parameters) -> Asked:
        options = replace(
            self.options,
            prediction_count=parameters.integer("prediction_count", 1, least=1),
            threshold=parameters.threshold(),
        )
        return replace(self, options=options, image_id=parameters.flag("image_id", default=False))

    def view(
        self, app: App, *, embedder: str | None = None, round_probability: bool = True
    ) -> View:
        """Return how the answer is to be shown."""
        return View(
            app.pipeline.plugins,
            self.options.plugins,
            self.status,
            round_probability,
            app.pipeline.embedder_named(embedder).false_matches,
            self.image_id,
        )

    def versions(
        self, app: App, *, embedder: str | None = None, calculator: bool = True
    ) -> dict[str, str] | None:
        """Return `plugins_versions`, None when they were not asked for."""
        if not self.status:
            return None
        return app.recognition.versions(
            self.options.plugins, calculator=calculator, embedder=embedder
        )
