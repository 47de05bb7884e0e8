"""The autoencoder's training: half real products on black, half products in painted scenes.

The loss is MSE + L1 + an L1 on pixel differences (prints, buttons and seams are edges)
plus a small KL term. The price of the small KL is a latent space that is only roughly
normal, which the scaling factor repairs in scale alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from shardtools.arrays import Float32s, Int64s
from shardtools.pipelines.embedded_generator.data import place_in_scenes, to_rgb

_KL_WEIGHT = 3e-4
_EDGE_WEIGHT = 0.5


def to_tensor(rgb: Float32s) -> torch.Tensor:
    """`[N, H, W, 3]` in 0..1 to `[N, 3, H, W]` in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).contiguous() * 2 - 1


def _edges(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return images[..., 1:] - images[..., :-1], images[..., 1:, :] - images[..., :-1, :]


def vae_loss(vae: AutoencoderKL, images: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The training loss of one batch and its plain mean squared error (range -1..1)."""
    posterior = vae.encode(images).latent_dist
    decoded = vae.decode(posterior.sample()).sample
    mse = functional.mse_loss(decoded, images)
    edge = sum(
        (functional.l1_loss(a, b) for a, b in zip(_edges(decoded), _edges(images), strict=True)),
        torch.zeros(()),
    )
    mean, logvar = posterior.mean, posterior.logvar
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    loss = mse + functional.l1_loss(decoded, images) * 0.4 + _EDGE_WEIGHT * edge + _KL_WEIGHT * kl
    return loss, mse.item()


def train_vae(
    vae: AutoencoderKL,
    gray: Float32s,
    backgrounds: Float32s,
    *,
    seconds: float,
    seed: int,
    log: Callable[[str], None],
    batch_size: int = 64,
) -> None:
    """Train in place for `seconds`; the learning rate follows a cosine in elapsed time."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=2e-3, weight_decay=1e-4, betas=(0.9, 0.99))
    start, step, recent = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - start) / seconds) < 1:
        # By the clock and not by steps: a slower machine takes fewer, and still ends at the lowest rate.
        rate = 2e-3 * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = rng.integers(0, len(gray), batch_size)
        half = batch_size // 2
        scenes = backgrounds[rng.integers(0, len(backgrounds), half)]
        images = np.concatenate([to_rgb(gray[chosen[half:]]), place_in_scenes(gray[chosen[:half]], scenes, rng)])
        loss, mse = vae_loss(vae, to_tensor(images))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        recent = mse if step == 0 else 0.98 * recent + 0.02 * mse
        if step % 100 == 0:
            # Pixels go from -1 to 1: their range is 2, and its square 4.
            psnr = -10 * math.log10(recent / 4)
            log(f"vae step {step} psnr {psnr:.2f} dB rate {rate:.1e} {share:.0%}")
        step += 1
    log(f"vae done: {step} steps of {batch_size} in {seconds:.0f} s")


@torch.inference_mode()
def encode_all(vae: AutoencoderKL, rgb: Float32s, batch_size: int = 250) -> torch.Tensor:
    """Posterior means `[N, 4, 8, 8]` (unscaled) of RGB pictures."""
    parts = [vae.encode(to_tensor(rgb[at : at + batch_size])).latent_dist.mean for at in range(0, len(rgb), batch_size)]
    return torch.cat(parts).contiguous(memory_format=torch.contiguous_format)


def latent_bank(
    vae: AutoencoderKL, gray: Float32s, backgrounds: Float32s, groups: Int64s, *, variants: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents to train the UNet on: on black `[N, ...]`, in scenes `[V, N, ...]`, groups `[V, N]`."""
    rng = np.random.default_rng(seed)
    plain = encode_all(vae, to_rgb(gray))
    scene_latents, scene_groups = [], []
    for _ in range(variants):
        chosen = rng.integers(0, len(backgrounds), len(gray))
        parts = [
            encode_all(vae, place_in_scenes(gray[at : at + 1000], backgrounds[chosen[at : at + 1000]], rng))
            for at in range(0, len(gray), 1000)
        ]
        scene_latents.append(torch.cat(parts).contiguous())
        scene_groups.append(torch.from_numpy(groups[chosen]))
    return plain, torch.stack(scene_latents), torch.stack(scene_groups)
