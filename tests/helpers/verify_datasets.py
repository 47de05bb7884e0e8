"""Datasets for the tests of verify, made by a real (tiny, random) pipeline or of drawings, and ways to harm them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shardtools.cli import main
from shardtools.dataset import DatasetInfo, PlanFile, ShardWriter, commit_dataset, store_plan_file
from shardtools.dataset.opening import list_parts
from shardtools.dataset.plan_file import fingerprint
from shardtools.manifest import SCHEMA, decode_part, encode_part
from shardtools.pipelines.generate.regenerate import Answerer
from shardtools.sample import Sample
from shardtools.storage import open_storage
from shardtools.verify import Problem, VerifyReport
from shardtools.verify.regenerator import Regenerator, RegeneratorRequest
from tests.helpers import tiny_models
from tests.helpers.generated_datasets import generate_here, options
from tests.helpers.pictures import jpeg

FIRST_TAR = "shards/train-000000.tar"
FIRST_PART = "manifest/train-000000.parquet"
LAST_TAR = "shards/train-000002.tar"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.stable_diffusion(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="session")
def checked_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.stable_diffusion(tmp_path_factory.mktemp("checked"), safety_checker=True)


@pytest.fixture(scope="session")
def generated_once(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 8, 8 and 4 rows in batches of 3: each shard's last batch is padded."""
    out = tmp_path_factory.mktemp("generated") / "dataset"
    generate_here(options(model, out, prompt_template="c inside b", samples_per_shard=8, batch_size=3))
    return out


@pytest.fixture(scope="session")
def retried_once(checked_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About half of the images are dropped as unsafe, and made again twice."""
    out = tmp_path_factory.mktemp("retried") / "dataset"
    wanted = options(checked_model, out, samples_per_shard=5, batch_size=3, safety="drop")
    for retry_failed in (False, True, True):
        generate_here(replace(wanted, retry_failed=retry_failed))
    return out


@pytest.fixture
def generated(generated_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(generated_once, tmp_path / "generated"))


@pytest.fixture
def retried(retried_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(retried_once, tmp_path / "retried"))


@pytest.fixture
def generating_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers requests in this process, which has torch already; starting another takes ten seconds and more."""
    answerers: dict[int, Answerer] = {}

    def ask(self: Regenerator, request: RegeneratorRequest) -> list[Sample]:
        answerer = answerers.setdefault(id(self), answerers.get(id(self)) or Answerer(self._setup))
        return answerer.samples(request)

    monkeypatch.setattr(Regenerator, "_ask", ask)


def picture(number: int, **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "key": f"key{number:04d}",
        "image_bytes": jpeg(number),
        "image_format": "jpg",
        "width": 48,
        "height": 36,
        "mode": "RGB",
        "wnid": "n00000001",
        "class_index": number % 7,
        "label_source": "folder",
    }
    return Sample(**{**fields, **changes})


def failure(number: int) -> Sample:
    return Sample(key=f"key{number:04d}", image_bytes=None, status="undecodable", reason="the file is empty")


def write_real(out: Path, shards: list[list[Sample]], *, commit: bool = True) -> Path:
    storage = open_storage(out)
    plan_settings = {"source": "photos"}
    plan = {"plan_id": fingerprint(plan_settings), "scale": 1, "kind": "real"}
    num_rows = sum(map(len, shards))
    store_plan_file(
        storage, PlanFile(settings=plan_settings, notes={}, num_shards=len(shards), num_rows=num_rows, **plan)
    )
    for index, samples in enumerate(shards):
        with ShardWriter(storage, split="train", shard_index=index) as writer:
            for sample in samples:
                writer.add(sample)
            writer.commit()
    if commit:
        commit_dataset(storage, part_paths=list_parts(storage), **plan)
    return out


@pytest.fixture(scope="session")
def real_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("real") / "dataset"
    return write_real(out, [[picture(0), failure(1), picture(2)], [picture(3), picture(4)], [failure(5)]])


@pytest.fixture
def real(real_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(real_once, tmp_path / "real"))


def rows_of(dataset: Path, part: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = decode_part((dataset / part).read_bytes(), where=part).table.to_pylist()
    return rows


def flip(path: Path, offset: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


def rewrite_part(dataset: Path, part: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Edits a part's rows and encodes it again; `dataset.json` does not know of it."""
    decoded = decode_part((dataset / part).read_bytes(), where=part)
    rows = decoded.table.to_pylist()
    change(rows)
    (dataset / part).write_bytes(encode_part(pa.Table.from_pylist(rows, schema=SCHEMA), decoded.shards))


def forge(dataset: Path, part: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Edits a part's rows and makes every digest agree."""
    rewrite_part(dataset, part, change)
    storage = open_storage(dataset)
    info = DatasetInfo.from_json(storage.read("dataset.json"), where="dataset.json")
    paths = [entry.path for entry in info.parts]
    commit_dataset(storage, kind=info.kind, plan_id=info.plan_id, scale=info.scale, part_paths=paths)


def kinds(report: VerifyReport) -> list[str]:
    return [problem.kind for problem in report.problems]


def only(report: VerifyReport) -> Problem:
    (problem,) = report.problems
    return problem


def command(*words: str | Path) -> int:
    """Exit code of `shardtools verify WORDS` in this process."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", *map(str, words)])
    return int(str(ended.value.code))
