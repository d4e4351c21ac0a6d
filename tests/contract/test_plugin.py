"""What every installed plugin promises, whoever wrote it: one body, run for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points

import numpy as np
import orjson
import pytest

import tiny_insightface
from knownface.types import F32, Face, Image
from knownface.vision.catalog import Catalog
from knownface.vision.pipeline import Pipeline
from knownface.vision.plugins import GROUP, Plugin, Value
from knownface.vision.scheduler import Scheduler
from pipelines import pipeline_of
from tiny_models import DETECTOR, EMBEDDER, Mark, picture, write_models

SLUGS = sorted(point.name for point in entry_points(group=GROUP))
# Two rows of four, the largest first, each another identity.
EIGHT = tuple(Mark(i + 1, 16 + 152 * (i % 4), 16 + 168 * (i // 4), 144 - 8 * i) for i in range(8))


class Models:
    """Reaches the models as a pipeline does, and shares nothing."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def __call__(self, model: str, items: Sequence[F32]) -> list[tuple[F32, ...]]:
        return self._scheduler.run(model, items)

    def once(
        self, name: str, faces: Sequence[Face], compute: Callable[[Sequence[Face]], Sequence[Value]]
    ) -> list[Value]:
        del name
        return list(compute(faces))


@pytest.fixture(scope="module", params=["usual", "insightface"])
def pipeline(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """Open a pipeline on the models of either kind, as far as a plugin has the choice."""
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    detector, embedder, models = DETECTOR, EMBEDDER, dict[str, str]()
    if request.param == "insightface":
        tiny_insightface.write_pack(folder)
        detector = embedder = "insight"
        models = dict.fromkeys(("age", "gender", "landmarks2d106", "mask"), "insight")
    with pipeline_of(Catalog.load(folder), detector, embedder, models=models) as opened:
        opened.on_failure = _unexpected
        yield opened


def _unexpected(slug: str, faces: int) -> None:
    raise AssertionError(f"{slug} failed on {faces} faces")


@pytest.fixture(params=SLUGS)
def plugin(request: pytest.FixtureRequest, pipeline: Pipeline) -> Plugin:
    return pipeline.plugins[request.param]


@pytest.fixture(scope="module")
def image() -> Image:
    return Image(picture(EIGHT, 640, 360))


@pytest.fixture(scope="module")
def faces(pipeline: Pipeline, image: Image) -> list[Face]:
    found = pipeline.detect(image)
    assert len(found) == len(EIGHT)
    return found


def said(pipeline: Pipeline, plugin: Plugin, image: Image, faces: Sequence[Face]) -> list[bytes]:
    """Return what an answer would hold of each face, as JSON."""
    described = pipeline.describe(image, faces, (plugin.slug,))
    return [_json(face.attributes[plugin.slug]) for face in described]


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def test_it_says_what_it_is_called(plugin: Plugin, pipeline: Pipeline) -> None:
    assert plugin.slug.islower()
    assert plugin.field.isidentifier()
    assert plugin.version
    assert set(plugin.models) <= set(pipeline.networks)


def test_without_faces_it_has_nothing_to_say(
    plugin: Plugin, pipeline: Pipeline, image: Image
) -> None:
    assert list(plugin(image, [], Models(pipeline.scheduler))) == []
    assert pipeline.describe(image, [], (plugin.slug,)) == []


@pytest.mark.parametrize("count", [1, 8])
def test_it_says_something_of_every_face_that_json_can_hold(
    plugin: Plugin, pipeline: Pipeline, image: Image, faces: list[Face], count: int
) -> None:
    values = said(pipeline, plugin, image, faces[:count])
    assert len(values) == count
    assert all(orjson.loads(value) is not None for value in values)


def test_a_face_gets_the_same_alone_and_in_company(
    plugin: Plugin, pipeline: Pipeline, image: Image, faces: list[Face]
) -> None:
    together = said(pipeline, plugin, image, faces)
    alone = [said(pipeline, plugin, image, [face])[0] for face in faces]
    assert together == alone
    assert len(set(together)) > 1, "the test cannot tell one face's value from another's"


def test_the_order_of_the_faces_does_not_matter(
    plugin: Plugin, pipeline: Pipeline, image: Image, faces: list[Face]
) -> None:
    backwards = said(pipeline, plugin, image, faces[::-1])
    assert backwards[::-1] == said(pipeline, plugin, image, faces)


def test_the_other_plugins_change_nothing(
    plugin: Plugin, pipeline: Pipeline, image: Image, faces: list[Face]
) -> None:
    alone = said(pipeline, plugin, image, faces)
    for slugs in (SLUGS, SLUGS[::-1]):
        described = pipeline.describe(image, faces, slugs)
        assert [_json(face.attributes[plugin.slug]) for face in described] == alone


def test_many_threads_may_call_it_at_once(
    plugin: Plugin, pipeline: Pipeline, image: Image, faces: list[Face]
) -> None:
    expected = said(pipeline, plugin, image, faces)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(said, pipeline, plugin, image, faces) for _ in range(16)]
    assert all(call.result() == expected for call in calls)


def test_a_whole_picture_without_landmarks_is_no_failure(
    plugin: Plugin, pipeline: Pipeline
) -> None:
    crop = Image(Mark(5, side=112).pixels)
    (face,) = pipeline.analyze(crop, plugins=(plugin.slug,), detect=False)
    assert set(face.attributes) <= {plugin.slug}


def test_it_leaves_the_picture_as_it_is(
    plugin: Plugin, pipeline: Pipeline, image: Image, faces: list[Face]
) -> None:
    before = image.pixels.copy()
    said(pipeline, plugin, image, faces)
    assert np.array_equal(image.pixels, before)


def test_its_time_is_told_exactly_when_it_is_timed(
    plugin: Plugin, pipeline: Pipeline, image: Image, faces: list[Face]
) -> None:
    described = pipeline.describe(image, faces, (plugin.slug,))
    assert all((plugin.slug in face.ms) == plugin.timed for face in described)
    assert (plugin.slug in pipeline.versions((plugin.slug,))) == plugin.timed
