"""Train the embedded generator: a tiny Stable Diffusion pipeline, from the idx files up.

    export OMP_NUM_THREADS=1 MALLOC_TRIM_THRESHOLD_=4000000000
    torchrun --nproc-per-node 2 -m shardtools.pipelines.embedded_generator --out DIR --work /tmp/fashion-sd

Hardware: two CPU cores, about 4 GB of memory. Time: `--minutes`, plus about three for
encoding. Expected: see `docs/embedded_generator.md`; check with `benchmarks/embedded.py`.

Owns the order of the stages and the share of the time each gets: trust in the labels
(two small judges), autoencoder, latents, UNet with text encoder, and the saved folder.
Each stage leaves its result in `--work`, and a second call continues after the last one;
the price of a limit in minutes is that two machines do not get the same weights.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from shardtools.pipelines.embedded_generator.captions import train_tokenizer
from shardtools.pipelines.embedded_generator.data import load_split
from shardtools.pipelines.embedded_generator.diffusion import (
    DiffusionOptions,
    LatentBank,
    rank,
    train_diffusion,
)
from shardtools.pipelines.embedded_generator.judge import label_trust
from shardtools.pipelines.embedded_generator.models import (
    TEXT_LENGTH,
    VOCABULARY_SIZE,
    build_scheduler,
    build_text_encoder,
    build_unet,
    build_vae,
)
from shardtools.pipelines.embedded_generator.scenes import paint_bank
from shardtools.pipelines.embedded_generator.vae import latent_bank, train_vae

LOG = logging.getLogger("train_embedded")
_VAE_SHARE = 0.25
_UNET_SHARE = 0.68
_BACKGROUNDS_PER_GROUP = 600
_SCENE_VARIANTS = 1
_ROUNDS = ((1e-3, 0.35, 0.58), (7e-4, 0.5, 0.42))
"""Of the UNet's training: highest rate, share of pictures in scenes, share of the time. Scenes are learnt slowest."""


def _trust_stage(data: Path, work: Path, seed: int) -> torch.Tensor:
    """Out-of-fold probability of every training label, `[N]`."""
    path = work / "trust.safetensors"
    if not path.is_file():
        gray, labels = load_split(data, "train")
        trust = label_trust(torch.from_numpy(gray), torch.from_numpy(labels), epochs=4, seed=seed)
        save_file({"trust": trust}, path)
        LOG.info("label trust: mean %.3f, below 0.2: %.3f", trust.mean(), (trust < 0.2).float().mean())
    return load_file(path)["trust"]


def _vae_stage(data: Path, work: Path, seconds: float, seed: int) -> AutoencoderKL:
    """The trained autoencoder (its scaling factor is set by the latent stage)."""
    folder = work / "vae"
    if not folder.is_dir():
        gray, _ = load_split(data, "train")
        backgrounds, _ = paint_bank(_BACKGROUNDS_PER_GROUP, seed)
        torch.manual_seed(seed)
        vae = build_vae()
        train_vae(vae, gray, backgrounds, seconds=seconds, seed=seed, log=LOG.info)
        vae.save_pretrained(folder)
    return AutoencoderKL.from_pretrained(folder, use_safetensors=True).eval()


def _latent_stage(data: Path, work: Path, vae: AutoencoderKL, trust: torch.Tensor, seed: int) -> LatentBank:
    """Scaled latents of all training pictures; sets the autoencoder's scaling factor."""
    path = work / "latents.safetensors"
    gray, labels = load_split(data, "train")
    if not path.is_file():
        backgrounds, groups = paint_bank(_BACKGROUNDS_PER_GROUP, seed)
        plain, scenes, scene_groups = latent_bank(vae, gray, backgrounds, groups, variants=_SCENE_VARIANTS, seed=seed)
        save_file({"plain": plain, "scenes": scenes, "groups": scene_groups}, path)
    stored = load_file(path)
    factor = 1.0 / float(torch.cat([stored["plain"], stored["scenes"][0]]).std())
    vae.register_to_config(scaling_factor=round(factor, 6))
    LOG.info("scaling factor %.4f", factor)
    return LatentBank(
        plain=stored["plain"] * factor,
        scenes=stored["scenes"] * factor,
        groups=stored["groups"],
        labels=torch.from_numpy(labels),
        trust=trust,
    )


def _tokenizer_stage(work: Path, seed: int) -> CLIPTokenizer:
    """The tokenizer, trained once: its trainer numbers single letters in another order each time it runs."""
    folder = work / "tokenizer"
    if not folder.is_dir():
        train_tokenizer(vocabulary_size=VOCABULARY_SIZE, max_length=TEXT_LENGTH, seed=seed).save_pretrained(folder)
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder, trust_remote_code=False)
    return tokenizer


def save_pipeline(
    folder: Path,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
) -> None:
    """Write the float16 pipeline beside `folder`, then swap it in; a model card there is kept."""
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    full = folder.with_name(folder.name + ".float32")
    for leftover in (fresh, old, full):
        shutil.rmtree(leftover, ignore_errors=True)
    # Through a float32 copy on disk: `.half()` on the networks would round what is still training.
    pipeline.save_pretrained(full, safe_serialization=True)
    half = StableDiffusionPipeline.from_pretrained(
        full, dtype=torch.float16, use_safetensors=True, trust_remote_code=False
    )
    half.save_pretrained(fresh, safe_serialization=True)
    shutil.rmtree(full)
    if (folder / "README.md").is_file():
        shutil.copy2(folder / "README.md", fresh / "README.md")
    for file in fresh.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors writes files that only their owner can read
    if folder.is_dir():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def train(data: Path, out: Path, work: Path, *, minutes: float, seed: int) -> None:
    """All stages; `out` holds a usable pipeline from the first UNet checkpoint on."""
    work.mkdir(parents=True, exist_ok=True)
    if rank() == 0:
        # The stages before the UNet are made by one process with the threads of all, while the others wait at the
        # barrier.
        torch.set_num_threads(dist.get_world_size() if dist.is_initialized() else 1)
        trust = _trust_stage(data, work, seed)
        vae = _vae_stage(data, work, minutes * 60 * _VAE_SHARE, seed)
        _latent_stage(data, work, vae, trust, seed)
        _tokenizer_stage(work, seed)
        torch.set_num_threads(1)
    if dist.is_initialized():
        dist.barrier()
    trust = _trust_stage(data, work, seed)
    vae = _vae_stage(data, work, minutes * 60 * _VAE_SHARE, seed)
    bank = _latent_stage(data, work, vae, trust, seed)
    tokenizer = _tokenizer_stage(work, seed)
    torch.manual_seed(seed)
    unet, text_encoder = build_unet(), build_text_encoder(tokenizer)

    def publish(unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        save_pipeline(out, vae, unet, text_encoder, tokenizer)

    for number, (max_rate, scene_share, share) in enumerate(_ROUNDS, start=1):
        seconds = minutes * 60 * _UNET_SHARE * share
        averages = train_diffusion(
            unet,
            text_encoder,
            tokenizer,
            bank,
            DiffusionOptions(seconds=seconds, seed=seed + number, max_rate=max_rate, scene_share=scene_share),
            checkpoint=work / f"diffusion-{number}.pt",
            on_save=publish,
            log=LOG.info,
        )
        unet.load_state_dict(averages[0].state_dict())
        text_encoder.load_state_dict(averages[1].state_dict())
    if rank() == 0:
        publish(unet, text_encoder)
        LOG.info("wrote %s", out)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, required=True, help="the pipeline's folder, replaced")
    parser.add_argument("--work", type=Path, required=True, help="stage results; a second call continues")
    parser.add_argument("--minutes", type=float, default=75.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo", timeout=timedelta(hours=3))
    logging.basicConfig(level=logging.INFO if rank() == 0 else logging.ERROR, format="%(asctime)s %(message)s")
    train(options.data, options.out, options.work, minutes=options.minutes, seed=options.seed)
