"""A diffusers text-to-image pipeline taken apart: encode a prompt once, denoise a batch, decode it elsewhere.

Owns everything that touches torch while images are made. Stable Diffusion pipelines hand out latents, so that
decoding can overlap the next batch; other families decode inside the pipeline call, which costs that overlap.
"""

from __future__ import annotations

import inspect
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers

# Loaded when first used otherwise: after the fork, in every rank.
import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion
import numpy as np
import numpy.typing as npt
import torch

from shardtools.errors import ModelError, first_line
from shardtools.generation import weights_variant
from shardtools.generation.plan import GeneratorSettings

EMBEDDING_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "StableDiffusionPipeline": ("prompt_embeds", "negative_prompt_embeds"),
    "StableDiffusionXLPipeline": (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ),
    "StableDiffusion3Pipeline": (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ),
}
"""Pipeline class -> what its `encode_prompt` returns, as the names its call takes. Others get their prompts as text."""

_CACHED_PROMPT_BYTES = 1 << 30
_LATENT_PIPELINE = "StableDiffusionPipeline"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded batch: `images` uint8 [N, H, W, 3] RGB, `finite` bool [N], `nsfw` one verdict an image or `None`."""

    images: npt.NDArray[np.uint8]
    finite: npt.NDArray[np.bool_]
    nsfw: list[bool | None]


class Engine:
    """One loaded pipeline on one device.

    Attributes:
        denoiser_seconds: Time inside the UNet or transformer so far.
        vae_seconds: Time inside the decoder so far.
    """

    def __init__(self, model_path: Path, settings: GeneratorSettings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self.denoiser_seconds = 0.0
        self.vae_seconds = 0.0
        self.pipe: Any = _load(model_path, settings, device)
        self._name = type(self.pipe).__name__
        self._guided = settings.guidance_scale > 1
        self._cache: OrderedDict[str, dict[str, torch.Tensor]] = OrderedDict()
        self._cached_bytes = 0
        denoiser = getattr(self.pipe, "unet", None) or getattr(self.pipe, "transformer", None)
        if denoiser is None:
            raise ModelError(
                f"{model_path} ({self._name}) has neither a unet nor a transformer: choose a text-to-image pipeline"
            )
        self._time_denoiser(denoiser)
        if settings.compile:
            name = "unet" if getattr(self.pipe, "unet", None) is not None else "transformer"
            setattr(self.pipe, name, torch.compile(denoiser))

    def _time_denoiser(self, denoiser: torch.nn.Module) -> None:
        started = 0.0

        def before(*_: object) -> None:
            nonlocal started
            started = time.perf_counter()

        def after(*_: object) -> None:
            self.denoiser_seconds += time.perf_counter() - started

        denoiser.register_forward_pre_hook(before)
        denoiser.register_forward_hook(after)

    @torch.inference_mode()
    def encode(self, prompt: str) -> dict[str, torch.Tensor]:
        """Embeddings of one prompt, computed alone so that they don't depend on its neighbours, and kept for later."""
        if prompt in self._cache:
            self._cache.move_to_end(prompt)
            return self._cache[prompt]
        wanted = {
            "prompt": prompt,
            "negative_prompt": self.settings.negative_prompt,
            "device": self.device,
            "num_images_per_prompt": 1,
            "do_classifier_free_guidance": self._guided,
        }
        if "prompt_2" in inspect.signature(self.pipe.encode_prompt).parameters:
            wanted["prompt_2"] = None
            if self._name == "StableDiffusion3Pipeline":
                wanted["prompt_3"] = None
        outputs = self.pipe.encode_prompt(**wanted)
        names = EMBEDDING_ARGUMENTS[self._name]
        found = {name: tensor for name, tensor in zip(names, outputs, strict=True) if tensor is not None}
        self._cache[prompt] = found
        self._cached_bytes += _num_bytes(found)
        # Never the last one, which was just asked for.
        while self._cached_bytes > _CACHED_PROMPT_BYTES and len(self._cache) > 1:
            self._cached_bytes -= _num_bytes(self._cache.popitem(last=False)[1])
        return found

    @torch.inference_mode()
    def denoise(self, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
        """Runs the reverse diffusion of one batch.

        Args:
            prompts: [N].
            seeds: [N]; each image's noise comes from its own generator on the CPU, so it is the same on every device.

        Returns:
            Latents [N, C, h, w] for a Stable Diffusion pipeline; images [N, 3, H, W] in 0 to 1 for any other.
        """
        arguments: dict[str, Any] = {
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "guidance_scale": self.settings.guidance_scale,
            "num_inference_steps": self.settings.num_inference_steps,
            "width": self.settings.width,
            "height": self.settings.height,
            "output_type": "latent" if self._name == _LATENT_PIPELINE else "pt",
        }
        if self._name in EMBEDDING_ARGUMENTS:
            encoded = [self.encode(prompt) for prompt in prompts]
            arguments |= {name: torch.cat([one[name] for one in encoded]) for name in encoded[0]}
        else:
            # Other families encode inside of their call, where a prompt may depend on its neighbours.
            arguments["prompt"] = list(prompts)
            if self.settings.negative_prompt is not None:
                arguments["negative_prompt"] = [self.settings.negative_prompt] * len(prompts)
        output = self.pipe(**arguments).images
        assert isinstance(output, torch.Tensor)
        return output

    @torch.inference_mode()
    def decode(self, output: torch.Tensor) -> Decoded:
        """Turns what `denoise` returned into pixels and asks the safety checker; safe to call from another thread."""
        started = time.perf_counter()
        if self._name == _LATENT_PIPELINE:
            latents = output / self.pipe.vae.config.scaling_factor
            output = self.pipe.vae.decode(latents).sample / 2 + 0.5
        floats = output.float().permute(0, 2, 3, 1).cpu().numpy()
        self.vae_seconds += time.perf_counter() - started
        finite = np.isfinite(floats).all(axis=(1, 2, 3))
        images = (np.nan_to_num(floats).clip(0, 1) * 255).round().astype(np.uint8)
        return Decoded(images=images, finite=finite, nsfw=self._judge(images))

    def _judge(self, images: npt.NDArray[np.uint8]) -> list[bool | None]:
        """The safety checker's verdicts; it gets copies, because it blacks out what it flags."""
        checker = getattr(self.pipe, "safety_checker", None)
        if self.settings.safety == "off" or checker is None:
            return [None] * len(images)
        from PIL import Image

        pictures = [Image.fromarray(image) for image in images]
        pixels = self.pipe.feature_extractor(pictures, return_tensors="pt").pixel_values
        _, flags = checker(images=images.copy(), clip_input=pixels.to(self.device, next(checker.parameters()).dtype))
        return [bool(flag) for flag in flags]


def _load(model_path: Path, settings: GeneratorSettings, device: torch.device) -> Any:
    dtype: torch.dtype = getattr(torch, settings.dtype)
    arguments: dict[str, Any] = {"dtype": dtype, "local_files_only": True, "variant": weights_variant(model_path)}
    # A pickle or a program of the model's own would run whatever its author liked.
    arguments |= {"use_safetensors": True, "trust_remote_code": False}
    index = diffusers.DiffusionPipeline.load_config(model_path)
    if settings.safety == "off" and "safety_checker" in index:
        arguments |= {"safety_checker": None, "requires_safety_checker": False}
    try:
        pipe = diffusers.DiffusionPipeline.from_pretrained(model_path, **arguments)
        scheduler = getattr(diffusers, settings.scheduler)
        if type(pipe.scheduler) is not scheduler:
            pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    except (OSError, ValueError, AttributeError, ImportError, RuntimeError) as error:
        raise ModelError(
            f"{model_path} cannot be loaded as a diffusers pipeline: {first_line(error)}: check the folder"
        ) from None
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def _num_bytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
