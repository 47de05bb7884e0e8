"""Verify: sound datasets, merged manifests, samples of the images, and the command."""

# Fixtures are imported by their names and come back as arguments.
# ruff: noqa: F401, F811
from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardtools.errors import FormatVersionError, OptionError
from shardtools.execution import Batch, Message, Planned
from shardtools.manifest import SCHEMA, digest
from shardtools.verify import RegenerateOptions, RepairOptions, VerifyOptions, manifest_check, verify
from tests.helpers.verify_datasets import (
    FIRST_PART,
    FIRST_TAR,
    LAST_TAR,
    checked_model,
    command,
    flip,
    generated,
    generated_once,
    kinds,
    model,
    only,
    picture,
    real,
    real_once,
    retried_once,
    rows_of,
    write_real,
)


class TestSound:
    def test_generated(self, generated_once: Path) -> None:
        report = verify(generated_once)
        assert report.sound and report.finished and report.kind == "generated"
        assert (report.num_parts, report.num_shards, report.num_rows, report.num_images) == (3, 3, 20, 20)
        assert report.num_bytes == sum(path.stat().st_size for path in generated_once.glob("shards/*"))

    def test_retried_images_are_in_shards_of_their_own(self, retried_once: Path) -> None:
        assert list(retried_once.glob("shards/*-attempt2.tar")) and list(retried_once.glob("shards/*-attempt3.tar"))
        report = verify(retried_once)
        assert report.sound and report.num_shards == len(list(retried_once.glob("shards/*")))

    def test_real_with_rows_that_have_no_bytes(self, real_once: Path) -> None:
        report = verify(real_once, VerifyOptions(num_workers=1))
        assert report.sound and report.kind == "real"
        assert (report.num_parts, report.num_shards, report.num_rows, report.num_images) == (3, 2, 6, 4)

    def test_progress_counts_parts(self, real_once: Path) -> None:
        steps: list[Message] = []
        verify(real_once, VerifyOptions(num_workers=2), progress=steps.append)
        assert steps == [Planned(rows_to_make=3, num_tasks=3, num_processes=2), *[Batch(rows=1)] * 3]


@pytest.fixture(scope="module")
def compacted_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compacted") / "dataset"
    write_real(out, [[picture(number)] for number in range(65)])
    assert (out / "compact").is_dir()
    return out


class TestManifest:
    @pytest.fixture
    def compacted(self, compacted_once: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(compacted_once, tmp_path / "compacted"))

    def test_compact_file_is_sound(self, compacted: Path) -> None:
        assert verify(compacted).sound

    def test_compact_file_altered(self, compacted: Path) -> None:
        flip(next(compacted.glob("compact/*")), 400)
        assert "the parts hold the same rows" in only(verify(compacted)).message

    def test_compact_file_missing(self, compacted: Path) -> None:
        next(compacted.glob("compact/*")).unlink()
        assert only(verify(compacted)).kind == "compact"

    def test_compact_file_with_other_rows(self, compacted: Path) -> None:
        path = next(compacted.glob("compact/*"))
        old = digest(path.read_bytes())
        table = decode_and_change(path)
        path.write_bytes(table)
        commit = (compacted / "dataset.json").read_text()
        (compacted / "dataset.json").write_text(commit.replace(old, digest(table)))
        assert "manifest/train-000040.parquet at the same place" in only(verify(compacted)).message

    def test_keys_are_compared_in_several_passes(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(manifest_check, "_KEYS_A_PASS", 3)
        hashes = np.array([7, 1, 9, 7, 4, 9, 9, 2**64 - 1, 0, 3], dtype=np.uint64)
        with (tmp_path / "scratch").open("w+b") as scratch:
            index = manifest_check.KeyHashes(scratch)
            index.add(hashes[:4])
            index.add(hashes[4:])
            assert index.repeated().tolist() == [7, 9]


def decode_and_change(path: Path) -> bytes:
    """A merged manifest with one changed label, as plain pyarrow writes it."""
    rows = pq.read_table(path).to_pylist()
    rows[40]["class_index"] += 1
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), sink)
    return sink.getvalue()


class TestSample:
    def test_all_images(self, generated: Path) -> None:
        row = rows_of(generated, FIRST_PART)[2]
        flip(generated / FIRST_TAR, row["member_offset"] + 5)
        report = verify(generated, VerifyOptions(sample=20))
        assert (report.num_images, report.num_shards, report.num_parts) == (20, 0, 3)
        assert only(report).key == row["key"]

    def test_same_seed_same_images(self, generated_once: Path) -> None:
        reads = [verify(generated_once, VerifyOptions(sample=5, seed=seed)).num_bytes for seed in (1, 1, 2)]
        assert reads[0] == reads[1] != reads[2]

    def test_failed_rows_are_not_drawn(self, real_once: Path) -> None:
        assert verify(real_once, VerifyOptions(sample=50)).num_images == 4

    def test_missing_and_cut_shards_show_in_the_listing(self, generated: Path) -> None:
        (generated / FIRST_TAR).unlink()
        (generated / LAST_TAR).write_bytes(b"short")
        found = kinds(verify(generated, VerifyOptions(sample=20)))
        assert found.count("shard-missing") == 1 and found.count("shard-altered") == 1
        assert "image-altered" in found

    def test_altered_part(self, generated: Path) -> None:
        flip(generated / FIRST_PART, 300)
        report = verify(generated, VerifyOptions(sample=20))
        assert only(report).kind == "part-altered" and report.num_images == 12

    def test_unfinished_dataset(self, tmp_path: Path) -> None:
        out = write_real(tmp_path / "begun", [[picture(0)], [picture(1)]], commit=False)
        assert verify(out, VerifyOptions(sample=2)).num_images == 2


class TestCommand:
    def test_sound(self, real: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert command(real) == 0
        assert capsys.readouterr().out == (
            f"{real}: real, committed: checked 6 rows, 4 images, 2 shards, "
            f"{sum(path.stat().st_size for path in real.glob('shards/*')) / 1e6:.2f} MB\nsound\n"
        )

    def test_many_problems_are_cut_and_counted(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = write_real(tmp_path / "many", [[picture(number, width=1) for number in range(23)]])
        assert command(out) == 1
        lines = capsys.readouterr().out.splitlines()
        assert sum(line.startswith("image-size: ") for line in lines) == 21
        assert lines[-2] == "image-size: and 3 more (--json prints all)" and lines[-1] == "23 problems in 1 shard"
        assert command(out, "--json") == 1
        facts = json.loads(capsys.readouterr().out)
        assert len(facts["problems"]) == 23 and facts["sound"] is False

    def test_sample_is_stated(self, real: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert command(real, "--sample", "2", "--seed", "7") == 0
        assert "2 random images (seed 7) and 3 manifest parts" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "words", [("--sample", "1", "--repair"), ("--repair", "--regenerate", "1"), ("--model", "x"), ("--sample", "0")]
    )
    def test_wrong_usage(self, real: Path, words: tuple[str, ...]) -> None:
        assert command(real, *words) == 2

    def test_no_dataset(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert command(tmp_path) == 1
        assert "is no dataset" in capsys.readouterr().err

    def test_unknown_version(self, real: Path) -> None:
        content = (real / "dataset.json").read_text()
        (real / "dataset.json").write_text(content.replace('"format_version": 2', '"format_version": 3'))
        with pytest.raises(FormatVersionError, match="version 3"):
            verify(real)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: VerifyOptions(sample=0),
            lambda: VerifyOptions(seed=-1),
            lambda: VerifyOptions(num_workers=0),
            lambda: RegenerateOptions(count=0),
            lambda: RepairOptions(device="tpu"),
        ],
    )
    def test_options_out_of_range(self, make: Callable[[], object]) -> None:
        with pytest.raises(OptionError):
            make()
