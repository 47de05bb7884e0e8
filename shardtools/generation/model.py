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
from shardtools.extras import require
from shardtools.generation.fitting import check_pipeline
from shardtools.generation.options import EMBEDDED_MODEL
from shardtools.generation.weights import SAFE_SUFFIX, find_variant, has_weights, pickle_message, pickles
from shardtools.hashes import stream_digest

_WITHOUT_WEIGHTS = ("scheduler", "tokenizer", "feature_extractor", "image_processor")
"""Beginnings of the names of a pipeline's parts that are settings alone."""

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
        is_embedded: Whether it is the one that ships with the package, wherever it lies.
    """

    path: Path
    model_id: str
    digest: str
    pipeline: str
    scheduler: str
    width: int | None
    height: int | None
    is_embedded: bool = False


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
        path, model_id = _embedded_path(), model
    elif path.is_dir():
        model_id = path.resolve().name
    elif re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", model):
        path, model_id = _download(model), model
    else:
        raise ModelError(
            f"model {model!r} is neither a folder, a hub id (owner/name) nor {EMBEDDED_MODEL}: check --model"
        )
    index = _read_json(path / "model_index.json", path)
    check_pipeline(path, index)
    _check_weights(path, index)
    width, height = _default_size(path)
    digest = folder_digest(path)
    return ResolvedModel(
        path=path,
        model_id=model_id,
        digest=digest,
        pipeline=index.get("_class_name", "DiffusionPipeline"),
        scheduler=_own_scheduler(path, index),
        is_embedded=model == EMBEDDED_MODEL or digest == folder_digest(_embedded_path()),
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
    require(f"the model {hub_id!r}, which is no folder here and so a hub id,", ("huggingface_hub",), extra="generate")
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    # A bar for each file, which nobody asked for: who called shows progress. The switch is the whole process's.
    were_disabled = are_progress_bars_disabled()
    if not were_disabled:
        disable_progress_bars()
    try:
        return Path(snapshot_download(hub_id, allow_patterns=_HUB_PATTERNS))
    except Exception as error:
        # The hub client raises errors of many libraries (HTTP, TLS, its own); all mean that there is no such model
        # here.
        raise ModelError(
            f"model {hub_id!r} is no folder here and was not fetched from the hub ({first_line(error)}): check the "
            "name or the network"
        ) from None
    finally:
        if not were_disabled:
            enable_progress_bars()


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
    found = []
    for folder in weight_folders(path, index):
        found += pickles(folder)
        if not has_weights(folder) and not found:
            raise ModelError(f"{folder} holds no weights ({SAFE_SUFFIX}): fetch the pipeline again")
    if found:
        raise ModelError(pickle_message(found))


def weight_folders(path: Path, index: dict[str, Any]) -> list[Path]:
    """The folders of the parts of a pipeline that have weights."""
    return [
        path / name
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[0] is not None
        if not name.startswith(("_", *_WITHOUT_WEIGHTS))
    ]


def weights_variant(path: Path) -> str | None:
    """The variant that diffusers has to be told of ("fp16"), `None` where the folder holds weights without a name."""
    return find_variant(weight_folders(path, _read_json(path / "model_index.json", path)))


def _embedded_path() -> Path:
    return Path(str(files("shardtools"))) / "models" / EMBEDDED_MODEL


def _own_scheduler(path: Path, index: dict[str, Any]) -> str:
    value = index.get("scheduler")
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], str):
        return value[1]
    raise ModelError(f"{path / 'model_index.json'} names no scheduler, expected one: fetch the pipeline again")


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
