"""Networks in the folders that transformers writes: loaded from this machine, or refused with one line.

Owns what is asked of such a folder: every weight that is used must be in it, since a network whose missing weights are
drawn at random gives features too. Dual encoders (CLIP, SigLIP and their like) have an image and a text tower with one
space; the price of one digest over both towers is that an image tower alone has another fingerprint.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from shardtools.documents import read_json
from shardtools.errors import OptionError, first_line
from shardtools.generation import find_variant, pickle_message, pickles
from shardtools.words import counted

PREFIXES = ("transformers:", "clip:")
"""What may stand before the folder of a network of transformers."""

CONFIG_FILE = "config.json"
_PREPROCESSING_FILES = ("preprocessor_config.json", "processor_config.json")
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic", 4: "area"}
"""Pillow's numbers of resampling filters."""

_LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What is done to an image; names as in `EncoderFacts`."""

    crop: str = "center"
    image_size: int = 224
    resize: int = 256
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


class ImageTower(nn.Module):
    """The image tower of a dual encoder: [N, 3, H, W] to [N, D], in the space of its texts."""

    def __init__(self, model: nn.Module) -> None:
        """Takes a dual encoder, which loses its text tower: that would lie on every GPU."""
        super().__init__()
        self.model = model
        self.model.text_model = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return pooled(self.model.get_image_features(pixel_values=images))  # type: ignore[operator]


def local_folder(encoder: str) -> Path | None:
    """The folder that an encoder's name means, `None` where it means no network of transformers.

    Raises:
        OptionError: A prefix says that it is one, and there is none.
    """
    prefix = next((prefix for prefix in PREFIXES if encoder.startswith(prefix)), "")
    folder = Path(encoder.removeprefix(prefix))
    if (folder / CONFIG_FILE).is_file():
        return folder
    if not prefix:
        return None
    there = "a folder without it" if folder.is_dir() else "no such folder"
    raise OptionError(
        f"encoder {encoder!r}: expected a folder of transformers with {CONFIG_FILE} on this machine, found {there} "
        f"({folder}): nothing is downloaded, so put the model there or give its path"
    )


def load_model(folder: Path, *, unused: tuple[str, ...] = ()) -> Any:
    """The network of a folder, float32, on the CPU, in evaluation mode.

    Args:
        folder: As transformers writes it.
        unused: Beginnings of the names of weights that may be missing.

    Raises:
        OptionError: It cannot be loaded, or lacks weights.
    """
    if pickled := pickles(folder):
        raise OptionError(pickle_message(pickled))
    transformers.utils.logging.disable_progress_bar()
    verbosity = transformers.utils.logging.get_verbosity()
    # It writes a report of what is missing to standard error, which is said in one line below.
    transformers.utils.logging.set_verbosity_error()
    try:
        model, found = transformers.AutoModel.from_pretrained(
            str(folder),
            local_files_only=True,
            output_loading_info=True,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            variant=find_variant([folder]),
        )
    except _LOADING_ERRORS as error:
        raise OptionError(
            f"{folder} cannot be loaded as a network of transformers ({first_line(error)}): expected {CONFIG_FILE} "
            "and its weights (model.safetensors)"
        ) from None
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
    # Transformers fills what is missing at random, and says so only in a warning.
    missing = sorted(name for name in found["missing_keys"] if not name.startswith(unused or ("\0",)))
    if missing:
        raise OptionError(
            f"{folder} lacks {counted(len(missing), 'weight')} of {type(model).__name__} ({missing[0]}, ...), "
            "and features of "
            "random weights say nothing: expected a whole model"
        )
    return model.eval().requires_grad_(False)


def is_dual(model: Any) -> bool:
    """Whether a network has an image and a text tower with one space."""
    return hasattr(model, "get_text_features") and hasattr(model, "get_image_features")


def model_name(model: Any) -> str:
    """Its name in a fingerprint, wherever it lies: "transformers:clip"."""
    return f"transformers:{model.config.model_type}"


def pooled(output: Any) -> torch.Tensor:
    """The features of a tower; transformers 4 gives them as they are."""
    features: torch.Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return features


def load_image_tower(folder: Path) -> tuple[str, nn.Module, str, int, Preprocessing]:
    """Name, network, digest of both towers' weights, D and preprocessing of a dual encoder.

    Raises:
        OptionError: It is none, or lacks weights, or what it does to images is not known or not done here.
    """
    model, preprocessing = load_dual_encoder(folder)
    name, digest, tower = model_name(model), weights_digest(model), ImageTower(model)
    side = preprocessing.image_size
    with torch.inference_mode():
        dim = int(tower(torch.zeros(1, 3, side, side)).shape[1])
    return name, tower, digest, dim, preprocessing


def load_dual_encoder(folder: Path) -> tuple[Any, Preprocessing]:
    """A dual encoder with both towers, and what it does to images.

    Raises:
        OptionError: It is none, or lacks weights, or what it does to images is not known or not done here.
    """
    model = load_model(folder)
    if not is_dual(model):
        raise OptionError(
            f"{folder} holds {type(model).__name__}, which has no image tower: expected a dual encoder such as CLIP or "
            "SigLIP; for other networks take timm:NAME with --weights FILE"
        )
    preprocessing = read_preprocessing(folder)
    side = int(model.config.vision_config.image_size)
    if preprocessing.image_size != side:
        raise OptionError(f"{folder} prepares images of {preprocessing.image_size} pixels for a network of {side}")
    return model, preprocessing


def read_preprocessing(folder: Path) -> Preprocessing:
    """What `preprocessor_config.json` says is done to an image.

    Raises:
        OptionError: It is not there, or says what is not done here: no resizing, pieces that are no squares.
    """
    path = next((folder / name for name in _PREPROCESSING_FILES if (folder / name).is_file()), None)
    if path is None:
        raise OptionError(f"{folder} has no {_PREPROCESSING_FILES[0]}, which says how images are prepared: add it")
    try:
        fields: dict[str, Any] = read_json(path.read_bytes())
        fields = fields.get("image_processor", fields)
        return _preprocessing(fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OptionError(
            f"{path}: expected squares that are resized, scaled to 0..1 and normalised, found something else "
            f"({first_line(error)}): extract with another encoder"
        ) from None


def _preprocessing(fields: dict[str, Any]) -> Preprocessing:
    if not fields.get("do_resize", True):
        raise ValueError("do_resize is false")
    scale = float(fields.get("rescale_factor", 1 / 255))
    if not fields.get("do_rescale", True) or abs(scale * 255 - 1) > 1e-3:
        raise ValueError(f"rescale_factor is {scale}")
    normalizes = fields.get("do_normalize", True)
    size = fields["size"]
    shortest = size if isinstance(size, int) else size.get("shortest_edge")
    if fields.get("do_center_crop", False) and shortest is not None:
        crop, resize, side = "center", int(shortest), _side(fields["crop_size"])
    else:
        crop, side = "resize", _side(size)
        resize = side
    return Preprocessing(
        crop=crop,
        image_size=side,
        resize=resize,
        interpolation=_INTERPOLATIONS.get(int(fields.get("resample", 3)), "bicubic"),
        mean=tuple(map(float, fields["image_mean"])) if normalizes else (0.0, 0.0, 0.0),
        std=tuple(map(float, fields["image_std"])) if normalizes else (1.0, 1.0, 1.0),
    )


def _side(size: Any) -> int:
    if isinstance(size, int):
        return size
    height, width = int(size["height"]), int(size["width"])
    if height != width:
        raise ValueError(f"size is {height} x {width}")
    return height


def weights_digest(network: nn.Module) -> str:
    """sha256 over names, types, shapes and values of a network's state, in the order of names."""
    total = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue  # what a batch norm counts changes no feature, and older files lack it
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
