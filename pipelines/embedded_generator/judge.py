"""A small convolutional classifier of 32x32 pictures: the judge of what was generated.

Used four ways, always with the same shape: the judge of products on black (trained on
real products), the judge of products in scenes (real products in painted scenes), the
judge of scene groups, and the classifier trained only on generated pictures. A judge
never sees generated pictures unless its training set is named so.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

Batcher = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class Augmentation(Protocol):
    """Changes a batch of pictures in -1..1; shifts are at most `max_shift` pixels."""

    def __call__(self, images: torch.Tensor, generator: torch.Generator, *, max_shift: int) -> torch.Tensor: ...


class Judge(nn.Module):
    """RGB in -1..1, `[N, 3, 32, 32]`, to logits; the features are 128 pooled activations."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        widths = ((3, 32, 4, 2), (32, 48, 3, 1), (48, 96, 3, 1), (96, 96, 3, 1), (96, 128, 3, 1))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, kernel, stride, 1, bias=False) for i, o, kernel, stride in widths
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o, _, _ in widths)
        self.classifier = nn.Linear(128, num_classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """`[N, 128]` features."""
        hidden = images
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            hidden = functional.relu(norm(convolution(hidden)))
            if index in (1, 3):
                hidden = functional.max_pool2d(hidden, 2)
        return hidden.mean((2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = functional.dropout(self.features(images), 0.2, self.training)
        logits: torch.Tensor = self.classifier(hidden)
        return logits


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """How long and how hard a judge trains."""

    epochs: float = 4.0
    batch_size: int = 128
    max_rate: float = 4e-3
    max_shift: int = 1
    label_smoothing: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs <= 0 or self.batch_size < 2:
            raise ValueError(f"expected epochs > 0 and batch_size >= 2, found {self.epochs} and {self.batch_size}")


def augment(images: torch.Tensor, generator: torch.Generator, *, max_shift: int) -> torch.Tensor:
    """Mirror half of the pictures and shift the whole batch by up to `max_shift` pixels each way."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    dy, dx = (int(v) + max_shift for v in torch.randint(-max_shift, max_shift + 1, (2,), generator=generator))
    padded = functional.pad(images, (max_shift,) * 4, mode="replicate")
    return padded[:, :, dy : dy + images.shape[2], dx : dx + images.shape[3]]


def augment_strongly(images: torch.Tensor, generator: torch.Generator, *, max_shift: int) -> torch.Tensor:
    """What a student of generated pictures needs against their smoothness, each picture by itself.

    Mirrored, scaled by up to 15 %, shifted, gamma and brightness changed, noise added, half of them with a black square
    of 8 pixels.
    """
    count, side = len(images), images.shape[3]

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=generator)

    images = torch.where((draw() < 0.5)[:, None, None, None], images.flip(3), images)
    maps = torch.zeros(count, 2, 3)
    scale = 1 + 0.15 * (2 * draw() - 1)
    maps[:, 0, 0], maps[:, 1, 1] = scale * (1 + 0.1 * (2 * draw() - 1)), scale
    maps[:, :, 2] = (2 * draw(2) - 1) * max_shift * 2 / side
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    light = ((images + 1) / 2).clamp(1e-4, 1) ** torch.exp(draw(1, 1, 1) - 0.5) * (0.7 + 0.4 * draw(1, 1, 1))
    noise = torch.randn(images.shape, generator=generator) * 0.05 * draw(1, 1, 1)
    centers = torch.randint(0, side, (2, count, 1, 1), generator=generator)
    rows, columns = torch.arange(side)[None, :, None], torch.arange(side)[None, None, :]
    square = ((rows - centers[0]).abs() < 4) & ((columns - centers[1]).abs() < 4) & (draw() < 0.5)[:, None, None]
    return ((light + noise).clamp(0, 1) * 2 - 1).masked_fill(square[:, None], -1.0)


def train_judge(
    judge: Judge, count: int, batch_of: Batcher, options: JudgeOptions, *, augmented: Augmentation = augment
) -> None:
    """Train in place, in random order without replacement, with a one-cycle learning rate.

    Args:
        judge: the network.
        count: number of training pictures; indices run from 0 to count - 1.
        batch_of: RGB pictures in -1..1 and labels of the given indices.
        options: length, rate and size of the shifts.
        augmented: what happens to each batch.
    """
    generator = torch.Generator().manual_seed(options.seed)
    torch.manual_seed(options.seed)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=options.max_rate, weight_decay=0.02)
    steps = max(1, round(options.epochs * count / options.batch_size))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.max_rate, total_steps=steps, pct_start=0.2)
    order = torch.empty(0, dtype=torch.long)
    judge.train()
    for _ in range(steps):
        # What is left of a pass is dropped, so that all batches are of one size.
        if len(order) < options.batch_size:
            order = torch.randperm(count, generator=generator)
        chosen, order = order[: options.batch_size], order[options.batch_size :]
        images, labels = batch_of(chosen)
        logits = judge(augmented(images, generator, max_shift=options.max_shift))
        loss = functional.cross_entropy(logits, labels, label_smoothing=options.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    judge.eval()


@torch.inference_mode()
def judge_all(judge: Judge, images: torch.Tensor, batch_size: int = 500) -> tuple[torch.Tensor, torch.Tensor]:
    """Class probabilities `[N, C]` and features `[N, 128]` of RGB pictures in -1..1."""
    judge.eval()
    parts = []
    for at in range(0, len(images), batch_size):
        features = judge.features(images[at : at + batch_size])
        parts.append((judge.classifier(features).softmax(1), features))
    return torch.cat([p for p, _ in parts]), torch.cat([f for _, f in parts])


def mean_pairwise_distance(features: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean Euclidean distance of pairs within a class, averaged over the classes."""
    means = []
    for label in labels.unique():
        own = features[labels == label]
        if len(own) > 1:
            means.append(float(torch.pdist(own).mean()))
    if not means:
        raise ValueError("expected a class with at least two pictures, found none")
    return math.fsum(means) / len(means)


def gray_batcher(gray: torch.Tensor, labels: torch.Tensor) -> Batcher:
    """Batches of products on black from grey pictures `[N, 32, 32]` in 0..1."""

    def batch_of(chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images = (gray[chosen] * 2 - 1)[:, None].expand(-1, 3, -1, -1)
        return images, labels[chosen]

    return batch_of


def rgb_batcher(images: torch.Tensor, labels: torch.Tensor) -> Batcher:
    """Batches of RGB pictures `[N, 3, 32, 32]` in -1..1."""

    def batch_of(chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images[chosen], labels[chosen]

    return batch_of


def label_trust(gray: torch.Tensor, labels: torch.Tensor, *, epochs: float, seed: int) -> torch.Tensor:
    """Out-of-fold probability of each given label, `[N]`: two judges, each trained on half."""
    fold = torch.randperm(len(gray), generator=torch.Generator().manual_seed(seed)) % 2
    trust = torch.zeros(len(gray))
    # Each half is judged by the judge of the other: one that has seen a label would believe it.
    for held_out in (0, 1):
        train, test = (fold != held_out).nonzero()[:, 0], (fold == held_out).nonzero()[:, 0]
        judge = Judge()
        options = JudgeOptions(epochs=epochs, max_shift=2, seed=seed + held_out)
        train_judge(judge, len(train), gray_batcher(gray[train], labels[train]), options)
        images = (gray[test] * 2 - 1)[:, None].expand(-1, 3, -1, -1)
        probabilities, _ = judge_all(judge, images)
        trust[test] = probabilities.gather(1, labels[test, None])[:, 0]
    return trust


def save_judge(judge: Judge, path: Path) -> None:
    """Weights as safetensors; the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        save_file({k: v.contiguous() for k, v in judge.state_dict().items()}, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_judge(path: Path, num_classes: int = 10) -> Judge:
    """A judge saved by `save_judge`, ready to judge."""
    judge = Judge(num_classes)
    judge.load_state_dict(load_file(path))
    return judge.eval()
