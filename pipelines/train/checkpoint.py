"""Checkpoints of a training run: whole or absent, and complete enough to go on bit for bit.

    RUN/checkpoints/step-000001250/model.safetensors       weights, running statistics, the memory of class means
                                   optimiser.safetensors   momentum
                                   state.json              step, the loader's place, random states, what was asked for
                                   records.parquet         notes of the unfinished epoch, where notes are taken
                                   kept.safetensors        weights of the best epoch, where they are other ones

Owns the files and their order: a folder gets its final name after everything in it has reached the disk, and loses it
before anything in it is removed, so a run that is killed finds a whole checkpoint. The price: for a moment the disk
holds one checkpoint more than is kept.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from shardtools.documents import read_json
from shardtools.errors import DatasetError, NoSpaceError, PlanMismatchError, StorageError, first_line
from shardtools.training.run_file import changed_settings

CHECKPOINT_VERSION = 1
_FOLDER = "checkpoints"
_PARTIAL = ".partial-"
_KEPT_FILE = "kept.safetensors"


@dataclass(slots=True, kw_only=True)
class Checkpoint:
    """A run after a step.

    Attributes:
        step: Optimiser steps that are done.
        model: Name -> tensor.
        optimizer: Of `optimizer_tensors`.
        loader: The loader's state.
        settings: The options that change the weights, `TrainOptions.result()`.
        random_states: Of torch's generator in each process, as hexadecimal bytes.
        scaler: State of the loss scaler of fp16; empty otherwise.
        images: Training images seen so far.
        path: Its folder, once it has one.
        kept: Of `Kept.facts`, where an epoch is chosen; `None` otherwise.
        kept_model: The weights of that epoch; empty where they are those of `model`.
    """

    step: int
    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    loader: dict[str, Any]
    settings: dict[str, Any]
    random_states: list[str]
    scaler: dict[str, Any] = field(default_factory=dict)
    images: int = 0
    path: Path | None = None
    kept: dict[str, Any] | None = None
    kept_model: Mapping[str, torch.Tensor] = field(default_factory=dict)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's memory of each parameter, named by the parameter's number."""
    found = {}
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                found[f"{number}.{name}"] = value
    return found


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """The opposite of `optimizer_tensors`."""
    content = optimizer.state_dict()
    content["state"] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        content["state"].setdefault(int(number), {})[key] = value
    optimizer.load_state_dict(content)


def save_checkpoint(
    run: Path, checkpoint: Checkpoint, *, keep: int, extra: Callable[[Path], None] | None = None
) -> None:
    """Writes a checkpoint and removes those that are not kept any more.

    Args:
        run: Folder of the run.
        checkpoint: What to write; its tensors may be on any device.
        keep: Older checkpoints that stay, at least 1.
        extra: Writes further files into the folder that it is given.

    Raises:
        NoSpaceError: The disk is full; the checkpoints before are kept.
        StorageError: It cannot be written for another reason.
    """
    final = run / _FOLDER / f"step-{checkpoint.step:09d}"
    if final.exists():
        # Of the same step of the same run: what is in it is what would be written.
        return
    folder = final.with_name(_PARTIAL + final.name)
    try:
        # Before writing: what a kill left takes the room that this one needs.
        _remove_partial(run)
        folder.mkdir(parents=True)
        _write_files(checkpoint, folder, extra)
        folder.rename(final)
        # The new name is on the disk before an older checkpoint goes, so there is a whole one at any time.
        sync_folder(final.parent)
        for old in list_checkpoints(run)[: -1 - keep]:
            shutil.rmtree(old.rename(old.with_name(_PARTIAL + old.name)))
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise not_written(f"{run / _FOLDER}: the checkpoint of step {checkpoint.step}", error) from None


def _write_files(checkpoint: Checkpoint, folder: Path, extra: Callable[[Path], None] | None) -> None:
    save_tensors(checkpoint.model, folder / "model.safetensors")
    save_tensors(checkpoint.optimizer, folder / "optimiser.safetensors")
    state = {
        "version": CHECKPOINT_VERSION,
        "step": checkpoint.step,
        "images": checkpoint.images,
        "loader": checkpoint.loader,
        "settings": checkpoint.settings,
        "random_states": checkpoint.random_states,
        "scaler": checkpoint.scaler,
        **({} if checkpoint.kept is None else {"kept": checkpoint.kept}),
    }
    if checkpoint.kept_model:
        save_tensors(checkpoint.kept_model, folder / _KEPT_FILE)
    _write(folder / "state.json", (json.dumps(state, indent=1) + "\n").encode())
    if extra is not None:
        extra(folder)
    sync_folder(folder)


def _remove_partial(run: Path) -> None:
    """What kills have left, of this step or another."""
    for folder in (run / _FOLDER).glob(f"{_PARTIAL}*"):
        shutil.rmtree(folder)


def not_written(what: str, error: OSError | SafetensorError) -> StorageError:
    """The error for a file of a run that cannot be written.

    Args:
        what: Names it.
        error: What happened; safetensors tells of the system's error in words alone.
    """
    reason = first_line(error)
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or "os error 28" in reason:
        return NoSpaceError(f"{what} was not written, the disk is full: free space, the same command then resumes")
    return StorageError(f"{what} was not written: {reason}: mend it, the same command then resumes")


def list_checkpoints(run: Path) -> list[Path]:
    """Folders of the checkpoints, the oldest first."""
    return sorted((run / _FOLDER).glob("step-*"))


def load_checkpoint(path: Path, settings: Mapping[str, Any]) -> Checkpoint:
    """Reads a checkpoint.

    Args:
        path: Its folder.
        settings: What the run asks for, to compare.

    Raises:
        PlanMismatchError: It is of a run with other options.
        DatasetError: A file is missing or damaged.
    """
    try:
        state = read_json((path / "state.json").read_bytes())
        version = state["version"]
        if version != CHECKPOINT_VERSION:
            raise DatasetError(f"{path}: expected checkpoint version {CHECKPOINT_VERSION}, found {version!r}")
        # Before the tensors: another run's options say more than shapes that do not fit.
        check_settings(path, state["settings"], settings)
        return Checkpoint(
            step=state["step"],
            model=load_file(path / "model.safetensors"),
            optimizer=load_file(path / "optimiser.safetensors"),
            loader=state["loader"],
            settings=state["settings"],
            random_states=state["random_states"],
            scaler=state["scaler"],
            images=state["images"],
            path=path,
            kept=state.get("kept"),
            kept_model=load_file(path / _KEPT_FILE) if (path / _KEPT_FILE).exists() else {},
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DatasetError(
            f"{path}: the checkpoint is damaged ({type(error).__name__}: {first_line(error)}): remove this "
            "folder, and the run goes on from the checkpoint before"
        ) from None


def check_settings(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """That a checkpoint is of a run that was asked for the same.

    Raises:
        PlanMismatchError: It is not; the message names what differs.
    """
    changes = changed_settings(found, wanted)
    if changes:
        shown = "; ".join(changes[:3])
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise PlanMismatchError(
            f"{path}: a checkpoint of another run ({shown}{more}): give the options of that run, or another --out"
        )


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Writes tensors of any device, and waits until they have reached the disk."""
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Waits until the names in a folder have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def newest_checkpoint(run: Path, settings: Mapping[str, Any]) -> Checkpoint | None:
    """The checkpoint that a run goes on from; `None` where there is none."""
    paths = list_checkpoints(run)
    return load_checkpoint(paths[-1], settings) if paths else None
