"""What a plan is made from: every option that changes a pixel, a label or a name, and none that does not.

Owns the fingerprint's content. The price of listing options one by one: a new option of the generator must be added
here, or a changed plan would be resumed unnoticed; a test compares the fields with the fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from shardtools.errors import OptionError
from shardtools.plan.seeds import MAX_REPLICAS
from shardtools.prompts import PromptOptions, parse_template
from shardtools.shards.names import check_split
from shardtools.taxonomy import ImageClass

DTYPES = ("float32", "float16", "bfloat16")
SAFETY_MODES = ("record", "drop", "off")
DEVICES = ("cpu", "cuda")
MAX_AUTO_SAMPLES_PER_SHARD = 1000
_AUTO_SHARDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSettings:
    """How an image is made from a prompt and a seed.

    Attributes:
        model_digest: sha256 over the pipeline's files.
        guidance_scale: Classifier-free guidance (Ho and Salimans 2021), 0 or more; 1 and below run without it.
        num_inference_steps: Denoising steps, 1 to 1000.
        scheduler: Class name of the diffusers scheduler.
        width: Pixels.
        height: Pixels.
        negative_prompt: Text to steer away from, if any.
        dtype: "float32", "float16" or "bfloat16".
        batch_size: Images denoised together; the last batch of a shard is padded, so that it never changes.
        threads_per_process: CPU threads of one process; another number may change the last bit of a float.
        device: "cpu" or "cuda".
        compile: Whether the denoiser is compiled.
        safety: "record" the safety checker's verdict, "drop" what it flags, or leave it "off".
        quality: JPEG quality, 1 to 100.
    """

    model_digest: str
    guidance_scale: float = 2.0
    num_inference_steps: int = 50
    scheduler: str = "PNDMScheduler"
    width: int
    height: int
    negative_prompt: str | None = None
    dtype: str = "float32"
    batch_size: int = 20
    threads_per_process: int = 1
    device: str = "cpu"
    compile: bool = False
    safety: str = "record"
    quality: int = 95

    def __post_init__(self) -> None:
        _check_range("--guidance-scale", self.guidance_scale, 0, 1000)
        _check_range("--num-inference-steps", self.num_inference_steps, 1, 1000)
        _check_range("--batch-size", self.batch_size, 1, 4096)
        _check_range("--threads-per-process", self.threads_per_process, 1, 1024)
        _check_range("--quality", self.quality, 1, 100)
        for option, pixels in (("--width", self.width), ("--height", self.height)):
            _check_range(option, pixels, 8, 8192)
            if pixels % 8:
                raise OptionError(f"{option} is a multiple of 8 pixels, found {pixels}: try {pixels // 8 * 8 or 8}")
        _check_choice("--dtype", self.dtype, DTYPES)
        _check_choice("--safety", self.safety, SAFETY_MODES)
        _check_choice("--device", self.device, DEVICES)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Everything a plan is computed from.

    Attributes:
        classes: In label order.
        images_per_class: Images of each class in one clone; 0 or more each.
        scale: Number of clones; clone k is the same whatever the scale is.
        prompts: Template and how it is filled.
        seed: Base of all image seeds.
        split: Name of the split the images go to.
        samples_per_shard: Rows of one shard.
        generator: How images are made.
    """

    classes: tuple[ImageClass, ...]
    images_per_class: tuple[int, ...]
    scale: int = 1
    prompts: PromptOptions
    seed: int = 0
    split: str = "train"
    samples_per_shard: int
    generator: GeneratorSettings

    def __post_init__(self) -> None:
        check_split(self.split)
        _check_range("--scale", self.scale, 1, 10_000)
        _check_range("--seed", self.seed, 0, 2**63 - 1)
        _check_range("--samples-per-shard", self.samples_per_shard, 1, 1_000_000)
        if len(self.classes) != len(self.images_per_class):
            raise OptionError(
                f"expected one image count for each of {len(self.classes)} classes, found {len(self.images_per_class)}"
            )
        if parse_template(self.prompts.template).uses_scene != bool(self.prompts.scenes):
            raise OptionError(
                f"a template with b goes with scenes, and no other does: found {self.prompts.template!r} "
                f"with {len(self.prompts.scenes)} scenes"
            )
        if not any(self.images_per_class):
            raise OptionError("a plan has at least one image, found none: raise --images-per-class")
        if min(self.images_per_class) < 0 or max(self.images_per_class) * self.scale > MAX_REPLICAS:
            raise OptionError(
                f"a class has 0 to {MAX_REPLICAS} images over all clones, found {max(self.images_per_class)} times "
                f"--scale {self.scale}: lower one of them"
            )

    def settings(self) -> dict[str, Any]:
        """Option name -> JSON value of all that the fingerprint covers.

        `scale` is left out because clones are a prefix.
        """
        prompts = asdict(self.prompts)
        scenes = prompts.pop("scenes")
        return {
            "classes": {
                "count": len(self.classes),
                "sha256": _digest([asdict(image_class) for image_class in self.classes]),
            },
            "images_per_class": _summarise(self.images_per_class),
            "seed": self.seed,
            "split": self.split,
            "samples_per_shard": self.samples_per_shard,
            "scenes": {"count": len(scenes), "sha256": _digest(scenes)} if scenes else None,
            **{f"prompt_{name}" if name != "template" else "prompt": value for name, value in prompts.items()},
            **asdict(self.generator),
        }


def auto_samples_per_shard(rows_per_clone: int, batch_size: int) -> int:
    """Whole batches, about eight shards for a small clone, at most 1000 samples for a large one.

    A function of the plan alone, never of the number of processes: shards must not move when a run is resumed
    elsewhere.
    """
    per_shard = -(-rows_per_clone // _AUTO_SHARDS)
    batches = -(-min(per_shard, MAX_AUTO_SAMPLES_PER_SHARD) // batch_size)
    return max(1, batches) * batch_size


def _summarise(counts: tuple[int, ...]) -> int | dict[str, Any]:
    if len(set(counts)) == 1:
        return counts[0]
    return {"total": sum(counts), "sha256": _digest(counts)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]


def _check_range(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise OptionError(f"{option} is {low} to {high}, found {value}")


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(f"{option} is one of {', '.join(choices)}, found {value!r}")
