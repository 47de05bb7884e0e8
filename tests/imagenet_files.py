"""Classes, names and lists of validation labels that ImageNet's archives and their likes share."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from shardtools.errors import OptionError, ShardtoolsError, SourceError
from shardtools.sample import Sample
from shardtools.sources import Source, SourceOptions
from shardtools.sources.archives import open_archives
from shardtools.sources.ilsvrc2012 import is_ilsvrc2012, open_ilsvrc2012
from shardtools.sources.ilsvrc2012_labels import read_list
from shardtools.sources.imagefolder import open_imagefolder
from shardtools.sources.tree_layout import CORRUPTIONS, PERTURBATIONS, CorruptedPlace, LayoutSurvey, read_layout
from shardtools.sources.tree_video import count_frames, decode_frames
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes
from tests.pictures import drawing, encode, jpeg, write_files
from tests.reading import by_key, everything
from tests.s3_server import S3Server
from tests.test_source_archives import tar_bytes, zip_bytes


CLASSES = load_classes("imagenet-1k")
WNIDS = [CLASSES[index].wnid for index in (0, 65, 999)]
VAL_INDEXES = [65, 0, 999, 65, 0]


def val_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def val_wnid(number: int) -> str:
    return CLASSES[VAL_INDEXES[number - 1]].wnid


LISTS = {
    "LOC_val_solution.csv": "ImageId,PredictionString\n"
    + "".join(f"{val_name(n)[:-5]},{val_wnid(n)} 111 108 232 310 {val_wnid(n)} 1 2 3 4\n" for n in (3, 1, 2, 5, 4)),
    "val.txt": "".join(f"{val_name(n)} {VAL_INDEXES[n - 1]}\n" for n in range(1, 6)),
    "val_wnids.csv": "image,label\n" + "".join(f"{val_name(n)},{val_wnid(n)}\n" for n in range(1, 6)),
    "imagenet_2012_validation_synset_labels.txt": "".join(f"{CLASSES[index].wnid}\r\n" for index in VAL_INDEXES),
}
