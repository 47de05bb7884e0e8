"""Prints what torchvision's own readers list below a root: set -> split -> file name -> label. It may load torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from torchvision import datasets


def named(paths: Any, labels: Any) -> dict[str, int]:
    return {Path(path).name: int(label) for path, label in zip(paths, labels, strict=True)}


def main(root: str) -> None:
    # The stand-ins' .mat files are not those whose digests it knows.
    datasets.Flowers102._check_integrity = lambda self: True
    found: dict[str, dict[str, dict[str, int]]] = {}
    splits = ("train", "val", "test")
    found["aircraft"] = {
        split: named(one._image_files, one._labels)
        for split in splits
        for one in [datasets.FGVCAircraft(root, split=split)]
    }
    found["cars196"] = {
        split: named(*zip(*datasets.StanfordCars(root, split=split)._samples, strict=True))
        for split in ("train", "test")
    }
    for name, reader in (("dtd", datasets.DTD), ("flowers", datasets.Flowers102)):
        found[name] = {
            split: named(one._image_files, one._labels) for split in splits for one in [reader(root, split=split)]
        }
    found["pets"] = {
        split: named(one._images, one._labels)
        for split, theirs in (("train", "trainval"), ("test", "test"))
        for one in [datasets.OxfordIIITPet(root, split=theirs)]
    }
    found["food101"] = {
        split: named(one._image_files, one._labels)
        for split in ("train", "test")
        for one in [datasets.Food101(root, split=split)]
    }
    # No splits of their own there.
    sun = datasets.SUN397(root)
    found["sun397"] = {"all": named(sun._image_files, sun._labels)}
    found["eurosat"] = {"all": named(*zip(*datasets.EuroSAT(root).samples, strict=True))}
    print(json.dumps(found))


main(sys.argv[1])
