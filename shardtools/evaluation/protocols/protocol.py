"""A published protocol: which models, and how the images of which set are prepared for each.

Owns the contract that a protocol is data: a table of models and a function from (model, set) to a step. The price of
refusing what a protocol does not say: a pair that its authors never ran has no figure to compare with either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shardtools.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolStep:
    """How an image becomes what a network sees; names as in `ModelFacts`.

    Attributes:
        crop: "center" or "resize".
        image_size: Side of the square in pixels.
        resize: Shorter side of the resized image, with "center".
        interpolation: Of the resize.
        enlarge: Side that the square is enlarged to by bicubic interpolation, after it was cut; `None` for none.
        files: Side of the square files that it is made for, which nothing is cut off; `None` for pictures of any size.
        mean: Of the pixels, 0 to 1.
        std: Likewise.
    """

    crop: str
    image_size: int
    resize: int
    interpolation: str
    enlarge: int | None = None
    files: int | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolModel:
    """A model that a protocol names.

    Attributes:
        network: What this project calls it ("timm:NAME", or torchvision's name and weights); `None` where neither
            library has the network.
        family: What the steps depend on.
        size: Side of the square that it was made for, in pixels.
        is_published: Whether that library has these very weights; else they come from a file.
        note: What is particular about it, for the message that refuses it.
    """

    network: str | None
    family: str
    size: int = 224
    is_published: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A protocol.

    Attributes:
        name: As it is typed.
        models: Its own name of a model -> the model.
        steps: Set -> family -> what is done; an `image_size` of 0 stands for the model's size, as does an `enlarge`
            of 0. A family that is not there was not run on the set.
        gaps: (Set, family) -> why there is none.
    """

    name: str
    models: Mapping[str, ProtocolModel]
    steps: Mapping[str, Mapping[str, ProtocolStep]]
    gaps: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def find(self, model: str) -> tuple[str, ProtocolModel]:
        """A model by the protocol's name or by this project's, the first one where several share a network.

        Raises:
            OptionError: The protocol has no such model.
        """
        if model in self.models:
            return model, self.models[model]
        for name, one in self.models.items():
            # moco_v2 is a resnet50 too, and its weights are its own.
            if one.network == model and one.is_published:
                return name, one
        raise OptionError(
            f"protocol {self.name} has {len(self.models)} models ({', '.join(list(self.models)[:4])}, ...), found "
            f"{model!r}: leave --protocol out, images are then prepared as the model was trained"
        )

    def step(self, model: str, set_name: str) -> ProtocolStep:
        """What is done to an image of a set for a model.

        Raises:
            OptionError: The protocol has no such model or set, or did not run the one on the other.
        """
        if set_name not in self.steps:
            raise OptionError(f"protocol {self.name} has the sets {', '.join(self.steps)}, found {set_name!r}")
        name, found = self.find(model)
        families = self.steps[set_name]
        if found.family not in families:
            why = self.gaps.get((set_name, found.family), "its authors did not run it there")
            raise OptionError(
                f"protocol {self.name} does not say how {set_name} is prepared for {name} ({why}): leave --protocol "
                "out there, and say so beside the figure"
            )
        said = families[found.family]
        size = said.image_size or found.size
        # A square of 224 is not enlarged to 224.
        enlarge = None if said.enlarge is None or found.size == size else found.size
        return replace(said, image_size=size, resize=said.resize or size, enlarge=enlarge)
