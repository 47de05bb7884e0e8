"""What a user asks for when images are to be made.

Owns the defaults of `gen-sd`. The price of flat options: what belongs to the prompt, the plan and the machine stands
in one list, as on the command line; `prepare` sorts it.
"""

from __future__ import annotations

from dataclasses import dataclass

from shardtools.errors import OptionError

EMBEDDED_MODEL = "fashion-sd"
"""Name of the generator that ships with the package."""

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
class GenerateOptions:
    """Options of one `gen-sd` run; `None` means: the model's, the machine's or the plan's own value.

    Attributes:
        out: Folder or s3:// address of the dataset.
        prompt: Prompt template.
        classes: Class set, list of synsets, or a file; `None`: the ten classes of the embedded generator.
        images_per_class: Images of each class in one clone; `None`: 16, or what `like` says.
        like: Dataset whose image count per class is copied.
        scale: Number of clones.
        lemmas: "all" or "first".
        hypernyms: "all" or "first".
        scenes: File of scene names; `None`: Places365 where the template has `b`.
        seed: Base of all seeds.
        split: Split that the images go to.
        samples_per_shard: `None`: from the plan's size.
        model: Folder or hub id of a diffusers pipeline.
        guidance_scale: 2 gives the most useful training sets (thesis section 5.5.1), 7.5 the most typical images.
        num_inference_steps: Denoising steps.
        scheduler: Short name or diffusers class; `None`: the pipeline's own.
        width: Pixels; `None`: the pipeline's own.
        height: Pixels; `None`: the pipeline's own.
        negative_prompt: Text to steer away from.
        dtype: `None`: float16 on a GPU, float32 on a CPU.
        batch_size: Images denoised together.
        device: "auto", "cpu" or "cuda".
        compile: Whether to compile the denoiser.
        safety: "record", "drop" or "off".
        quality: JPEG quality.
        num_processes: `None`: one a GPU, or one a CPU core.
        threads_per_process: CPU threads of one process.
        retry_failed: Make images again that have no bytes, instead of new ones.
    """

    out: str
    prompt: str = "c, d_c"
    classes: str | None = None
    images_per_class: int | None = None
    like: str | None = None
    scale: int = 1
    lemmas: str = "all"
    hypernyms: str = "all"
    scenes: str | None = None
    seed: int = 0
    split: str = "train"
    samples_per_shard: int | None = None
    model: str = EMBEDDED_MODEL
    guidance_scale: float = 2.0
    num_inference_steps: int = 50
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    negative_prompt: str | None = None
    dtype: str | None = None
    batch_size: int = 20
    device: str = "auto"
    compile: bool = False
    safety: str = "record"
    quality: int = 95
    num_processes: int | None = None
    threads_per_process: int = 1
    retry_failed: bool = False

    def __post_init__(self) -> None:
        if self.images_per_class is not None and self.like is not None:
            raise OptionError("--images-per-class and --like both set the number of images: give one of them")
        if self.images_per_class is not None and self.images_per_class < 1:
            raise OptionError(f"--images-per-class is 1 or more, found {self.images_per_class}")
        if self.num_processes is not None and not 1 <= self.num_processes <= 1024:
            raise OptionError(f"--num-processes is 1 to 1024, found {self.num_processes}")
        if self.scheduler is not None and self.scheduler not in SCHEDULERS and not self.scheduler.endswith("Scheduler"):
            raise OptionError(
                f"--scheduler is one of {', '.join(SCHEDULERS)} or a diffusers class, found {self.scheduler!r}"
            )
        if self.device not in ("auto", "cpu", "cuda"):
            raise OptionError(f"--device is auto, cpu or cuda, found {self.device!r}")
