"""Train the mask network on what gather.py and draw.py made, and write it as ONNX.

    python training/mask/train.py FOLDER MODEL.onnx

The network sees 64 x 64 pixels, RGB, 0..255, that show 1.35 times the face's box, and answers the
probabilities of without_mask, with_mask and mask_weared_incorrect. Two networks of one kind,
trained from different seeds, judge the picture and its mirror image; the graph answers their mean.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

SIZE, REACH, PATCH, PATCH_REACH = 64, 1.35, 112, 2.0
VIEW = REACH / PATCH_REACH
WIDTHS = (16, 32, 64, 96)
# The share of each group in what the network sees: classes about even, real incorrect masks often.
SHARES = {
    "none kaggle": 0.11,
    "none chandrika": 0.13,
    "none drawn": 0.09,
    "worn kaggle": 0.23,
    "worn chandrika": 0.10,
    "worn drawn": 0.06,
    "incorrect kaggle": 0.07,
    "incorrect drawn": 0.21,
}
# Random numbers between two for each picture, in a shape of its own behind the first axis.
Uniform = Callable[..., Tensor]
# Masks are worn wrongly less often than the network was shown; chosen on the selection part.
BIAS = (0.0, 0.0, -0.3)
NAMES = ("none", "worn", "incorrect")


class Block(nn.Module):
    """Two convolutions around a short cut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class MaskNet(nn.Module):
    """A small residual network: 64 x 64 x 3 to three logits."""

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        layers: list[nn.Module] = [convolution(3, widths[0], 2)]
        for inputs, outputs in pairwise(widths):
            layers += [convolution(inputs, outputs, 2), Block(outputs)]
        self.body = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(widths[-1] * 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body((x - 127.5) / 64)
        # The mean says what prevails, the maximum finds a nose.
        both = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return self.head(self.drop(both.float()))


class Mirrored(nn.Module):
    """What is exported: networks that judge a picture and its mirror image together."""

    def __init__(self, nets: Sequence[nn.Module], bias: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self.register_buffer("bias", torch.tensor(bias))

    def forward(self, rgb: Tensor) -> Tensor:
        logits = [net(x) for net in self.nets for x in (rgb, rgb.flip(3))]
        return torch.softmax(torch.stack(logits).mean(0) + self.bias, 1)


@dataclass(slots=True)
class Pictures:
    """Patches, uint8 [N, 112, 112, 3], with label, group of SHARES and where they come from."""

    patch: Tensor
    label: Tensor
    group: NDArray[np.str_]
    origin: NDArray[np.str_]

    def weights(self) -> NDArray[np.float64]:
        """Return the probability with which each picture is drawn."""
        weights = np.zeros(len(self.group))
        for group, share in SHARES.items():
            weights[self.group == group] = share / max(1, (self.group == group).sum())
        return weights / weights.sum()


def load(folder: Path, parts: Sequence[str], *, drawn: bool = True) -> Pictures:
    """Return the faces of some parts, each by the detector's box and by its label's."""
    with np.load(folder / "faces.npz") as faces:
        ours = np.isin(faces["part"], parts)
        label, origin = faces["label"][ours], faces["name"][ours]
        source = np.where(
            np.char.startswith(faces["source"][ours], "kaggle"), "kaggle", "chandrika"
        )
        patches = [shrunk(faces["judged"][ours])]
        if drawn:
            patches.append(shrunk(faces["labelled"][ours]))
    labels, origins = [label] * len(patches), [origin] * len(patches)
    groups = [[f"{NAMES[k]} {s}" for k, s in zip(label, source, strict=True)]] * len(patches)
    if drawn:
        with np.load(folder / "drawn.npz") as more:
            patches.append(more["patch"])
            labels.append(more["label"])
            groups.append([f"{NAMES[k]} drawn" for k in more["label"]])
            origins.append(np.char.add(more["kind"], np.char.add(" on ", more["base"])))
    return Pictures(
        torch.from_numpy(np.concatenate(patches)),
        torch.from_numpy(np.concatenate(labels)).long(),
        np.concatenate([np.asarray(g) for g in groups]),
        np.concatenate(origins),
    )


def shrunk(patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the patches at the size that is trained with, uint8 [N, 112, 112, 3]."""
    smaller = (
        functional.interpolate(part.permute(0, 3, 1, 2).float(), size=(PATCH, PATCH), mode="area")
        for part in torch.from_numpy(patches).split(256)
    )
    return torch.cat([x.round().byte().permute(0, 2, 3, 1) for x in smaller]).numpy()


def middle(patches: Tensor) -> Tensor:
    """Return what the server would show the network, float32 [N, 3, 64, 64]."""
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
    x = lit(x, uniform, strength)
    return erased(x, uniform, strength).clamp(0, 255)


def small(x: Tensor, random: torch.Generator, strength: float) -> Tensor:
    """Shrink up to half of the pictures and enlarge them again: most faces in crowds are tiny."""
    for chosen in torch.randperm(len(x), generator=random)[: int(len(x) * strength / 2)].chunk(4):
        side = int(torch.randint(15, 48, (1,), generator=random))
        tiny = functional.interpolate(x[chosen], size=(side, side), mode="area")
        x[chosen] = functional.interpolate(tiny, size=(SIZE, SIZE), mode="bilinear")
    return x


def lit(x: Tensor, uniform: Uniform, strength: float) -> Tensor:
    """Change contrast, brightness, colour and noise, and take the colour from some."""
    contrast = 1 + strength * uniform(-0.4, 0.4, 1, 1, 1)
    x = (x - 127) * contrast + 127 + strength * uniform(-42, 42, 1, 1, 1)
    x = x * (1 + strength * uniform(-0.14, 0.14, 3, 1, 1))
    grey = (uniform(0, 1, 1, 1, 1) < 0.12 * strength).float()
    x = x * (1 - grey) + grey * x.mean(1, keepdim=True)
    return x + torch.randn(x.shape) * uniform(0, 1, 1, 1, 1) ** 2 * 14 * strength


def erased(x: Tensor, uniform: Uniform, strength: float) -> Tensor:
    """Hide a rectangle of some pictures, but seldom what decides."""
    along = torch.arange(SIZE)
    centre, half = uniform(0, SIZE, 2), uniform(2, 9, 2)
    chosen = uniform(0, 1) < 0.2 * strength
    rows = (along[None] - centre[:, :1]).abs() < half[:, :1]
    columns = (along[None] - centre[:, 1:]).abs() < half[:, 1:]
    hole = rows[:, :, None] & columns[:, None] & chosen[:, None, None]
    return torch.where(hole[:, None], uniform(0, 255, 3, 1, 1), x)


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training: how long, how fast, and how much the pictures are changed."""

    steps: int
    rate: float
    strength: float
    mixed: float
    warm: float


# First rough, then calmer and slower, near to what the server will show.
PHASES = (Phase(3000, 4e-3, 1.0, 0.3, 0.15), Phase(700, 1e-3, 0.4, 0.0, 0.1))


def train(data: Pictures, seed: int, selection: Pictures, path: Path) -> MaskNet:
    """Return the moving average of a network trained through all phases, and save it after each."""
    torch.manual_seed(seed)
    net = MaskNet().to(memory_format=torch.channels_last)
    for number, phase in enumerate(PHASES):
        net = trained(net, data, phase, seed + 1000 * number, selection)
        torch.save(net.state_dict(), path.with_suffix(f".{seed}.{number}.pt"))
    return net


def trained(
    net: MaskNet, data: Pictures, phase: Phase, seed: int, selection: Pictures, batch: int = 128
) -> MaskNet:
    """Return the moving average of a network after one phase."""
    torch.manual_seed(seed)
    random, choice = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    mean = copy.deepcopy(net).eval()
    net.train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=phase.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, phase.rate, total_steps=phase.steps, pct_start=phase.warm
    )
    weights, started = data.weights(), time.time()
    for step in range(phase.steps):
        chosen = torch.from_numpy(choice.choice(len(weights), batch, p=weights))
        x = varied(data.patch[chosen], random, phase.strength)
        y = functional.one_hot(data.label[chosen], 3).float()
        if choice.random() < phase.mixed:
            share = float(choice.beta(0.3, 0.3))
            x, y = x * share + x.flip(0) * (1 - share), y * share + y.flip(0) * (1 - share)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits.float(), y, label_smoothing=0.04)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        follow(mean, net, min(0.997, (1 + step) / (10 + step)))
        if step % 250 == 249 or step == phase.steps - 1:
            took, found = time.time() - started, figures(judge(mean, selection), selection)
            print(f"step {step + 1}, loss {loss.item():.3f}, {took:.0f} s, {found}", flush=True)
    return mean


def follow(mean: nn.Module, net: nn.Module, keep: float) -> None:
    """Move the averaged network a little towards the trained one."""
    with torch.no_grad():
        for old, new in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - keep)
            else:
                old.copy_(new)


def judge(net: nn.Module, data: Pictures) -> NDArray[np.float32]:
    """Return the probabilities, float32 [N, 3]."""
    mirrored = Mirrored([net]).eval()
    with torch.no_grad():
        return torch.cat([mirrored(middle(part)) for part in data.patch.split(256)]).numpy()


def figures(found: NDArray[np.float32], data: Pictures) -> str:
    """Return accuracy, balanced accuracy, mask or none, and log loss, of all and of kaggle."""
    said, true = found.argmax(1), data.label.numpy()
    texts = []
    for name, ours in (("all", true >= 0), ("kaggle", np.char.endswith(data.group, "kaggle"))):
        s, t = said[ours], true[ours]
        each = [float((s[t == k] == k).mean()) for k in range(3)]
        loss = -np.log(np.maximum(found[ours, t], 1e-6)).mean()
        texts.append(
            f"{name} {np.mean(s == t):.3f} balanced {np.mean(each):.3f}"
            f" ({'/'.join(f'{e:.2f}' for e in each)})"
            f" mask {np.mean((s > 0) == (t > 0)):.3f} log loss {loss:.3f}"
        )
    return "; ".join(texts)


def export(nets: Sequence[nn.Module], path: Path) -> None:
    """Write the ONNX file; its weights take 16 bits, and are computed with in 32."""
    torch.onnx.export(
        Mirrored(nets, BIAS).eval(),
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
    parser.add_argument("model", type=Path)
    parser.add_argument("--parts", nargs="+", default=["train"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = load(arguments.folder, arguments.parts)
    selection = load(arguments.folder, ["selection"], drawn=False)
    nets = []
    for seed in arguments.seeds:
        nets.append(train(data, seed, selection, arguments.model))
    export(nets, arguments.model)


if __name__ == "__main__":
    main()
