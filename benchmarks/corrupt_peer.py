"""The other side of `benchmarks/corrupt.py`: the published corruptions, in an interpreter that can still run them.

    PYTHON benchmarks/corrupt_peer.py

Started by the benchmark with `--reference-python`; needs `imagecorruptions` 1.1.2 and, for the author's elastic
transform, `imagenet-c` 0.0.3 without its dependencies (ImageMagick is not asked). Both need numpy below 2, scikit-image
below 0.20 and setuptools below 81, so Python 3.10. Reads a line of JSON, answers with one; imports nothing of
shardtools.
"""

from __future__ import annotations

import json
import sys
import time
import types
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Moments(NamedTuple):
    """Of all copies of a row of images: arrays [N, D], a value an image and draw, in levels of 255.

    Attributes:
        means: Of the values.
        squares: Mean of the squared values.
        changes: Mean of the squared differences from the image.
    """

    means: np.ndarray
    squares: np.ndarray
    changes: np.ndarray


def moments_of(images: np.ndarray, num_draws: int, corrupted: Callable[[int, int], np.ndarray]) -> Moments:
    """Moments of `corrupted(image index, draw)`, uint8 [H, W, 3], against `images`, uint8 [N, H, W, 3]."""
    found = Moments(*(np.zeros((len(images), num_draws)) for _ in range(3)))
    for index, image in enumerate(images):
        for draw in range(num_draws):
            copy = corrupted(index, draw).astype(np.float32)
            change = copy - image
            found.means[index, draw] = copy.mean(dtype=np.float64)
            found.squares[index, draw] = np.square(copy).mean(dtype=np.float64)
            found.changes[index, draw] = np.square(change).mean(dtype=np.float64)
    return found


def load_reference() -> Callable[[np.ndarray, str, int], np.ndarray]:
    """The published corruptions: (image, name, severity) to the corrupted image, uint8."""
    warnings.filterwarnings("ignore")
    import imagecorruptions  # type: ignore[import-not-found]

    # The package has an elastic transform of its own making; ImageNet-C was made with the author's.
    author = load_author()

    def corrupted(image: np.ndarray, name: str, severity: int) -> np.ndarray:
        package = author if name == "elastic_transform" else imagecorruptions
        return np.asarray(package.corrupt(image, severity=severity, corruption_name=name))

    return corrupted


def load_author() -> Any:
    """The author's package, with stand-ins for the ImageMagick that its motion blur and snow ask for."""
    for name in ("wand", "wand.image", "wand.api", "wand.color"):
        sys.modules[name] = types.ModuleType(name)
    blur = types.SimpleNamespace(argtypes=None)
    sys.modules["wand.image"].Image = object  # type: ignore[attr-defined]
    sys.modules["wand.api"].library = types.SimpleNamespace(MagickMotionBlurImage=blur)  # type: ignore[attr-defined]
    import imagenet_c  # type: ignore[import-not-found]

    return imagenet_c


def answer(request: dict[str, Any], corrupted: Callable[[np.ndarray, str, int], np.ndarray]) -> dict[str, Any]:
    """Does what a request asks for.

    Args:
        request: `job` (seconds, images, moments), `images` (an .npy file), `name`, `severity` and what the job needs.
        corrupted: The published corruptions.
    """
    images = np.load(request["images"])
    name, severity = request["name"], request["severity"]
    if request["job"] == "seconds":
        started = time.process_time()
        for image in images[: request["count"]]:
            corrupted(image, name, severity)
        return {"seconds": (time.process_time() - started) / request["count"]}
    chosen = images[request["first"] :: request["step"]]
    if request["job"] == "images":
        np.save(request["out"], np.stack([corrupted(image, name, severity) for image in chosen]))
        return {}
    np.random.seed(request["seed"])
    found = moments_of(chosen, request["draws"], lambda index, _: corrupted(chosen[index], name, severity))
    np.save(request["out"], np.stack(found))
    return {}


def main() -> None:
    """Answers until the input ends."""
    corrupted = load_reference()
    # What a package prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line), corrupted)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
