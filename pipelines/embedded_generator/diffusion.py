"""Training the UNet and the text encoder together on stored latents.

Epsilon prediction with min-SNR-5 loss weights (Hang et al. 2023, section 3.4), an
exponential moving average of both networks, classes drawn evenly. Pictures whose label
an out-of-fold judge disbelieves are drawn less often: sharper classes at low guidance,
for fewer odd garments in what is generated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from shardtools.pipelines.embedded_generator.captions import draw_caption, read_scene_table
from shardtools.pipelines.embedded_generator.models import TEXT_LENGTH, build_scheduler
from shardtools.pipelines.embedded_generator.scenes import SCENE_GROUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentBank:
    """Latents already multiplied by the scaling factor.

    `plain` is `[N, 4, 8, 8]`, `scenes` `[V, N, 4, 8, 8]`, `groups` `[V, N]` (index into
    `SCENE_GROUPS`), `labels` and `trust` `[N]`.
    """

    plain: torch.Tensor
    scenes: torch.Tensor
    groups: torch.Tensor
    labels: torch.Tensor
    trust: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionOptions:
    """What the UNet's training takes; `seconds` bounds it by the clock."""

    seconds: float
    seed: int
    batch_size: int = 40
    max_rate: float = 1e-3
    warm_up_steps: int = 300
    meet_every_steps: int = 4
    ema_decay: float = 0.999
    snr_cap: float = 5.0
    scene_share: float = 0.35
    empty_share: float = 0.11
    save_every_seconds: float = 300.0

    def __post_init__(self) -> None:
        if not 0 <= self.scene_share <= 1 or not 0 <= self.empty_share <= 1:
            raise ValueError(f"expected shares in 0..1, found scene {self.scene_share} and empty {self.empty_share}")


def rank() -> int:
    """This process's number; 0 when it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


class Batches:
    """Draws (latents, captions) with evenly drawn classes and trust-weighted pictures."""

    def __init__(self, bank: LatentBank, options: DiffusionOptions, step: int) -> None:
        self.bank, self.options = bank, options
        # By the step too: a training that is continued must not draw once more what it began with.
        self.rng = np.random.default_rng([options.seed, rank(), step])
        self.table = read_scene_table()
        # Full weight from 0.4 on: only labels the judge clearly disbelieves become rare.
        weights = (bank.trust.numpy().clip(0, 0.4) / 0.4 * 0.9 + 0.1).astype(np.float64)
        labels = bank.labels.numpy()
        self.members = [np.flatnonzero(labels == index) for index in range(10)]
        self.cumulative = [np.cumsum(weights[m]) / weights[m].sum() for m in self.members]

    def draw(self) -> tuple[torch.Tensor, list[str]]:
        """One batch: `[B, 4, 8, 8]` and B captions, some empty."""
        rng, options = self.rng, self.options
        latents, captions = [], []
        for index in rng.integers(0, 10, options.batch_size):
            at = int(np.searchsorted(self.cumulative[index], rng.random()))
            sample = int(self.members[index][min(at, len(self.members[index]) - 1)])
            scene = None
            if rng.random() < options.scene_share:
                variant = int(rng.integers(0, len(self.bank.scenes)))
                latents.append(self.bank.scenes[variant, sample])
                names = self.table[SCENE_GROUPS[int(self.bank.groups[variant, sample])]]
                scene = names[int(rng.integers(0, len(names)))]
            else:
                latents.append(self.bank.plain[sample])
            empty = rng.random() < options.empty_share
            captions.append("" if empty else draw_caption(int(index), scene, rng))
        return torch.stack(latents), captions


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids `[B, TEXT_LENGTH]`, padded as the pipeline pads them."""
    encoded = tokenizer(captions, padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt")
    ids: torch.Tensor = encoded.input_ids
    return ids


def min_snr_weights(cap: float) -> torch.Tensor:
    """min(SNR, cap) / SNR for each of the 1000 training steps."""
    cumulative = build_scheduler().alphas_cumprod
    snr = cumulative / (1 - cumulative)
    weights: torch.Tensor = snr.clamp(max=cap) / snr
    return weights


def train_diffusion(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    bank: LatentBank,
    options: DiffusionOptions,
    *,
    checkpoint: Path,
    on_save: Callable[[UNet2DConditionModel, CLIPTextModel], None],
    log: Callable[[str], None],
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Train for `options.seconds` and return the averaged networks.

    An existing `checkpoint` is continued: its elapsed seconds count. `on_save` gets the
    averages at every checkpoint, so a usable pipeline exists long before the end.
    """
    unet.to(memory_format=torch.channels_last)
    networks = nn.ModuleList([unet, text_encoder])
    average = deepcopy(networks).requires_grad_(False).eval()
    optimizer = torch.optim.AdamW(networks.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    step, spent = _resume(checkpoint, networks, average, optimizer)
    torch.manual_seed((options.seed * 1_000_000 + step) * 16 + rank())
    batches, scheduler = Batches(bank, options, step), build_scheduler()
    weights, mean_loss = min_snr_weights(options.snr_cap), 0.0
    networks.train()
    started, saved, share = time.monotonic() - spent, time.monotonic(), spent / options.seconds
    while share < 1:
        rate = options.max_rate * min(1.0, (step + 1) / options.warm_up_steps)
        rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = rate
        latents, captions = batches.draw()
        steps, noise = torch.randint(0, 1000, (len(latents),)), torch.randn_like(latents)
        text = text_encoder(tokenize(tokenizer, captions)).last_hidden_state
        noisy = scheduler.add_noise(latents, noise, steps).to(memory_format=torch.channels_last)
        predicted = unet(noisy, steps, text).sample
        loss = ((predicted - noise).square().mean((1, 2, 3)) * weights[steps]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
        optimizer.step()
        # Only here does the share of the time change, for all processes alike: so they end after the same step.
        if step % options.meet_every_steps == 0:
            share = _average_processes(networks, (time.monotonic() - started) / options.seconds)
        # At first the average forgets quickly, or the random first weights would stay in it for thousands of steps.
        _update_average(average, networks, min(options.ema_decay, (1 + step) / (10 + step)))
        mean_loss = loss.item() if mean_loss == 0 else 0.99 * mean_loss + 0.01 * loss.item()
        step += 1
        if step % 100 == 0:
            log(f"unet step {step} loss {mean_loss:.4f} rate {rate:.1e} {share:.0%}")
        if rank() == 0 and time.monotonic() - saved > options.save_every_seconds:
            saved = time.monotonic()
            _save(checkpoint, networks, average, optimizer, step, saved - started)
            on_save(average[0], average[1])
    if rank() == 0:
        _save(checkpoint, networks, average, optimizer, step, options.seconds)
    log(f"unet done: {step} steps of {options.batch_size} in {time.monotonic() - started:.0f} s")
    return average[0], average[1]


@torch.no_grad()
def _average_processes(networks: nn.Module, share: float) -> float:
    """Average the weights over the processes, and the share of the time that has passed.

    Every few steps instead of every step (local SGD, Stich 2019): threads meet after every
    operation and gradients after every step, and on cores that others use too each meeting
    waits for a time slice.
    """
    if not dist.is_initialized():
        return share
    weights = list(networks.parameters())
    flat = torch.cat([*(w.flatten() for w in weights), torch.tensor([share])])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    at = 0
    for weight in weights:
        weight.copy_(flat[at : at + weight.numel()].view_as(weight))
        at += weight.numel()
    return float(flat[-1])


@torch.no_grad()
def _update_average(average: nn.Module, networks: nn.Module, decay: float) -> None:
    ours = [p.detach() for p in average.parameters()]
    theirs = [p.detach() for p in networks.parameters()]
    torch._foreach_lerp_(ours, theirs, 1 - decay)


def _save(
    path: Path, networks: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, step: int, spent: float
) -> None:
    """A checkpoint under the work folder: tensors and numbers only."""
    state = {
        "networks": networks.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "spent": spent,
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _resume(path: Path, networks: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    if not path.is_file():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    networks.load_state_dict(state["networks"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    for group in optimizer.param_groups:
        group["fused"] = True
    return int(state["step"]), float(state["spent"])
