"""The part of the card that says how to read the dataset, with code for each tool that can.

Owns these examples. Each begins in the dataset's folder and reads the first split, so it can be pasted as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.dataset import DatasetInfo
from shardtools.describe.facts import DatasetFacts

_FENCE = "```"


def reading_section(info: DatasetInfo, facts: DatasetFacts) -> str:
    """Examples for the dataset's layout, and SQL for all."""
    split = next(iter(info.splits), "train")
    extension = max(facts.formats, key=lambda name: facts.formats[name], default="jpg")
    parts = ["## How to read it\n\nIn the folder of the dataset:\n"]
    for title, language, lines in _examples(info.layout, split, extension, info):
        parts.append(f"{title}:\n\n{_FENCE}{language}\n{lines}\n{_FENCE}\n")
    if info.layout == "tar" and len(facts.formats) > 1:
        parts.append("Hugging Face `datasets` wants images of one format in the first samples of a tar.\n")
    parts.append(
        "`dataset.json` lists all shards with their sha256, `croissant.json` describes files and columns, and "
        "`manifest/` has one row an image.\n"
    )
    return "\n".join(parts)


def _examples(layout: str, split: str, extension: str, info: DatasetInfo) -> Iterator[tuple[str, str, str]]:
    if layout == "tar":
        yield from _tar_examples(split, extension)
    elif layout == "beton":
        first = next((one.path for one in info.shards if one.path.startswith(f"shards/{split}")), "")
        yield "FFCV", "python", _FFCV.format(path=first)
    elif layout == "mds":
        yield "MosaicML Streaming", "python", _STREAMING.format(split=split)
    elif layout == "litdata":
        yield "LitData", "python", _LITDATA.format(split=split)
    elif layout == "imagefolder":
        yield "torchvision", "python", _TORCHVISION.format(split=split)
        yield "Hugging Face datasets", "python", _DATASETS.format(split=split, extension="image", label="label")
    yield "SQL over the manifest", "sh", _SQL
    yield "The same without shardtools", "python", _DUCKDB


def _tar_examples(split: str, extension: str) -> Iterator[tuple[str, str, str]]:
    yield "webdataset", "python", _WEBDATASET.format(split=split, extension=extension)
    yield "Hugging Face datasets", "python", _DATASETS.format(split=split, extension=extension, label="cls")
    yield (
        "NVIDIA DALI, with the indexes beside the tars",
        "python",
        _DALI.format(split=split, extension=extension),
    )
    yield "wids, with random access", "python", _WIDS.format(split=split)


_WEBDATASET = """\
import glob

import webdataset

tars = sorted(glob.glob("shards/{split}-*.tar"))
for sample in webdataset.WebDataset(tars, shardshuffle=False).decode("pil"):
    image, label = sample["{extension}"], sample.get("cls")"""

_DATASETS = """\
from datasets import load_dataset

for sample in load_dataset(".", split="{split}", streaming=True):
    image, label = sample["{extension}"], sample.get("{label}")"""

_DALI = """\
import glob

from nvidia.dali import fn, pipeline_def

tars = sorted(glob.glob("shards/{split}-*.tar"))


@pipeline_def(batch_size=32, num_threads=2, device_id=None)
def pipeline():
    indexes = [tar.removesuffix(".tar") + ".idx" for tar in tars]
    images, labels = fn.readers.webdataset(paths=tars, index_paths=indexes, ext=["{extension}", "cls"])
    return fn.decoders.image(images, device="cpu"), labels"""

_WIDS = """\
import wids

samples = wids.ShardListDataset("wids-{split}.json")"""

_FFCV = """\
from ffcv.loader import Loader, OrderOption

loader = Loader("{path}", batch_size=32, num_workers=2, order=OrderOption.RANDOM)"""

_STREAMING = """\
from streaming import StreamingDataset

samples = StreamingDataset(local="shards/{split}", shuffle=False, batch_size=1)"""

_LITDATA = """\
from litdata import StreamingDataset

samples = StreamingDataset("shards/{split}")"""

_TORCHVISION = """\
from torchvision.datasets import ImageFolder

samples = ImageFolder("{split}")"""

_SQL = """\
shardtools sql "select wnid, count(*) as images from samples where status = 'ok' group by wnid" ."""

_DUCKDB = """\
import duckdb

duckdb.sql("select status, count(*) from read_parquet('manifest/*.parquet') group by status").show()"""
