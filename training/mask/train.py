"""Train the mask network on what gather.py and draw.py made, and write it as ONNX.

    python training/mask/train.py FOLDER MODEL.onnx
    python training/mask/train.py FOLDER --cross-validate

The network sees 80 x 80 pixels, RGB, 0..255, that show 1.2 times the face's box, and answers the
probabilities of without_mask, with_mask and mask_weared_incorrect. Its first seven blocks are those
of SFace, the server's own network for embeddings, and stay as they are; the eighth starts from
SFace's, and is trained with a small head behind it.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from sface import blocks
from torch import Tensor, nn
from torch.nn import functional

from knownface.vision.catalog import Catalog

SIZE, REACH, PATCH_REACH = 80, 1.2, 2.0
VIEW = REACH / PATCH_REACH
# The blocks of SFace that are kept as they are, and those that the network has.
KEPT, BLOCKS = 7, 8
# How often each real face is seen changed, beside the straight and the mirrored view.
CHANGED, STRENGTH = 4, 0.6
STEPS, BATCH, MIXED = 700, 64, 0.4
RATES = (2e-3, 4e-3)  # of the block, of the head
# The share of each group in what the network sees: classes about even, real incorrect masks often.
SHARES = {
    "none kaggle": 0.12,
    "none chandrika": 0.15,
    "none drawn": 0.05,
    "worn kaggle": 0.24,
    "worn chandrika": 0.12,
    "worn drawn": 0.06,
    "incorrect real": 0.12,
    "incorrect drawn": 0.16,
}
# Chosen by cross-validation (0 to 1.2 were tried): evens the recalls without giving up much else.
BIAS = (0.0, 0.0, 0.9)
NAMES = ("none", "worn", "incorrect")
# Random numbers between two for each picture, in a shape of its own behind the first axis.
Uniform = Callable[..., Tensor]


class Rest(nn.Module):
    """What is trained: the last block and the head, from its features to three logits."""

    def __init__(self, block: nn.Sequential, width: int = 64) -> None:
        super().__init__()
        self.block = block
        self.body = nn.Sequential(
            nn.Conv2d(512, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(width * 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.block(x)).float()
        # The mean says what prevails, the maximum finds a nose.
        return self.head(self.drop(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)))


class Whole(nn.Module):
    """What is exported: SFace's blocks, and what was trained from several seeds behind them."""

    def __init__(self, kept: nn.Module, rests: Sequence[nn.Module]) -> None:
        super().__init__()
        self.kept, self.rests = kept, nn.ModuleList(rests)
        self.register_buffer("bias", torch.tensor(BIAS))

    def forward(self, rgb: Tensor) -> Tensor:
        features = self.kept(normalised(rgb))
        logits = torch.stack([rest(features) for rest in self.rests]).mean(0)
        return torch.softmax(logits + self.bias, 1)


def normalised(rgb: Tensor) -> Tensor:
    """Return what SFace's first block expects."""
    return (rgb - 127.5) / 128


@dataclass(slots=True)
class Views:
    """Features of views, float16 [N, 512, 10, 10], with label, group of SHARES and fold.

    The first views are the faces as the server shows them, `true` their labels as published.
    """

    features: Tensor
    label: NDArray[np.int64]
    group: NDArray[np.str_]
    fold: NDArray[np.int64]
    true: NDArray[np.int64]
    kaggle: NDArray[np.bool_]

    def weights(self, fold: int | None) -> NDArray[np.float64]:
        """Return how likely each view is taken; those of one fold can be left out."""
        weights = np.zeros(len(self.label))
        for group, share in SHARES.items():
            chosen = (self.group == group) & (self.fold != fold)
            weights[chosen] = share / max(1, chosen.sum())
        return weights / weights.sum()


def load(folder: Path, kept: nn.Module, seed: int) -> Views:
    """Look at all faces but those for validation, and at the drawn ones."""
    random = torch.Generator().manual_seed(seed)
    with np.load(folder / "faces.npz") as faces:
        ours = faces["fold"] >= 0
        true, label, fold = faces["label"][ours], faces["taught"][ours], faces["fold"][ours]
        kaggle = np.char.startswith(faces["source"][ours], "kaggle")
        judged, labelled = faces["judged"][ours], faces["labelled"][ours]
    seen = [features(kept, judged, middle), features(kept, judged, lambda p: middle(p).flip(3))]
    for turn in range(CHANGED):
        patches = judged if turn % 2 else labelled
        seen.append(features(kept, patches, lambda p: varied(p, random, STRENGTH)))
    with np.load(folder / "drawn.npz") as drawn:
        seen.append(features(kept, drawn["patch"], lambda p: varied(p, random, STRENGTH)))
        drawn_label, drawn_fold = drawn["label"], drawn["fold"]
    times = CHANGED + 2
    real = np.array([grouped(k, bool(s)) for k, s in zip(label, kaggle, strict=True)])
    return Views(
        torch.cat(seen),
        np.concatenate([*[label] * times, drawn_label]).astype(np.int64),
        np.concatenate([*[real] * times, [f"{NAMES[k]} drawn" for k in drawn_label]]),
        np.concatenate([*[fold] * times, drawn_fold]),
        true,
        kaggle,
    )


def grouped(label: int, kaggle: bool) -> str:
    """Return the group of a real face; one that is left out of the training has none."""
    if label < 0:
        return ""
    source = "real" if label == 2 else "kaggle" if kaggle else "chandrika"
    return f"{NAMES[label]} {source}"


def features(
    kept: nn.Module, patches: NDArray[np.uint8], look: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return what SFace's blocks make of a view of each patch, float16 [N, 512, 10, 10]."""
    results = []
    for part in torch.from_numpy(patches).split(64):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            results.append(kept(normalised(channels(look(part)))).half())
    return torch.cat(results)


def channels(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def middle(patches: Tensor) -> Tensor:
    """Return what the server would show the network, float32 [N, 3, 80, 80]."""
    x = patches.permute(0, 3, 1, 2).float()
    view = torch.eye(2, 3)[None].repeat(len(x), 1, 1) * VIEW
    grid = functional.affine_grid(view, [len(x), 3, SIZE, SIZE], align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False, padding_mode="border")


def varied(patches: Tensor, random: torch.Generator, strength: float) -> Tensor:
    """Return the patches as other cameras, boxes and lights might have shown them.

    At a strength of 1 they are changed a lot, at 0 not at all.
    """
    x, count = patches.permute(0, 3, 1, 2).float(), len(patches)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=random) * (high - low) + low

    def normal(spread: float) -> Tensor:
        return torch.randn(count, generator=random) * spread

    scale = VIEW * (1 + strength * uniform(-0.16, 0.2))
    angle = normal(0.14 * strength)
    flip = torch.where(uniform(0, 1) < 0.5, 1.0, -1.0)
    stretch = 1 + normal(0.05 * strength)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = (
        torch.stack([cos * flip * stretch, -sin, normal(0.045 * strength)], 1),
        torch.stack([sin * flip, cos / stretch, normal(0.045 * strength)], 1),
    )
    grid = functional.affine_grid(torch.stack(rows, 1), [count, 3, SIZE, SIZE], align_corners=False)
    # Now and then the picture ends near the face, as tight crops do, and its edge is repeated.
    near = uniform(0, 1, 4) < 0.12 * strength
    ends = torch.where(near, uniform(0.5, 0.68, 4), torch.ones(count, 4))
    grid = torch.maximum(grid, -ends[:, None, None, :2])
    grid = torch.minimum(grid, ends[:, None, None, 2:])
    x = functional.grid_sample(x, grid, align_corners=False, padding_mode="border")
    x = small(x, random, strength)
    x = lit(x, uniform, random, strength)
    return erased(x, uniform, strength).clamp(0, 255)


def small(x: Tensor, random: torch.Generator, strength: float) -> Tensor:
    """Shrink up to half of the pictures and enlarge them again: most faces in crowds are tiny."""
    for chosen in torch.randperm(len(x), generator=random)[: int(len(x) * strength / 2)].chunk(4):
        side = int(torch.randint(15, 48, (1,), generator=random))
        tiny = functional.interpolate(x[chosen], size=(side, side), mode="area")
        x[chosen] = functional.interpolate(tiny, size=(SIZE, SIZE), mode="bilinear")
    return x


def lit(x: Tensor, uniform: Uniform, random: torch.Generator, strength: float) -> Tensor:
    """Change contrast, brightness, colour and noise, and take the colour from some."""
    contrast = 1 + strength * uniform(-0.4, 0.4, 1, 1, 1)
    x = (x - 127) * contrast + 127 + strength * uniform(-42, 42, 1, 1, 1)
    x = x * (1 + strength * uniform(-0.14, 0.14, 3, 1, 1))
    grey = (uniform(0, 1, 1, 1, 1) < 0.12 * strength).float()
    x = x * (1 - grey) + grey * x.mean(1, keepdim=True)
    noise = torch.randn(x.shape, generator=random)
    return x + noise * uniform(0, 1, 1, 1, 1) ** 2 * 14 * strength


def erased(x: Tensor, uniform: Uniform, strength: float) -> Tensor:
    """Hide a rectangle of some pictures, but seldom what decides."""
    along = torch.arange(SIZE)
    centre, half = uniform(0, SIZE, 2), uniform(2, 9, 2)
    chosen = uniform(0, 1) < 0.2 * strength
    rows = (along[None] - centre[:, :1]).abs() < half[:, :1]
    columns = (along[None] - centre[:, 1:]).abs() < half[:, 1:]
    hole = rows[:, :, None] & columns[:, None] & chosen[:, None, None]
    return torch.where(hole[:, None], uniform(0, 255, 3, 1, 1), x)


def train(views: Views, block: nn.Sequential, seed: int, without: int | None = None) -> Rest:
    """Return the moving average of what was trained; one fold can be left out."""
    torch.manual_seed(seed)
    rest = Rest(copy.deepcopy(block)).to(memory_format=torch.channels_last)
    mean, choice = copy.deepcopy(rest).eval(), np.random.default_rng(seed)
    fresh = [*rest.body.parameters(), *rest.head.parameters()]
    optimiser = torch.optim.AdamW(
        [
            {"params": rest.block.parameters(), "lr": RATES[0], "weight_decay": 0.01},
            {"params": fresh, "lr": RATES[1], "weight_decay": 0.05},
        ]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, list(RATES), total_steps=STEPS, pct_start=0.2
    )
    weights, started = views.weights(without), time.time()
    for step in range(STEPS):
        chosen = torch.from_numpy(choice.choice(len(weights), BATCH, p=weights))
        x, label = views.features[chosen].bfloat16(), torch.from_numpy(views.label[chosen])
        y = functional.one_hot(label, 3).float()
        if choice.random() < MIXED:
            share = float(choice.beta(0.3, 0.3))
            x, y = x * share + x.flip(0) * (1 - share), y * share + y.flip(0) * (1 - share)
        with torch.autocast("cpu", torch.bfloat16):
            logits = rest(channels(x))
        loss = functional.cross_entropy(logits.float(), y, label_smoothing=0.04)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(rest.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        follow(mean, rest, min(0.98, (1 + step) / (10 + step)))
        if step % 100 == 99:
            took = time.time() - started
            print(f"step {step + 1}, loss {loss.item():.3f}, {took:.0f} s", flush=True)
    return mean


def follow(mean: nn.Module, net: nn.Module, keep: float) -> None:
    """Move the averaged network a little towards the trained one."""
    with torch.no_grad():
        for old, new in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - keep)
            else:
                old.copy_(new)


def answers(rest: nn.Module, some: Tensor) -> Tensor:
    """Return the logits of views, float32 [N, 3]."""
    with torch.no_grad():
        return torch.cat([rest(channels(part.float())) for part in some.split(64)])


def cross_validate(views: Views, block: nn.Sequential, seeds: Sequence[int]) -> NDArray[np.float64]:
    """Return and count what networks say of faces whose fold they were not trained on."""
    count = len(views.true)
    found = np.zeros((count, 3))
    for fold in sorted(set(views.fold)):
        ours = np.flatnonzero(views.fold[:count] == fold)
        rests = [train(views, block, seed, int(fold)) for seed in seeds]
        logits = torch.stack([answers(rest, views.features[ours]) for rest in rests]).mean(0)
        found[ours] = torch.softmax(logits + torch.tensor(BIAS), 1).numpy()
    table("all", found, views.true)
    table("kaggle", found[views.kaggle], views.true[views.kaggle])
    kept = views.label[:count] >= 0
    table("all, corrected labels", found[kept], views.label[:count][kept])
    return found


def table(name: str, found: NDArray[np.float64], true: NDArray[np.int64]) -> None:
    """Print accuracy, balanced accuracy, mask or none, log loss, and who was taken for what."""
    said = found.argmax(1)
    counts = [[int(((true == a) & (said == b)).sum()) for b in range(3)] for a in range(3)]
    recalls = [row[k] / sum(row) for k, row in enumerate(counts)]
    loss = -np.log(np.maximum(found[np.arange(len(true)), true], 1e-6)).mean()
    print(
        f"{name}: {np.mean(said == true):.2%} right, {np.mean(recalls):.2%} balanced,"
        f" {np.mean((said > 0) == (true > 0)):.2%} mask or none, log loss {loss:.3f}, {counts}"
    )


def export(kept: nn.Module, rests: Sequence[nn.Module], path: Path) -> None:
    """Write the ONNX file; its weights take 16 bits, and are computed with in 32."""
    torch.onnx.export(
        Whole(kept, rests).eval(),
        (torch.zeros(1, 3, SIZE, SIZE),),
        str(path),
        input_names=["rgb"],
        output_names=["probability"],
        dynamic_axes={"rgb": {0: "n"}, "probability": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )
    model = onnx.load(path)
    halve(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def halve(graph: onnx.GraphProto, least: int = 64) -> None:
    """Store the large constants of a graph as float16, each with a node that widens it."""
    for constant in list(graph.initializer):
        values = onnx.numpy_helper.to_array(constant)
        if values.dtype != np.float32 or values.size < least:
            continue
        stored = onnx.numpy_helper.from_array(values.astype(np.float16), constant.name + "_16")
        widen = onnx.helper.make_node(
            "Cast", [stored.name], [constant.name], to=onnx.TensorProto.FLOAT
        )
        graph.initializer.remove(constant)
        graph.initializer.append(stored)
        graph.node.insert(0, widen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--cross-validate", action="store_true")
    parser.add_argument("--models", type=Path, default=Path("knownface-data/models"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    catalog = Catalog.load(arguments.models)
    weights = catalog.path(catalog.spec("sface"))
    if weights is None:
        parser.error("SFace is missing: run `knownface models install`")
    kept = blocks(weights, 1, KEPT).eval().to(memory_format=torch.channels_last)
    block = blocks(weights, KEPT + 1, BLOCKS)
    views = load(arguments.folder, kept, arguments.seeds[0])
    if arguments.cross_validate:
        found = cross_validate(views, block, arguments.seeds)
        np.save(arguments.folder / "cross-validated.npy", found)
    if arguments.model:
        rests = [train(views, block, seed) for seed in arguments.seeds]
        torch.save([rest.state_dict() for rest in rests], arguments.model.with_suffix(".pt"))
        export(kept, rests, arguments.model)


if __name__ == "__main__":
    main()
