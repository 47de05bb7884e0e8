"""The four networks of the embedded generator and the folder they are saved as.

Owns shapes and sizes only: what they learn is `job.py`'s business. The widths
are the largest that still draw ten 32x32 images a second on two CPU cores at 50 steps
with guidance; the price is 2.5 million UNet parameters and little room for detail.
"""

from __future__ import annotations

from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

IMAGE_SIZE = 32
LATENT_SIZE = 8
LATENT_CHANNELS = 4
TEXT_WIDTH = 96
TEXT_LENGTH = 48
VOCABULARY_SIZE = 2048


def build_vae() -> AutoencoderKL:
    """32x32x3 in -1..1 to 8x8x4 and back, 0.68 M parameters."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        sample_size=IMAGE_SIZE,
    )


def build_unet() -> UNet2DConditionModel:
    """The epsilon predictor on 8x8x4 latents: attends to the text at 4x4, 2.5 M parameters."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(64, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two causal transformer layers of width 96 over the tokenizer's vocabulary."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TEXT_LENGTH,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_scheduler() -> PNDMScheduler:
    """The scheduler settings of Stable Diffusion v1.4 (its scheduler_config.json)."""
    # `clip_sample` is no argument of this class; `from_config` keeps it, as v1.4's own file does.
    settings = {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "skip_prk_steps": True,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "clip_sample": False,
        "prediction_type": "epsilon",
    }
    scheduler: PNDMScheduler = PNDMScheduler.from_config(settings)
    return scheduler
