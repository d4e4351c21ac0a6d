"""The mask plugin on the network that comes with the program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from knownface.types import F32, Box, Face, Image
from knownface.vision.catalog import PACKAGED, Catalog
from knownface.vision.plugins import PluginContext, Value
from knownface.vision.plugins.mask import VALUES, Mask
from knownface.vision.session import Network

POINTS = np.zeros((5, 2), np.float32)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return Catalog.load(tmp_path_factory.mktemp("no-models"), bundle="a_package_that_is_not_there")


@pytest.fixture(scope="module")
def network(catalog: Catalog) -> Iterator[Network]:
    spec = catalog.spec("mask")
    network = Network(spec, catalog.path(spec))
    network.load()
    yield network
    network.unload()


@pytest.fixture
def plugin(catalog: Catalog) -> Mask:
    return Mask(PluginContext(catalog, catalog.spec("sface")))


class Runs:
    """What the pipeline hands to plugins, on one network without a queue."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def __call__(self, model: str, items: Sequence[F32]) -> list[tuple[F32, ...]]:
        assert model == self._network.name
        outputs = [self._network.run(item[None]) for item in items]
        return [tuple(output[0] for output in one) for one in outputs]

    def once(
        self, name: str, faces: Sequence[Face], compute: Callable[[Sequence[Face]], Sequence[Value]]
    ) -> list[Value]:
        raise AssertionError("nobody shares this plugin's work", name, faces, compute)


def scene() -> Image:
    """Paint a picture of noise that changes slowly, so that every place looks different."""
    coarse = np.random.default_rng(3).integers(0, 255, (12, 16, 3), np.uint8)
    return Image(np.ascontiguousarray(coarse.repeat(40, 0).repeat(40, 1)))


def face(left: float, top: float, side: float) -> Face:
    return Face(Box(left, top, left + side, top + side, 0.9), landmarks=POINTS)


def test_the_network_comes_with_the_program(catalog: Catalog) -> None:
    spec = catalog.spec("mask")

    assert catalog.path(spec) == PACKAGED / spec.file
    assert (PACKAGED / spec.file).stat().st_size < 2_000_000


def test_each_face_gets_one_of_the_three_values(plugin: Mask, network: Network) -> None:
    faces = [face(20, 30, 60), face(200, 100, 150), face(500, 350, 24)]

    answers = plugin(scene(), faces, Runs(network))

    assert len(answers) == 3
    for answer in answers:
        assert isinstance(answer, dict)
        assert set(answer) == {"probability", "value"}
        assert answer["value"] in VALUES
        assert 1 / 3 <= answer["probability"] <= 1


def test_the_probabilities_of_the_three_values_sum_to_one(plugin: Mask, network: Network) -> None:
    (output,) = network.run(plugin.prepare(scene(), face(20, 30, 60).box)[None])

    assert output.shape == (1, 3)
    assert output.sum() == pytest.approx(1, abs=1e-5)


def test_a_face_is_judged_alike_alone_and_among_others(plugin: Mask, network: Network) -> None:
    faces = [face(20, 30, 60), face(200, 100, 150), face(500, 350, 24)]

    together = plugin(scene(), faces, Runs(network))
    alone = [plugin(scene(), [one], Runs(network))[0] for one in faces]

    assert together == alone


def test_a_picture_that_was_never_searched_for_faces_has_no_mask(
    plugin: Mask, network: Network
) -> None:
    whole = Face(Box(0, 0, 640, 480, 1.0))

    assert plugin(scene(), [whole, face(20, 30, 60)], Runs(network))[0] is None
    assert plugin(scene(), [], Runs(network)) == []


def test_the_crop_shows_a_little_more_than_the_box(plugin: Mask) -> None:
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[41:159, 41:159] = (200, 100, 50)  # 1.2 times the box, less a pixel on each side

    crop = plugin.prepare(Image(pixels), Box(50, 60, 150, 140, 0.9))

    assert crop.shape == (3, 80, 80)
    assert crop.dtype == np.float32
    np.testing.assert_array_equal(crop[:, 40, 40], (200, 100, 50))
    np.testing.assert_array_equal(crop[:, 1:-1, 1:-1], crop[:, 40:41, 40:41] * np.ones((78, 78)))
    assert (crop[:, 0] < crop[:, 40]).all()


def test_the_network_file_is_the_documented_one(catalog: Catalog) -> None:
    card = Path(__file__).parent.parent / "docs" / "models" / "mask.md"

    assert f"`{catalog.spec('mask').sha256}`" in card.read_text("utf-8")
