"""What a user asks for when images are to be made.

Owns the options of `gen-sd` beside those of the generator (`plan.GeneratorOptions`) and of prompts. The price of flat
options: what belongs to the prompt, the plan and the machine stands in one list, as on the command line; `prepare`
sorts it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.generation.plan import MAX_AUTO_SAMPLES_PER_SHARD, SCENE_ORDERS, SCHEDULERS, GeneratorOptions
from shardtools.options import check_options, option, same
from shardtools.prompts import PromptOptions

DEFAULT_IMAGES_PER_CLASS = 16

EMBEDDED_MODEL = "fashion-sd"
"""Name of the generator that ships with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions(GeneratorOptions):
    """Options of one `gen-sd` run, with those of the generator; `None` means: the model's, the machine's or the plan's.

    Attributes:
        out: Folder or s3:// address of the dataset.
        prompt_template: Text with c, h_c, d_c and b; see `prompts.template`.
        classes: Class set, list of synsets, or a file; `None`: the ten classes of the embedded generator.
        images_per_class: Images of each class in one clone; `None`: 16, or what `like` says.
        like: Dataset whose image count per class is copied.
        scale: Number of clones.
        lemmas: "all" or "first".
        hypernyms: "all" or "first".
        scenes: File of scene names; `None`: Places365 where the template has `b`.
        scene_order: One of `plan.SCENE_ORDERS`.
        model: Folder or hub id of a diffusers pipeline.
        seed: Base of all seeds.
        split: Split that the images go to.
        samples_per_shard: `None`: from the plan's size.
        num_processes: `None`: one a GPU, or one a CPU core.
        retry_failed: Make images again that have no bytes, instead of new ones.
    """

    prompt_template: str = same(PromptOptions, "template")
    classes: str | None = field(
        default=None,
        metadata=option(
            "Class set, wnids or synset names, or a .txt/.csv file.", unset="the ten Fashion-MNIST classes"
        ),
    )
    images_per_class: int | None = field(
        default=None, metadata=option("Images of each class in one clone.", unset=f"{DEFAULT_IMAGES_PER_CLASS}")
    )
    like: str | None = field(
        default=None, metadata=option("Copy the image count of each class from this dataset.", metavar="DATASET")
    )
    scale: int = field(default=1, metadata=option("Clones; a larger scale later makes only the new ones."))
    lemmas: str = same(PromptOptions, "lemmas")
    hypernyms: str = same(PromptOptions, "hypernyms")
    scenes: str | None = field(
        default=None,
        metadata=option("Scene names for `b`, one a line.", metavar="FILE", unset="the 365 of Places"),
    )
    scene_order: str = field(
        default=SCENE_ORDERS[0],
        metadata=option(
            "Scenes in one order for all classes, or as earlier releases dealt them.",
            choices=SCENE_ORDERS,
        ),
    )
    model: str = field(
        default=EMBEDDED_MODEL, metadata=option("Folder or hub id of a diffusers pipeline, or the embedded one.")
    )
    seed: int = field(default=0, metadata=option("Base of all image seeds."))
    split: str = field(default="train", metadata=option("Name of the split."))
    samples_per_shard: int | None = field(
        default=None, metadata=option(unset=f"whole batches, at most {MAX_AUTO_SAMPLES_PER_SHARD}")
    )
    num_processes: int | None = field(
        default=None, metadata=option("Processes on this machine.", unset="one a GPU, or one a CPU core")
    )
    out: str = field(metadata=option("Folder or s3://bucket/prefix.", metavar="DATASET"))
    retry_failed: bool = field(
        default=False, metadata=option("Make the failed images of a finished dataset again, with other seeds.")
    )

    def __post_init__(self) -> None:
        check_options(self)
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
