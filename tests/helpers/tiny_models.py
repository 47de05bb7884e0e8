"""Tiny random diffusers pipelines on disk: real classes, real files, weights drawn from a fixed seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

WIDTH = 32
"""Width of the tiny text encoders."""


def tokenizer(folder: Path) -> CLIPTokenizer:
    """A byte-level CLIP tokenizer without merges."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def _text_config(words: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=WIDTH,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )


def _unet(**arguments: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        **arguments,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        sample_size=16,
    )


def _scheduler() -> PNDMScheduler:
    return PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )


def stable_diffusion(folder: Path, *, safety_checker: bool = False, seed: int = 0) -> Path:
    """Saves a StableDiffusionPipeline for 16 x 16 images; its safety checker flags about half of them."""
    torch.manual_seed(seed)
    words = tokenizer(folder / "words")
    parts: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
    if safety_checker:
        parts = {"safety_checker": _checker(), "feature_extractor": CLIPImageProcessor(size=32, crop_size=32)}
    pipe = StableDiffusionPipeline(
        text_encoder=CLIPTextModel(_text_config(words)),
        tokenizer=words,
        unet=_unet(cross_attention_dim=WIDTH),
        vae=_vae(),
        scheduler=_scheduler(),
        requires_safety_checker=safety_checker,
        **parts,
    )
    pipe.save_pretrained(folder / "model")
    return folder / "model"


def _checker() -> StableDiffusionSafetyChecker:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    with torch.no_grad():
        checker.concept_embeds.copy_(torch.randn_like(checker.concept_embeds))
        checker.special_care_embeds.copy_(torch.randn_like(checker.special_care_embeds))
        # Thresholds on cosines: 2 is never reached; the images of the tiny pipeline lie on both sides of 0.575.
        checker.concept_embeds_weights.fill_(2.0)
        checker.concept_embeds_weights[9] = 0.575
        checker.special_care_embeds_weights.fill_(2.0)
    return checker


def stable_diffusion_xl(folder: Path) -> Path:
    """Saves a StableDiffusionXLPipeline for 16 x 16 images: another family, with pooled embeddings."""
    torch.manual_seed(0)
    words = tokenizer(folder / "words")
    config = _text_config(words)
    pipe = StableDiffusionXLPipeline(
        text_encoder=CLIPTextModel(config),
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer=words,
        tokenizer_2=words,
        unet=_unet(
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        ),
        vae=_vae(),
        scheduler=EulerDiscreteScheduler(),
        add_watermarker=False,
    )
    pipe.save_pretrained(folder / "model")
    return folder / "model"
