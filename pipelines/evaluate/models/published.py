"""Networks that torchvision and timm have by name, with weights of a file or those that they publish.

Owns what a library says of its own networks: how their evaluation prepares images, what their outputs are, which parts
are the classifier. A file with another number of outputs makes a network with as many. The price of filling every
tensor: a file of an older release that timm would rename on the way is refused; `--pretrained` has timm load it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shardtools.errors import OptionError, first_line
from shardtools.evaluation import ModelOptions
from shardtools.extras import require
from shardtools.pipelines.encoders.local_models import Preprocessing
from shardtools.pipelines.encoders.networks import AUXILIARY, HEADS
from shardtools.pipelines.encoders.weights import fill, prefix_of, read_weights
from shardtools.pipelines.evaluate.models.classes import imagenet_wnids
from shardtools.pipelines.evaluate.models.fetching import fetched, hub_url
from shardtools.pipelines.evaluate.models.opened import Opened

TIMM = "timm:"
_HUB = "hf-hub:"
_KINDS = ("bilinear", "bicubic")


def open_timm(options: ModelOptions, name: str) -> Opened:
    """A network of timm with its classifier.

    Args:
        options: What weights it gets.
        name: Without "timm:".

    Raises:
        OptionError: There is no such network, or no weights, or they do not fit.
        RunError: timm is missing, or published weights cannot be had.
    """
    require(f"model {TIMM}{name}", ("timm",), extra="train")
    import timm  # takes seconds

    is_hub = name.startswith(_HUB)
    if not is_hub and not timm.is_model(name.partition(".")[0]):
        raise _unknown(TIMM + name, [TIMM + known for known in timm.list_models()])
    if is_hub and not options.pretrained:
        raise OptionError(f"model {TIMM}{name} lies on the hub: give --pretrained, or the folder that it was copied to")
    if options.pretrained:
        cfg = None if is_hub else timm.models.get_pretrained_cfg(name)
        hub_id = name.removeprefix(_HUB) if is_hub else cfg.hf_hub_id if cfg is not None else None
        url = hub_url(hub_id) if hub_id else None
        network = fetched(TIMM + name, url, lambda: _timm_network(name, pretrained=True))
    else:
        network = fill_timm(_weights(options), partial(_timm_network, name), TIMM + name)
    return opened_timm(TIMM + name, network)


def _timm_network(name: str, **settings: Any) -> nn.Module:
    import timm

    try:
        network: nn.Module = timm.create_model(name, **settings)
    except RuntimeError as error:
        if settings.get("pretrained") and "No pretrained weights" not in str(error):
            raise
        raise OptionError(f"model {TIMM}{name}: timm refuses it: {first_line(error)}") from error
    return network


def fill_timm(path: str, make: Callable[..., nn.Module], name: str) -> nn.Module:
    """A network of timm with the weights of a file, and as many outputs as the file has.

    Args:
        path: Of the file.
        make: Makes the network; takes `num_classes`.
        name: Names the network in messages.

    Raises:
        OptionError: They do not fit.
    """
    found = read_weights(path)
    network = make()
    heads = vars(network)["default_cfg"].get("classifier") or ()
    names = [f"{head}.weight" for head in ((heads,) if isinstance(heads, str) else heads)]
    outputs = _outputs_of(found, network, names)
    if outputs is None:
        raise OptionError(
            f"weights {path} have no classifier for model {name} (expected {' or '.join(names) or 'one'}): a network "
            "without one gives features, see `shardtools features`"
        )
    if outputs != vars(network)["num_classes"]:
        network = make(num_classes=outputs)
    fill(network, found, f"weights {path}", f"model {name}")
    return network


def opened_timm(name: str, network: nn.Module) -> Opened:
    """What timm says of a network that has its weights.

    Raises:
        OptionError: It has no classifier, or images are prepared as is not done here.
    """
    outputs = int(vars(network)["num_classes"])
    if outputs < 1:
        raise OptionError(f"model {name} has no classifier in timm: expected a network with classes, take another")
    return Opened(
        name=name,
        network=network,
        num_outputs=outputs,
        classes=_timm_classes(network, outputs),
        preprocessing=_timm_preprocessing(name, network),
    )


def _timm_classes(network: nn.Module, outputs: int) -> tuple[str, ...] | None:
    """Wnids by timm's own lists, which also know ImageNet-12K, -21K and -22K."""
    import timm.data

    if outputs == 1000:
        return imagenet_wnids()
    data: Any = timm.data  # typed in part
    subset = data.infer_imagenet_subset(vars(network)["pretrained_cfg"])
    if subset is None:
        return None
    names = data.ImageNetInfo(subset).label_names()
    return tuple(names) if len(names) == outputs else None


def _timm_preprocessing(name: str, network: nn.Module) -> Preprocessing:
    """As timm's own evaluation prepares images: at the size of tests, where a network has one."""
    import timm.data

    data: Any = timm.data
    found: dict[str, Any] = data.resolve_data_config({}, model=network, use_test_size=True)
    size, share, mode = int(found["input_size"][-1]), float(found["crop_pct"]), found["crop_mode"]
    if mode not in ("center", "squash") or (mode == "squash" and share < 1):
        raise OptionError(
            f"model {name}: timm prepares its images by crop mode {mode!r} with a share of {share}, which is not done "
            "here: expected the centre, or the whole image"
        )
    kind = found["interpolation"]
    return Preprocessing(
        crop="center" if mode == "center" else "resize",
        image_size=size,
        # As timm rounds it.
        resize=math.floor(size / share),
        interpolation=kind if kind in _KINDS else "bicubic",
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
    )


def open_torchvision(options: ModelOptions, name: str) -> Opened:
    """A network of torchvision with its classifier.

    Args:
        options: What weights it gets.
        name: "resnet50", or with the name of published weights "resnet50.IMAGENET1K_V1".

    Raises:
        OptionError: There is no such network, or no weights, or they do not fit.
        RunError: torchvision is missing, or published weights cannot be had.
    """
    require(f"model {name}", ("torchvision",), extra="train")
    from torchvision import models  # takes seconds

    plain, _, tag = name.partition(".")
    if plain not in models.list_models(module=models):
        raise _unknown(name, [*models.list_models(module=models)])
    published = models.get_model_weights(plain)
    if tag and tag not in published.__members__:
        raise OptionError(f"model {name}: torchvision has the weights {', '.join(one.name for one in published)} of it")
    path = None if options.pretrained else _weights(options)
    entry = _published_entry(published, tag, path)
    if path is None:
        entry = entry or published.DEFAULT
        where = f"its weights {entry.name}"
        settings = {"progress": False, "check_hash": True, "weights_only": True}
        found = fetched(name, None, lambda: entry.get_state_dict(**settings))
    else:
        where, found = f"weights {path}", read_weights(path)
    network, outputs = _torchvision_network(plain, found, where, transforms_input=entry is not None)
    return Opened(
        name=f"{plain}.{entry.name}" if entry is not None else plain,
        network=network,
        num_outputs=outputs,
        classes=imagenet_wnids() if outputs == 1000 else None,
        # A file that nobody published was most likely made with what torchvision's first weights were made with.
        preprocessing=_torchvision_preprocessing(entry or next(iter(published))),
    )


def _published_entry(published: Any, tag: str, path: str | None) -> Any:
    """Which of torchvision's weights a name or a file means; `None` where neither says."""
    if tag:
        return published[tag]
    file = Path(path).name if path else None
    return next((entry for entry in published if entry.url.rpartition("/")[2] == file), None)


def _torchvision_network(
    name: str, found: Mapping[str, torch.Tensor], where: str, *, transforms_input: bool
) -> tuple[nn.Module, int]:
    from torchvision import models

    arguments: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # Their second classifiers make a tuple of the output in training; what is published takes its pixels scaled
        # otherwise, which the network does itself.
        arguments = {"aux_logits": False, "init_weights": False, "transform_input": transforms_input}
    network = models.get_model(name, weights=None, **arguments)
    head = next((child for child, _ in network.named_children() if child in HEADS), None)
    layers = [
        path
        for path, module in network.named_modules()
        if head is not None and path.split(".")[0] == head and isinstance(module, nn.Linear | nn.Conv2d)
    ]
    outputs = _outputs_of(found, network, [f"{layers[-1]}.weight"] if layers else [])
    if outputs is None:
        raise OptionError(f"{where} have no classifier for model {name}: expected the whole network")
    if outputs != 1000:
        network = models.get_model(name, weights=None, num_classes=outputs, **arguments)
    fill(network, found, where, f"model {name}", AUXILIARY)
    return network, outputs


def _torchvision_preprocessing(entry: Any) -> Preprocessing:
    preset = entry.transforms()
    return Preprocessing(
        image_size=int(preset.crop_size[0]),
        resize=int(preset.resize_size[0]),
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def _outputs_of(found: Mapping[str, torch.Tensor], network: nn.Module, names: Iterable[str]) -> int | None:
    """Outputs of the classifier in a file; `None` where it has none."""
    prefix = prefix_of(found, network.state_dict())
    heads = [found[prefix + name] for name in names if prefix + name in found]
    return int(heads[0].shape[0]) if heads else None


def _weights(options: ModelOptions) -> str:
    if options.weights is None:
        raise OptionError(
            f"model {options.model!r} has no weights on this machine, and predictions of random weights say nothing: "
            "give --weights FILE, or --pretrained where there is a network"
        )
    return options.weights


def _unknown(name: str, known: Iterable[str]) -> OptionError:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return OptionError(
        "MODEL is lite0, lite1, lite2, a training run's folder, clip:FOLDER, timm:NAME, a file of weights or a "
        f"classification model of torchvision, found {name!r}{hint}"
    )
