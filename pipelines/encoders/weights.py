"""Files of weights: read, and put into a network, all of it or not at all.

Owns which files fit. Names are compared after what DDP, a wrapper or a saved classifier puts before them; the price is
that a network whose names are another's, with that before them, would be taken for it.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from shardtools.errors import OptionError
from shardtools.words import counted

_PREFIXES = ("", "module.", "network.", "encoder.", "encoder.network.")
"""What may stand before a name in a file: nothing, DDP's, this module's, and a saved `Classifier`'s."""

_CONVERT = (
    "save the model's state_dict() (where you trust the file: torch.save(torch.load(FILE, weights_only=False)"
    ".state_dict(), NEW))"
)


def fill(
    network: nn.Module, found: Mapping[str, torch.Tensor], where: str, name: str, removed: tuple[str, ...] = ()
) -> None:
    """Fills a network with the tensors of a file, all of it.

    Args:
        network: What is filled.
        found: Names and tensors; before each name may stand what DDP or a wrapper puts there.
        where: Names the file in messages.
        name: Names the network.
        removed: Parts that the file may have beyond those of the network.

    Raises:
        OptionError: A tensor is missing, of another shape, or unknown.
    """
    wanted = network.state_dict()
    prefix = prefix_of(found, wanted)
    own = {key.removeprefix(prefix): tensor for key, tensor in found.items() if key.startswith(prefix)}
    # What a batch norm counts is in no file of older releases, and changes nothing.
    missing = [key for key in wanted if key not in own and not key.endswith("num_batches_tracked")]
    strange = [key for key in own if key not in wanted and not key.startswith(tuple(f"{part}." for part in removed))]
    unlike = [key for key in wanted if key in own and own[key].shape != wanted[key].shape]
    kind = name.partition(" ")[0]
    for what, keys in (("lacks", missing), ("has, beyond those of the network,", strange)):
        if keys:
            raise OptionError(
                f"{where} do not fit {name}: the file {what} {counted(len(keys), 'tensor')}, first {keys[0]}: "
                f"give the {kind} that the file was made with"
            )
    if unlike:
        key = unlike[0]
        raise OptionError(
            f"{where} do not fit {name}: {key} is {list(wanted[key].shape)} in the network, found "
            f"{list(own[key].shape)} in the file: give the {kind} that the file was made with"
        )
    network.load_state_dict({key: own.get(key, tensor) for key, tensor in wanted.items()})


def prefix_of(found: Mapping[str, torch.Tensor], wanted: Iterable[str]) -> str:
    """What stands before a network's names in a file: that under which most of the network is found."""
    wanted = list(wanted)
    return max(_PREFIXES, key=lambda prefix: sum(prefix + key in found for key in wanted))


def read_weights(path: str) -> Mapping[str, torch.Tensor]:
    """Names and tensors of a file; torch's own may hold them under "state_dict" or "model".

    Raises:
        OptionError: There is none, or it holds other things than tensors; code in a pickle is not run.
    """
    if not Path(path).is_file():
        raise OptionError(f"weights {path}: expected a local file, found none: check the path")
    try:
        if path.endswith(".safetensors"):
            stored: dict[str, torch.Tensor] = safetensors.torch.load_file(path)
            return stored
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, ValueError, RuntimeError, pickle.UnpicklingError, SafetensorError) as error:
        raise OptionError(
            f"weights {path}: expected tensors as safetensors or a state dict of torch without other objects, found "
            f"neither ({type(error).__name__}): {_CONVERT}"
        ) from error
    if isinstance(loaded, Mapping):
        loaded = next((loaded[key] for key in ("state_dict", "model") if isinstance(loaded.get(key), Mapping)), loaded)
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise OptionError(f"weights {path}: expected names with tensors, found other values: {_CONVERT}")
    return cast(Mapping[str, torch.Tensor], loaded)
