"""Which generator is meant: a folder, a hub id or the embedded one; its digest, scheduler and size.

Owns the lookup, from files alone: no weight is loaded and torch is not imported here. The price: what a pipeline
makes by default is read from its config files, so an unusual folder needs --width and --height.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from shardtools.documents import read_json
from shardtools.errors import ModelError, first_line
from shardtools.generation.options import EMBEDDED_MODEL
from shardtools.hashes import stream_digest

_WEIGHT_FOLDERS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "safety_checker")
_WEIGHT_SUFFIXES = (".safetensors", ".bin")
_IGNORED_SUFFIXES = (".md", ".msgpack", ".onnx", ".onnx_data", ".ckpt", ".png", ".jpg", ".gitattributes")
_HUB_PATTERNS = ["*.json", "*.txt", "*.model", "*/*.safetensors"]
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A pipeline on this machine.

    Attributes:
        path: Its folder.
        model_id: Folder name or hub id.
        digest: sha256 over the names and contents of its files.
        pipeline: Class name of the pipeline.
        scheduler: Class name of its own scheduler.
        width: Pixels it makes by default; `None` where its files don't say.
        height: Pixels, likewise.
    """

    path: Path
    model_id: str
    digest: str
    pipeline: str
    scheduler: str
    width: int | None
    height: int | None


def resolve_model(model: str) -> ResolvedModel:
    """Finds the pipeline that `model` names.

    Args:
        model: "fashion-sd" (embedded), a folder, or a hub id such as "CompVis/stable-diffusion-v1-4".

    Raises:
        ModelError: No such pipeline, or a folder without an index or without weights.
    """
    path = Path(model).expanduser()
    if model == EMBEDDED_MODEL:
        # Before folders: gen-sd names its default dataset after the model, so a folder of that name is likely here.
        path, model_id = Path(str(files("shardtools"))) / "models" / EMBEDDED_MODEL, model
    elif path.is_dir():
        model_id = path.resolve().name
    elif re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", model):
        path, model_id = _download(model), model
    else:
        raise ModelError(
            f"model {model!r} is neither a folder, a hub id (owner/name) nor {EMBEDDED_MODEL}: check --model"
        )
    index = _read_json(path / "model_index.json", path)
    _check_weights(path, index)
    width, height = _default_size(path)
    return ResolvedModel(
        path=path,
        model_id=model_id,
        digest=folder_digest(path),
        pipeline=index.get("_class_name", "DiffusionPipeline"),
        scheduler=index.get("scheduler", [None, "unknown"])[1],
        width=width,
        height=height,
    )


def folder_digest(path: Path) -> str:
    """sha256 over (relative name, content sha256) of the pipeline's files in name order; documents are left out.

    The content digests of large files are remembered by (path, size, time) in the user's cache folder.
    """
    remembered = _DigestCache()
    total = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        name = file.relative_to(path).as_posix()
        if file.suffix.lower() in _IGNORED_SUFFIXES or any(part.startswith(".") for part in name.split("/")):
            continue
        total.update(f"{name}\0{remembered.digest(file)}\n".encode())
    remembered.save()
    return total.hexdigest()


def cache_folder() -> Path:
    """Where shardtools remembers what it may forget: $XDG_CACHE_HOME/shardtools."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shardtools"


class _DigestCache:
    """Digests of large files, so that 5 GB of weights are not hashed at every start."""

    def __init__(self) -> None:
        self._path = cache_folder() / "digests.json"
        self._changed = False
        try:
            self._known: dict[str, str] = read_json(self._path.read_text())
        except (OSError, ValueError):
            self._known = {}

    def digest(self, file: Path) -> str:
        stat = file.stat()
        name = f"{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"
        if stat.st_size < 64 * _READ_BYTES:
            return _file_digest(file)
        if name not in self._known:
            self._known[name] = _file_digest(file)
            self._changed = True
        return self._known[name]

    def save(self) -> None:
        if self._changed:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            temporary.write_text(json.dumps(self._known))
            temporary.replace(self._path)


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return stream_digest(stream)


def _download(hub_id: str) -> Path:
    """The pipeline's snapshot in the hub's cache, fetched where it is not complete."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelError("a hub id needs the generate extra: pip install 'shardtools[generate]'") from None
    try:
        return Path(snapshot_download(hub_id, allow_patterns=_HUB_PATTERNS))
    except Exception as error:
        # The hub client raises errors of many libraries (HTTP, TLS, its own); all mean that there is no such model
        # here.
        raise ModelError(
            f"model {hub_id!r} is no folder here and was not fetched from the hub ({first_line(error)}): check the "
            "name or the network"
        ) from None


def _read_json(file: Path, folder: Path) -> dict[str, Any]:
    try:
        content = read_json(file.read_text())
    except FileNotFoundError:
        raise ModelError(
            f"{folder} holds no {file.relative_to(folder)}: expected the folder of a diffusers pipeline"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read as JSON ({error}): fetch the pipeline again") from None
    if not isinstance(content, dict):
        raise ModelError(f"{file} holds no JSON object: fetch the pipeline again")
    return content


def _check_weights(path: Path, index: dict[str, Any]) -> None:
    for name in _WEIGHT_FOLDERS:
        if name not in index or index[name][0] is None:
            continue
        folder = path / name
        if not folder.is_dir() or not any(item.suffix in _WEIGHT_SUFFIXES for item in folder.iterdir()):
            raise ModelError(f"{folder} holds no weights ({' or '.join(_WEIGHT_SUFFIXES)}): fetch the pipeline again")


def _default_size(path: Path) -> tuple[int | None, int | None]:
    """Width and height as diffusers derives them: the denoiser's sample size times the decoder's scale."""
    for name in ("unet", "transformer"):
        file = path / name / "config.json"
        if file.is_file() and (path / "vae" / "config.json").is_file():
            sample_size = _read_json(file, path).get("sample_size")
            blocks = _read_json(path / "vae" / "config.json", path).get("block_out_channels")
            if isinstance(sample_size, int) and isinstance(blocks, list):
                pixels = sample_size * 2 ** (len(blocks) - 1)
                return pixels, pixels
    return None, None
