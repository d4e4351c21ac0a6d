"""What was sent: pictures in a form or in JSON, each with the parameters of its request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request

from knownface.api.bodies import JSON, MULTIPART, Form, base64_fields, decode_base64, media_kind
from knownface.api.deps import Turn
from knownface.api.parameters import Parameters
from knownface.errors import InvalidRequest, MissingPart, PayloadTooLarge, UnsupportedMediaType

# The text parts that some call reads; whatever else a form holds is passed over.
_TEXTS: Final = frozenset(
    {
        "det_prob_threshold",
        "detect_faces",
        "face_plugins",
        "limit",
        "prediction_count",
        "status",
        "subject",
    }
)


@dataclass(frozen=True, slots=True)
class Submission:
    """Pictures that came with a request, and its parameters."""

    parameters: Parameters
    _pictures: Mapping[str, bytes | str]
    _max_file_size: int

    def picture(self, name: str) -> bytes:
        """Return a picture's bytes; base64 is read only now, in the caller's worker thread."""
        picture = self._pictures[name]
        return (
            picture if isinstance(picture, bytes) else decode_base64(picture, self._max_file_size)
        )


def _pictures(*names: str) -> Callable[..., Awaitable[Submission]]:
    """Return a dependency that reads pictures of these names from a form or a JSON body.

    It raises UnsupportedMediaType, MissingPart or EmptyField for one that was not sent,
    PayloadTooLarge, and InvalidRequest for a body that is not what its content type says.
    """

    async def read(request: Request) -> Submission:
        turn = Turn.of(request)
        content_type = request.headers.get("content-type", "")
        query: bytes = request.scope["query_string"]
        limit = turn.app.settings.max_file_size
        kind = media_kind(content_type)
        if kind == JSON:
            document = await turn.json()
            return Submission(Parameters(query), base64_fields(document, names), limit)
        if kind != MULTIPART:
            raise UnsupportedMediaType(
                "Send pictures as multipart/form-data, or as base64 in application/json"
            )
        form = Form(content_type, limit)
        async for chunk in request.stream():
            form.write(chunk)
        form.finish()
        return Submission(Parameters(query, form.texts), _files(form, names), limit)

    return read


@dataclass(frozen=True, slots=True)
class Batch:
    """Many pictures of one request, each with the name of its subject, and its parameters."""

    parameters: Parameters
    subjects: Sequence[str]
    _pictures: Sequence[bytes | PayloadTooLarge]

    def __len__(self) -> int:
        return len(self.subjects)

    def picture(self, place: int) -> bytes:
        """Return a picture's bytes (PayloadTooLarge)."""
        picture = self._pictures[place]
        if isinstance(picture, PayloadTooLarge):
            raise picture
        return picture


async def _batch(request: Request) -> Batch:
    """Read every file of a form, and the subjects: one for all of them, or one for each.

    Raises what the reader of one picture does, and MissingParameter without a subject.
    """
    content_type = request.headers.get("content-type", "")
    if media_kind(content_type) != MULTIPART:
        raise UnsupportedMediaType("Send pictures as multipart/form-data")
    form = Form(content_type, Turn.of(request).app.settings.max_file_size, many="file")
    async for chunk in request.stream():
        form.write(chunk)
    form.finish()
    _refuse_unusable(form)
    if not form.batch:
        raise MissingPart("file")
    parameters = Parameters(request.scope["query_string"], form.texts)
    parameters.required("subject")
    subjects = parameters.all("subject")
    if len(subjects) == 1:
        subjects *= len(form.batch)
    if len(subjects) != len(form.batch):
        raise InvalidRequest(
            f"There are {len(subjects)} subjects for {len(form.batch)} pictures: send one for all "
            "of them, or one for each, in their order"
        )
    return Batch(parameters, subjects, form.batch)


def _files(form: Form, names: Sequence[str]) -> dict[str, bytes]:
    for name in names:
        if name not in form.files:
            raise MissingPart(name)
    _refuse_unusable(form)
    return {name: form.files[name] for name in names}


def _refuse_unusable(form: Form) -> None:
    for name in sorted(_TEXTS.intersection(form.unusable)):
        raise InvalidRequest(f"Part {name} is too long or not UTF-8")


ManyPictures = Annotated[Batch, Depends(_batch)]
OnePicture = Annotated[Submission, Depends(_pictures("file"))]
TwoPictures = Annotated[Submission, Depends(_pictures("source_image", "target_image"))]
