"""The JSON of answers and bodies as OpenAPI describes it; nothing is validated by these.

An attribute that was not asked for, or could not be found, is absent; it is never null.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

_RATE: Final = (
    "With `status=true`, where the model has been measured: the share of comparisons of two "
    "strangers that reach this similarity. Beyond what was measured it is an upper bound."
)


class Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Failure(Schema):
    message: str = Field(description="What is wrong and what to do about it, for people.")
    code: int = Field(description="CompreFace's number of the error, for programs.")


def failure(description: str) -> dict[str, Any]:
    """Describe an answer that is a Failure.

    As a `model`, FastAPI would make hundreds of validators of it, a tenth of all that a start does.
    """
    schema = {"$ref": f"#/components/schemas/{Failure.__name__}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


class Box(Schema):
    probability: float = Field(description="Probability that this is a face.")
    x_max: int
    y_max: int
    x_min: int
    y_min: int


class Age(Schema):
    """How old the face looks."""

    probability: float = Field(description="Of the range; the network tends to be too sure.")
    high: int
    low: int


class Labelled(Schema):
    probability: float
    value: str


class Pose(Schema):
    """Degrees; all three are small for a face that looks at the camera."""

    pitch: float = Field(description="Positive: the face looks up.")
    roll: float = Field(description="Positive: the head is turned counter-clockwise.")
    yaw: float = Field(description="Positive: the nose points to the left of the picture.")


class Face(Schema):
    """A face with what was asked of it; an installed plugin may add fields of its own."""

    model_config = ConfigDict(extra="allow")

    box: Box
    age: Age | None = Field(None, description="With the plugin `age`.")
    gender: Labelled | None = Field(None, description="With the plugin `gender`.")
    mask: Labelled | None = Field(None, description="With the plugin `mask`.")
    pose: Pose | None = Field(None, description="With the plugin `pose`.")
    embedding: list[float] | None = Field(None, description="With the plugin `calculator`.")
    landmarks: list[tuple[int, int]] | None = Field(
        None,
        description="With the plugin `landmarks`: both eyes, nose, both corners of the mouth. "
        "With `landmarks2d106`: 106 points instead, approximate.",
    )
    execution_time: dict[str, float] | None = Field(
        None, description="With `status=true`: milliseconds by plugin."
    )


class Match(Schema):
    subject: str
    similarity: float = Field(description="0 to 1; 0.5 parts same from different people.")
    false_match_rate: float | None = Field(None, description=_RATE)
    image_id: UUID | None = Field(
        None, description="With `image_id=true`: the subject's example that is most similar."
    )


class RecognizedFace(Face):
    subjects: list[Match] = Field(
        description="Best first, `prediction_count` of them at most; with a threshold only those "
        "that reach it: none means unknown."
    )


class ExampleComparedFace(Face):
    subject: str = Field(description="The subject of the example.")
    similarity: float
    false_match_rate: float | None = Field(None, description=_RATE)


class ComparedFace(Face):
    similarity: float
    false_match_rate: float | None = Field(None, description=_RATE)


class WithVersions(Schema):
    plugins_versions: dict[str, str] | None = Field(None, description="With `status=true`.")


class Recognition(WithVersions):
    result: list[RecognizedFace] = Field(description="Largest face first.")


class ExampleVerification(WithVersions):
    result: list[ExampleComparedFace] = Field(description="Largest face first.")


class Detection(WithVersions):
    result: list[Face] = Field(description="Largest face first.")


class VerificationPair(WithVersions):
    source_image_face: Face
    face_matches: list[ComparedFace] = Field(description="Largest face first.")


class Verification(Schema):
    result: list[VerificationPair] = Field(description="Always one element.")


class Embeddings(Schema):
    embeddings: list[list[float]]


class SourceAndTargets(Schema):
    source: list[float]
    targets: list[list[float]]


class RecognizedEmbedding(Schema):
    embedding: list[float] = Field(description="As it was sent.")
    similarities: list[Match] = Field(description="As `subjects` of a recognised face.")


class RecognizedEmbeddings(Schema):
    result: list[RecognizedEmbedding] = Field(description="In the order of the request.")


class VerifiedEmbedding(Schema):
    embedding: list[float] = Field(description="As it was sent.")
    similarity: float
    false_match_rate: float | None = Field(None, description=_RATE)


class VerifiedEmbeddings(Schema):
    result: list[VerifiedEmbedding] = Field(description="Most similar first.")


class SubjectName(Schema):
    subject: str = Field(description="1 to 255 characters; unique whatever the letter case.")


class SubjectNames(Schema):
    subjects: list[str]


class Updated(Schema):
    updated: bool = Field(description="False when the new name is the old one.")


class Deleted(Schema):
    deleted: int


class Example(Schema):
    image_id: UUID
    subject: str


class BatchExample(Example):
    duplicate: bool | None = Field(
        None, description="True when the subject had this very picture before; else absent."
    )


class BatchResult(Schema):
    result: list[BatchExample | Failure] = Field(
        description="One for each picture, in the order of the request."
    )


class ExamplePage(Schema):
    faces: list[Example]
    page_number: int
    page_size: int
    total_pages: int
    total_elements: int


class Health(Schema):
    status: str
    version: str


class Readiness(Schema):
    status: str
    checks: dict[str, str]
    models: dict[str, str]
    limits: dict[str, int]


class Config(Schema):
    clientMaxFileSize: int  # noqa: N815 - CompreFace's name
    clientMaxBodySize: int  # noqa: N815 - CompreFace's name


class Consistence(Schema):
    demoFaceCollectionIsInconsistent: bool  # noqa: N815 - CompreFace's name
    dbIsInconsistent: bool  # noqa: N815 - CompreFace's name
    saveImagesToDB: bool  # noqa: N815 - CompreFace's name
    status: str
