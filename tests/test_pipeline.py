"""The pipeline: pictures in, faces out, on small real networks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import tiny_attributes
from knownface.errors import ConfigurationError, DeadlineExceeded
from knownface.types import Face, Image
from knownface.vision.catalog import Catalog
from knownface.vision.pipeline import CALCULATOR, Pipeline
from knownface.vision.plugins import PluginContext, Run, load_plugins
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Network
from pipelines import tiny_pipeline
from tiny_models import DETECTOR, EMBEDDER, Mark, picture, write_model, write_models

OpenPipeline = Callable[[Catalog], Pipeline]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return Catalog.load(folder)


@pytest.fixture
def pipelines() -> Iterator[OpenPipeline]:
    with ExitStack() as opened:
        yield lambda catalog: opened.enter_context(tiny_pipeline(catalog))


@pytest.fixture
def pipeline(catalog: Catalog, pipelines: OpenPipeline) -> Pipeline:
    return pipelines(catalog)


def image(*marks: Mark, width: int = 640, height: int = 480) -> Image:
    return Image(picture(marks, width, height))


def edges(face: Face) -> list[float]:
    return [face.box.x_min, face.box.y_min, face.box.x_max, face.box.y_max]


THREE = (Mark(1, 16, 16, 64), Mark(2, 150, 40, 160), Mark(3, 400, 100, 96))


def test_faces_come_largest_first(pipeline: Pipeline) -> None:
    faces = pipeline.analyze(image(*THREE))

    expected = [THREE[1], THREE[2], THREE[0]]
    assert len(faces) == 3
    for face, mark in zip(faces, expected, strict=True):
        np.testing.assert_allclose(edges(face), mark.box, atol=4)


def test_boxes_and_landmarks_are_in_pixels_of_the_original_picture(pipeline: Pipeline) -> None:
    mark = Mark(1, 600, 320, 480)

    (face,) = pipeline.analyze(image(mark, width=1920, height=1280))

    np.testing.assert_allclose(edges(face), mark.box, atol=12)
    assert face.landmarks is not None
    np.testing.assert_allclose(face.landmarks, mark.landmarks, atol=12)


def reduced(*marks: Mark, whole: Callable[[], Image]) -> Image:
    """A picture of 2560 x 1920 of which every second pixel was read."""
    pixels = np.ascontiguousarray(image(*marks, width=2560, height=1920).pixels[::2, ::2])
    return Image(pixels, (2560, 1920), whole)


def test_a_large_face_is_described_with_the_pixels_that_were_read(pipeline: Pipeline) -> None:
    mark = Mark(1, 600, 320, 640)

    (face,) = pipeline.analyze(reduced(mark, whole=unwanted), plugins=("calculator",))

    (whole,) = pipeline.analyze(image(mark, width=2560, height=1920), plugins=("calculator",))
    np.testing.assert_allclose(edges(face), mark.box, atol=16)
    assert face.landmarks is not None
    np.testing.assert_allclose(face.landmarks, mark.landmarks, atol=16)
    assert face.embedding is not None
    assert whole.embedding is not None
    assert face.embedding.vector @ whole.embedding.vector > 0.95


def test_a_small_face_is_described_with_all_pixels_of_the_picture(pipeline: Pipeline) -> None:
    marks = Mark(1, 600, 320, 640), Mark(2, 1600, 320, 256)
    whole = image(*marks, width=2560, height=1920)
    small = reduced(*marks, whole=lambda: whole)

    found = pipeline.analyze(small, plugins=("calculator",))

    expected = pipeline.describe(whole, pipeline.detect(small), ("calculator",))
    for face, other in zip(found, expected, strict=True):
        assert face.embedding is not None
        assert other.embedding is not None
        assert np.array_equal(face.embedding.vector, other.embedding.vector)


def test_faces_that_nobody_asks_about_need_no_more_pixels(pipeline: Pipeline) -> None:
    marks = Mark(1, 600, 320, 640), Mark(2, 1600, 320, 256)
    assert len(pipeline.analyze(reduced(*marks, whole=unwanted))) == 2
    assert (
        len(pipeline.analyze(reduced(*marks, whole=unwanted), plugins=(CALCULATOR,), limit=1)) == 1
    )


def test_pictures_are_read_with_twice_what_the_detector_looks_at(pipeline: Pipeline) -> None:
    assert pipeline.least_pixels == 1280


def unwanted() -> Image:
    raise AssertionError("the picture was read once more")


def test_a_box_never_leaves_the_picture(pipeline: Pipeline) -> None:
    (face,) = pipeline.analyze(image(Mark(1, -24, 200, 128)))

    assert face.box.x_min == 0
    assert face.box.x_max > 90


def test_the_limit_keeps_the_largest_and_spares_the_others_the_embedder(
    pipeline: Pipeline,
) -> None:
    runs: list[str] = []
    pipeline.scheduler.on_run = lambda name, *_: runs.append(name)

    faces = pipeline.analyze(image(*THREE), plugins=("calculator",), limit=1)

    assert len(faces) == 1
    np.testing.assert_allclose(edges(faces[0]), THREE[1].box, atol=4)
    assert sorted(runs) == [DETECTOR, EMBEDDER]


def test_a_face_has_the_same_embedding_wherever_and_however_large_it_is(
    pipeline: Pipeline,
) -> None:
    small = pipeline.analyze(image(Mark(7, 32, 32, 96)), plugins=("calculator",))[0]
    large = pipeline.analyze(image(Mark(7, 200, 100, 320)), plugins=("calculator",))[0]
    other = pipeline.analyze(image(Mark(8, 32, 32, 96)), plugins=("calculator",))[0]

    assert small.embedding
    assert large.embedding
    assert other.embedding
    assert float(small.embedding.vector @ large.embedding.vector) > 0.95
    assert abs(float(small.embedding.vector @ other.embedding.vector)) < 0.2
    assert np.linalg.norm(small.embedding.vector) == pytest.approx(1, abs=1e-6)
    assert small.embedding.model == EMBEDDER


def test_several_faces_keep_their_own_embeddings(pipeline: Pipeline) -> None:
    alone = [pipeline.analyze(image(mark), plugins=("calculator",))[0].embedding for mark in THREE]
    together = pipeline.analyze(image(*THREE), plugins=("calculator",))

    for face, index in zip(together, (1, 2, 0), strict=True):
        expected = alone[index]
        assert expected
        assert face.embedding
        assert float(face.embedding.vector @ expected.vector) > 0.99


def test_only_what_is_more_probable_than_the_threshold_is_a_face(pipeline: Pipeline) -> None:
    faint = image(Mark(1, 100, 100, 128, confidence=0.7))

    (face,) = pipeline.analyze(faint, det_prob_threshold=0.5)
    assert 0.6 < face.box.probability < 0.8
    assert pipeline.analyze(faint) == []
    assert pipeline.analyze(faint, det_prob_threshold=face.box.probability) == []


def test_no_face_is_an_empty_answer(pipeline: Pipeline) -> None:
    assert pipeline.analyze(image(), plugins=("calculator", "landmarks")) == []


def test_without_detection_the_whole_picture_is_one_face(pipeline: Pipeline) -> None:
    crop = Image(Mark(5, side=112).pixels)
    (whole,) = pipeline.analyze(crop, plugins=("calculator", "landmarks"), detect=False)
    (found,) = pipeline.analyze(image(Mark(5, 64, 64, 112)), plugins=("calculator",))

    assert edges(whole) == [0, 0, 112, 112]
    assert whole.box.probability == 1
    assert "landmarks" not in whole.attributes
    assert whole.embedding
    assert found.embedding
    assert float(whole.embedding.vector @ found.embedding.vector) > 0.95


def test_landmarks_are_whole_pixels_inside_the_picture(pipeline: Pipeline) -> None:
    mark = Mark(1, 480, 352, 160)
    (face,) = pipeline.analyze(image(mark), plugins=("landmarks",))

    points = face.attributes["landmarks"]
    assert isinstance(points, list)
    assert all(isinstance(value, int) for point in points for value in point)
    np.testing.assert_allclose(points, mark.landmarks, atol=5)


def test_unknown_plugins_are_ignored(pipeline: Pipeline) -> None:
    (face,) = pipeline.analyze(image(THREE[1]), plugins=("undefined", "", "nosuch"))

    assert not face.attributes


def test_time_is_told_for_what_ran_and_for_nothing_else(pipeline: Pipeline) -> None:
    (plain,) = pipeline.analyze(image(THREE[1]), plugins=("landmarks",))
    (embedded,) = pipeline.analyze(image(THREE[1]), plugins=("calculator",))

    assert set(plain.ms) == {"detector"}
    assert set(embedded.ms) == {"detector", "calculator"}
    assert all(ms > 0 for ms in embedded.ms.values())


def test_versions_name_the_models_that_ran(pipeline: Pipeline) -> None:
    assert pipeline.versions(("landmarks", "calculator", "nosuch")) == {
        "detector": DETECTOR,
        "calculator": EMBEDDER,
    }


def test_a_deadline_in_the_past_gives_up(pipeline: Pipeline) -> None:
    with pytest.raises(DeadlineExceeded):
        pipeline.analyze(image(THREE[1]), deadline=time.monotonic() - 1)


def test_the_probe_runs_every_required_model(pipeline: Pipeline) -> None:
    runs: list[str] = []
    pipeline.scheduler.on_run = lambda name, *_: runs.append(name)

    pipeline.probe()

    assert set(runs) == {n.name for n in pipeline.required} == {DETECTOR, EMBEDDER}


class Brittle:
    """A plugin that fails on faces at the left of the picture, after asking for what others do."""

    slug = "brittle"
    field = "brittle"
    version = "1"
    timed = True
    models: tuple[str, ...] = ()

    def __init__(self, context: PluginContext) -> None:
        self.context = context

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:  # noqa: ARG002 - the plugin's signature
        return run.once("place", faces, _places)


def _places(faces: Sequence[Face]) -> list[int]:
    if any(face.box.x_min < 100 for face in faces):
        raise ValueError("too far to the left")
    return [int(face.box.x_min) for face in faces]


@pytest.fixture
def failures(pipeline: Pipeline, catalog: Catalog) -> list[tuple[str, int]]:
    """Add a brittle plugin and collect what is told of failures."""
    told: list[tuple[str, int]] = []
    pipeline.plugins = {
        **pipeline.plugins,
        "brittle": Brittle(PluginContext(catalog, pipeline.embedder)),
    }
    pipeline.on_failure = lambda slug, faces: told.append((slug, faces))
    return told


def test_a_failing_plugin_costs_its_attribute_and_nothing_else(
    pipeline: Pipeline, failures: list[tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        (face,) = pipeline.analyze(image(THREE[0]), plugins=("brittle", "landmarks"))

    assert set(face.attributes) == {"landmarks"}
    assert set(face.ms) == {"detector"}
    assert failures == [("brittle", 1)]
    assert [record.message for record in caplog.records] == ["plugin failed"]


def test_a_face_that_a_plugin_fails_on_costs_the_others_nothing(
    pipeline: Pipeline, failures: list[tuple[str, int]]
) -> None:
    faces = pipeline.analyze(image(*THREE), plugins=("brittle",))

    assert [face.attributes.get("brittle") for face in faces] == [150, 400, None]
    assert failures == [("brittle", 1)]


def test_a_plugin_with_too_few_values_has_failed(
    pipeline: Pipeline, catalog: Catalog, failures: list[tuple[str, int]]
) -> None:
    class Lazy(Brittle):
        def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:  # noqa: ARG002 - the plugin's signature
            return []

    lazy = Lazy(PluginContext(catalog, pipeline.embedder))
    pipeline.plugins = {**pipeline.plugins, "brittle": lazy}

    faces = pipeline.analyze(image(*THREE), plugins=("brittle", "landmarks"))

    assert [set(face.attributes) for face in faces] == [{"landmarks"}] * 3
    assert failures == [("brittle", 1)] * 3


def test_a_plugin_without_its_weights_costs_its_attribute_and_says_so_once(
    tmp_path: Path, pipelines: OpenPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    write_models(tmp_path)
    (tmp_path / "dlib-age" / "dlib-age.onnx").unlink()
    pipeline = pipelines(Catalog.load(tmp_path))
    told: list[tuple[str, int]] = []
    pipeline.on_failure = lambda slug, faces: told.append((slug, faces))
    pipeline.analyze(image(THREE[0]), plugins=("age",))
    told.clear()
    caplog.clear()

    faces = pipeline.analyze(image(*THREE), plugins=("age", "gender"))

    assert [set(face.attributes) for face in faces] == [{"gender"}] * 3
    assert told == [("age", 3)]
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("WARNING", "plugin has no model")
    ]
    write_model(tmp_path, "dlib-age", *tiny_attributes.models()["dlib-age"])
    pipeline.networks["dlib-age"].path = tmp_path / "dlib-age" / "dlib-age.onnx"
    (face,) = pipeline.analyze(image(THREE[0]), plugins=("age",))
    assert "age" in face.attributes


def test_a_request_that_is_too_late_is_not_answered_without_an_attribute(
    pipeline: Pipeline, failures: list[tuple[str, int]]
) -> None:
    faces = pipeline.detect(image(THREE[1]))

    with pytest.raises(DeadlineExceeded):
        pipeline.describe(image(THREE[1]), faces, ("age",), deadline=time.monotonic() - 1)
    assert failures == []


def test_plugins_that_need_the_same_network_run_it_once_a_face(pipeline: Pipeline) -> None:
    runs: list[str] = []
    pipeline.scheduler.on_run = lambda name, *_: runs.append(name)

    faces = pipeline.analyze(image(*THREE), plugins=("landmarks2d106", "pose"), limit=2)

    assert sorted(runs) == ["mesh", "mesh", DETECTOR]
    assert all(face.attributes.keys() == {"landmarks2d106", "pose"} for face in faces)
    assert all(face.ms["pose"] > 0 for face in faces)


def test_two_pictures_share_nothing(pipeline: Pipeline) -> None:
    here = {i: image(Mark(i, 100, 100, 160)) for i in (1, 2)}

    poses = [pipeline.analyze(here[i], plugins=("pose",))[0].attributes["pose"] for i in (1, 2)]

    assert poses[0] != poses[1]


def test_only_what_is_asked_for_is_run(pipeline: Pipeline) -> None:
    runs: list[str] = []
    pipeline.scheduler.on_run = lambda name, *_: runs.append(name)

    pipeline.analyze(image(*THREE), plugins=("landmarks", "gender"), limit=1)

    # Twice: the face and its mirror image.
    assert sorted(runs) == ["dlib-gender", "dlib-gender", DETECTOR]


def test_without_landmarks_there_is_an_age_and_no_pose(pipeline: Pipeline) -> None:
    crop = Image(Mark(5, side=112).pixels)
    asked = ("age", "gender", "pose", "landmarks", "landmarks2d106")

    (whole,) = pipeline.analyze(crop, plugins=asked, detect=False)

    assert set(whole.attributes) == {"age", "gender"}


def test_the_built_in_plugins_come_through_the_public_door(catalog: Catalog) -> None:
    plugins = load_plugins(PluginContext(catalog, catalog.spec(EMBEDDER)))

    assert {"landmarks", "calculator"} <= set(plugins)
    assert all(slug == plugin.slug for slug, plugin in plugins.items())


def test_an_embedder_cannot_be_used_as_a_detector(catalog: Catalog) -> None:
    scheduler = Scheduler(1)
    try:
        with pytest.raises(ConfigurationError, match="is no detector"):
            Pipeline(
                catalog,
                scheduler,
                detector=EMBEDDER,
                embedder=EMBEDDER,
                max_detect_size=640,
                det_prob_threshold=0.8,
                open_network=lambda spec: Network(spec, catalog.path(spec)),
            )
    finally:
        scheduler.close()


def test_a_plugin_from_another_package_is_loaded(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "smile-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: smile\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[knownface.plugins]\nsmile = smile_plugin:make\n")
    (tmp_path / "smile_plugin.py").write_text(
        "class Smile:\n"
        "    slug = field = 'smile'\n"
        "    version = '1.0'\n"
        "    timed = True\n"
        "    models = ()\n"
        "    def __call__(self, image, faces, run):\n"
        "        return [0.5 for _ in faces]\n"
        "def make(context):\n"
        "    return Smile()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    plugins = load_plugins(PluginContext(catalog, catalog.spec(EMBEDDER)))

    assert "smile" in plugins
