"""Files of weights in a model's folder: which set of them is to be loaded, and that none is a pickle.

Owns the look at names, before any weight is read. A pickle can run any program while it is loaded, so only safetensors
are taken. The price: an old folder is converted once, by the command that the message gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from shardtools.quoting import shell_word

SAFE_SUFFIX = ".safetensors"
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
_SHARD_NUMBER = re.compile(r"-\d+-of-\d+$")
_NO_WEIGHTS = ("training_args", "optimizer", "scheduler", "random_states", "rng_state")
"""Beginnings of the names of pickles that trainers leave and nobody loads."""


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights that are loaded."""
    return any(file.suffix == SAFE_SUFFIX for file in _files(folder))


def pickles(folder: Path) -> list[Path]:
    """Weights in a folder that holds them as pickles alone."""
    if has_weights(folder):
        return []
    return [file for file in _files(folder) if file.suffix in _PICKLES and not file.name.startswith(_NO_WEIGHTS)]


def pickle_message(found: list[Path]) -> str:
    """What is wrong with pickles, and the command that makes safetensors of the first (each needs one)."""
    source = found[0]
    stem = source.name.removesuffix(source.suffix).replace("pytorch_model", "model")
    # Diffusers keeps its own longer name, transformers has the short one.
    if "diffusion_pytorch_model" in source.name:
        stem = source.name.removesuffix(source.suffix)
    program = (
        "import sys, torch, safetensors.torch as s; "
        "w = torch.load(sys.argv[1], map_location='cpu', weights_only=True); "
        "s.save_file({k: v.clone().contiguous() for k, v in w.items()}, sys.argv[2], {'format': 'pt'})"
    )
    target = source.with_name(stem + SAFE_SUFFIX)
    command = " ".join(["python", "-c", *map(shell_word, (program, str(source), str(target)))])
    also = f" (and {len(found) - 1} more, each the same way)" if len(found) > 1 else ""
    return (
        f"{source.parent}: expected weights as {SAFE_SUFFIX}, found {source.name}{also}, a pickle, which could run any "
        f"program while it is loaded: convert it once: {command}"
    )


def find_variant(folders: Iterable[Path]) -> str | None:
    """The variant of weights ("fp16") that has to be named, because some folder holds no other; `None`: none has."""
    for folder in folders:
        variants = {_variant(file) for file in _files(folder) if file.suffix == SAFE_SUFFIX}
        if variants and None not in variants:
            return sorted(one for one in variants if one is not None)[0]
    return None


def _variant(file: Path) -> str | None:
    """The word "fp16" of "model.fp16.safetensors" and of "model.fp16-00001-of-00002.safetensors"."""
    stem = _SHARD_NUMBER.sub("", file.name.removesuffix(SAFE_SUFFIX))
    return stem.partition(".")[2] or None


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
