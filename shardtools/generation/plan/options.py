"""The options of the generator: all that changes how an image is made from a prompt and a seed.

Owns their names, defaults, bounds and help. `gen-sd` takes its flags from here, a plan its fingerprint. The price: they
stand apart from the other options of a run (`generation.GenerateOptions`, which adds them).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.options import check_options, option

DTYPES = ("float32", "float16", "bfloat16")
SAFETY_MODES = ("record", "drop", "off")
DEVICES = ("cpu", "cuda")
SIDES = (8, 8192)
MAX_AUTO_SAMPLES_PER_SHARD = 1000

SCENE_ORDERS = ("shuffled", "by-class")
"""How scenes are dealt to the images of a class."""

OLD_SCENE_ORDER = SCENE_ORDERS[1]
"""Of a plan with scenes that names no order: those of earlier releases."""

SCHEDULERS: dict[str, str] = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lms": "LMSDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""Short name -> diffusers class. A class name of diffusers is taken as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorOptions:
    """How images are made; `None` means: the model's or the machine's own value.

    An option that is new has `late=True`: a plan that leaves it at its default is then the plan it was before. The
    order is that of the help.

    Attributes:
        guidance_scale: Classifier-free guidance (Ho and Salimans 2021); 1 and below run without it. 2 gives the most
            useful training sets (thesis section 5.5.1), 7.5 the most typical images.
        num_inference_steps: Denoising steps.
        scheduler: Short name or diffusers class; `None`: the pipeline's own.
        width: Pixels; `None`: the pipeline's own.
        height: Pixels; `None`: the pipeline's own.
        negative_prompt: Text to steer away from, if any.
        dtype: One of `DTYPES`; `None`: float16 on a GPU, float32 on a CPU.
        batch_size: Images denoised together; the last batch of a shard is padded, so that it never changes.
        threads_per_process: CPU threads of one process; another number may change the last bit of a float.
        device: "auto", or one of `DEVICES`.
        compile: Whether the denoiser is compiled.
        safety: "record" the safety checker's verdict, "drop" what it flags, or leave it "off".
        quality: JPEG quality.

    Raises:
        OptionError: A value is out of range.
    """

    guidance_scale: float = field(default=2.0, metadata=option("2: diverse; 7.5: typical images.", bounds=(0, 1000)))
    num_inference_steps: int = field(default=50, metadata=option("Denoising steps.", bounds=(1, 1000)))
    scheduler: str | None = field(
        default=None,
        metadata=option(f"{', '.join(SCHEDULERS)} or a diffusers class.", unset="the model's"),
    )
    width: int | None = field(default=None, metadata=option("Pixels.", unset="the model's", bounds=SIDES))
    height: int | None = field(default=None, metadata=option("Pixels.", unset="the model's", bounds=SIDES))
    negative_prompt: str | None = field(default=None, metadata=option("Text to steer away from."))
    dtype: str | None = field(default=None, metadata=option(choices=DTYPES, unset="float16 on a GPU, float32 on a CPU"))
    batch_size: int = field(default=20, metadata=option("Images denoised together.", bounds=(1, 4096)))
    threads_per_process: int = field(default=1, metadata=option("CPU threads of one process.", bounds=(1, 1024)))
    device: str = field(default="auto", metadata=option(choices=("auto", *DEVICES)))
    compile: bool = field(default=False, metadata=option("Compile the denoiser (slow start, faster batches)."))
    safety: str = field(
        default="record", metadata=option("What the pipeline's safety checker does.", choices=SAFETY_MODES)
    )
    quality: int = field(default=95, metadata=option("JPEG quality.", bounds=(1, 100)))

    def __post_init__(self) -> None:
        check_options(self)
