"""x"""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError, ShardError, ShardtoolsError
from shardtools.shards import beton_format, beton_tables
from shardtools.shards.beton_format import ALLOCATION, HEADER, FieldType
from shardtools.shards.beton_join import join_betons
from shardtools.shards.beton_reader import Beton, open_beton
from shardtools.shards.beton_writer import BetonEncoder, jpeg_obstacle
from shardtools.shards.encoder import ShardSample
from shardtools.storage import open_storage
from tests.beton_files import encode_beton, jpeg_sample, opened_beton, payloads, raw_sample
from tests.pictures import drawing, encode, jpeg, rotated_jpeg
from tests.s3_server import S3Server


def labels(beton: Beton) -> list[int]:
    return list(beton.metadata.read(0, beton.num_samples)["f1"])


def header(content: bytes) -> tuple[int, ...]:
    return np.frombuffer(content, HEADER, 1)[0].tolist()
