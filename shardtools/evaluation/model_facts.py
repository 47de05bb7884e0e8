"""What decides on a network's outputs, but the image: the network, its weights, its classes, how pixels are prepared.

Owns the rule that an output is a class by its wnid, never by its number: what a network's outputs stand for is written
down with it, and datasets are mapped by name. The price of a fingerprint over all of it: the same weights behind
another resize are another model, and their predictions lie side by side instead of in one table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shardtools.documents import FieldError, build
from shardtools.errors import DatasetError, OptionError

MODEL_CROPS = ("center", "resize")
MODEL_PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """A classifier, as its predictions are written beside it.

    Attributes:
        name: Of the network: "lite0", "timm:resnet50.tv_in1k", "clip:clip".
        weights_sha256: Digest over names, types, shapes and values of its weights; of a zero-shot model over its
            class texts too.
        num_outputs: Logits an image, C.
        classes: The wnid (or the user's own class name) of each output, "" for an output that stands for none; `None`
            where it is not known what the outputs are.
        crop: "center" (shorter side to `resize`, the central square) or "resize" (the whole image to the square).
        image_size: Side of the square in pixels.
        resize: Shorter side of the resized image in pixels, with "center"; else as `image_size`.
        interpolation: Of the resize.
        enlarge: Side in pixels that the square is enlarged to by bicubic interpolation before the network sees it, as
            seed 001 does for some sets; `None` for a network that sees the square as it is.
        mean: Of the pixels, red, green, blue, on the scale of 0 to 1; they are taken off.
        std: Likewise, above 0; what is left is divided by them.
        precision: Of the forward pass, one of `MODEL_PRECISIONS`.

    Raises:
        OptionError: A value is out of range, or the classes are not as many as the outputs.
    """

    name: str
    weights_sha256: str
    num_outputs: int
    classes: tuple[str, ...] | None = None
    crop: str = "center"
    image_size: int = 224
    resize: int = 256
    interpolation: str = "bilinear"
    enlarge: int | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.num_outputs < 1:
            raise OptionError(f"{self.name}: a classifier has at least 1 output, found {self.num_outputs}")
        if self.classes is not None:
            if len(self.classes) != self.num_outputs:
                raise OptionError(
                    f"{self.name} has {self.num_outputs} outputs, found {len(self.classes)} classes: expected one for "
                    "each output"
                )
            named = [name for name in self.classes if name]
            if len(set(named)) != len(named):
                twice = next(name for name in named if named.count(name) > 1)
                raise OptionError(f"{self.name}: class {twice} stands for two outputs: expected each class once")
        for name, known in (("crop", MODEL_CROPS), ("precision", MODEL_PRECISIONS)):
            if getattr(self, name) not in known:
                raise OptionError(f"{name} is one of {', '.join(known)}, found {getattr(self, name)!r}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise OptionError(
                f"mean and std are three numbers, std above 0, found {list(self.mean)} and {list(self.std)}"
            )
        if min(self.image_size, self.resize, 1 if self.enlarge is None else self.enlarge) < 1:
            raise OptionError(f"sides are at least 1 pixel, found {self.image_size}, {self.resize} and {self.enlarge}")

    @property
    def fingerprint(self) -> str:
        """sha256 over all fields, in hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    @property
    def output_of(self) -> dict[str, int]:
        """Wnid -> the number of its output; empty where the classes are not known."""
        return {name: number for number, name in enumerate(self.classes or ()) if name}

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON has them; tuples are lists."""
        found = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any], *, where: str) -> ModelFacts:
        """The reverse of `to_dict`; `where` names the file in messages.

        Raises:
            DatasetError: A field is missing, unknown or of another type.
        """
        try:
            return build(cls, dict(found))
        except (FieldError, OptionError) as error:
            raise DatasetError(f"{where}: expected the facts of a model, found another content ({error})") from None
