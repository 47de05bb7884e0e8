"""A model given as a file of weights, or as a folder that timm saved.

Owns how a file says which network it is: by the run or the config.json beside it, or by the name under which a library
published it (with the digest in it). The price: a file of another name needs the network's name (`--weights`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from shardtools.documents import read_json
from shardtools.errors import OptionError
from shardtools.evaluation import ModelOptions
from shardtools.pipelines.encoders.local_models import CONFIG_FILE
from shardtools.pipelines.evaluate.models.opened import Opened
from shardtools.pipelines.evaluate.models.published import TIMM, fill_timm, opened_timm
from shardtools.quoting import shell_word

_LITE_FILE = re.compile(r"efficientnet-(lite[012])-[0-9a-f]{8}\.pth")
_WNID = re.compile(r"n\d{8}")
_FILES = ("model.safetensors", "pytorch_model.bin")


def network_of_file(path: Path) -> str:
    """Name of the network whose published weights a file is: "lite1", "timm:vgg11.tv_in1k", "resnet50.IMAGENET1K_V2".

    Raises:
        OptionError: Its name says nothing.
    """
    if found := _LITE_FILE.fullmatch(path.name):
        return found[1]
    import timm.models
    from torchvision import models

    # torchvision first: timm names its files too.
    for name in models.list_models(module=models):
        for entry in models.get_model_weights(name):
            if entry.url.rpartition("/")[2] == path.name:
                return f"{name}.{entry.name}"
    for name in timm.list_models(pretrained=True):
        cfg = timm.models.get_pretrained_cfg(name)
        if cfg is not None and str(cfg.url or "").rpartition("/")[2] == path.name:
            return f"{TIMM}{name}"
    file = shell_word(str(path))
    raise OptionError(
        f"model {path}: the file does not say which network it is of: give the network's name as MODEL and --weights "
        f"{file}, as in timm:resnet50 --weights {file}"
    )


def timm_config(folder: Path) -> dict[str, Any] | None:
    """What timm wrote beside its weights; `None` where the folder is none of timm's."""
    try:
        found = read_json((folder / CONFIG_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("architecture"), str) else None


def open_timm_folder(options: ModelOptions, folder: Path, config: dict[str, Any]) -> Opened:
    """A network as timm's `save_for_hf` leaves it: its architecture, classes and preprocessing with the weights.

    Args:
        options: Which may name another file of weights.
        folder: Of the network.
        config: See `timm_config`.

    Raises:
        OptionError: The architecture is not known, or the weights are missing or do not fit.
    """
    import timm

    name = config["architecture"]
    path = options.weights or next((str(folder / file) for file in _FILES if (folder / file).is_file()), None)
    if path is None or not timm.is_model(name):
        raise OptionError(
            f"{folder}: expected a network of timm and its weights ({' or '.join(_FILES)}), found "
            f"{name if path else 'no weights'}: copy the folder whole"
        )
    said = {**config.get("pretrained_cfg", {}), "num_classes": config.get("num_classes", 0)}
    arguments: dict[str, Any] = config.get("model_args") or {}

    def make(**changes: Any) -> Any:
        known = {"num_classes": said["num_classes"], **arguments, **changes}
        return timm.create_model(name, pretrained_cfg=said, **known)

    found = opened_timm(f"{TIMM}{name}", fill_timm(path, make, f"{TIMM}{name}"))
    labels = config.get("label_names") or said.get("label_names")
    if isinstance(labels, list) and len(labels) == found.num_outputs and all(_WNID.fullmatch(str(n)) for n in labels):
        return replace(found, classes=tuple(map(str, labels)))
    return found
