"""Verify: every kind of damage is found and named, on a dataset that a pipeline made and on real pictures."""

# Fixtures are imported by their names and come back as arguments.
# ruff: noqa: F401, F811
from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardtools.dataset import store_plan_file
from shardtools.errors import FormatVersionError, OptionError
from shardtools.generation import prepare
from shardtools.manifest import SCHEMA, digest
from shardtools.storage import open_storage
from shardtools.verify import KINDS, RegenerateOptions, RepairOptions, VerifyOptions, manifest_check, verify
from tests.generating import options
from tests.pictures import jpeg
from tests.verify_datasets import (
    FIRST_PART,
    FIRST_TAR,
    LAST_TAR,
    checked_model,
    command,
    flip,
    forge,
    generated,
    generated_once,
    kinds,
    model,
    only,
    picture,
    real,
    real_once,
    retried_once,
    rewrite_part,
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
        steps: list[tuple[int, int]] = []
        verify(real_once, progress=lambda done, total: steps.append((done, total)))
        assert steps == [(1, 3), (2, 3), (3, 3)]


class TestDamage:
    """One damage each, on the generated dataset."""

    def test_bit_in_an_image(self, generated: Path) -> None:
        row = rows_of(generated, FIRST_PART)[2]
        flip(generated / FIRST_TAR, row["member_offset"] + 5)
        report = verify(generated)
        assert kinds(report) == ["shard-altered", "image-altered"]
        image = report.problems[1]
        assert (image.key, image.byte_offset, image.path, image.part) == (
            row["key"],
            row["member_offset"],
            FIRST_TAR,
            FIRST_PART,
        )
        assert row["sha256"][:12] in image.message and str(generated / FIRST_TAR) in image.message
        assert "--repair" in report.problems[0].message

    def test_bit_in_a_header(self, generated: Path) -> None:
        row = rows_of(generated, FIRST_PART)[1]
        flip(generated / FIRST_TAR, row["member_offset"] - 512)
        report = verify(generated)
        assert kinds(report) == ["shard-altered", "shard-structure"]
        assert f"at byte {row['member_offset'] - 512}" in report.problems[1].message

    def test_bit_in_a_label(self, generated: Path) -> None:
        row = rows_of(generated, FIRST_PART)[0]
        # The first member is the first sample's cls: "0".
        flip(generated / FIRST_TAR, 512)
        report = verify(generated)
        assert kinds(report) == ["shard-altered", "label"]
        assert "says '1'" in report.problems[1].message and report.problems[1].key == row["key"]

    def test_bit_in_padding(self, generated: Path) -> None:
        flip(generated / FIRST_TAR, 520)
        assert "the images are intact" in only(verify(generated)).message

    def test_bit_in_a_part(self, generated: Path) -> None:
        flip(generated / FIRST_PART, 300)
        problem = only(verify(generated))
        assert (problem.kind, problem.path) == ("part-altered", FIRST_PART)
        assert "its rows are not used" in problem.message

    def test_part_and_shard(self, generated: Path) -> None:
        flip(generated / FIRST_PART, 300)
        flip(generated / FIRST_TAR, 2000)
        assert kinds(verify(generated)) == ["part-altered", "shard-altered"]

    @pytest.mark.parametrize("num_bytes", [0, 100, 512, 3000, -1024, -1])
    def test_shard_cut_off(self, generated: Path, num_bytes: int) -> None:
        content = (generated / FIRST_TAR).read_bytes()
        (generated / FIRST_TAR).write_bytes(content[:num_bytes])
        report = verify(generated)
        assert report.problems[0].kind == "shard-altered"
        assert f"expected {len(content)} bytes, found {len(content[:num_bytes])}" in report.problems[0].message
        cut = [row["key"] for row in rows_of(generated, FIRST_PART) if row["member_offset"] > len(content[:num_bytes])]
        assert set(cut) <= {problem.key for problem in report.problems if problem.kind == "image-altered"}

    def test_bytes_behind_the_end(self, generated: Path) -> None:
        with (generated / FIRST_TAR).open("ab") as stream:
            stream.write(b"more")
        assert kinds(verify(generated)) == ["shard-altered", "shard-structure"]

    def test_shard_missing(self, generated: Path) -> None:
        (generated / FIRST_TAR).unlink()
        problem = only(verify(generated))
        assert (problem.kind, problem.path, problem.part) == ("shard-missing", FIRST_TAR, FIRST_PART)

    def test_part_missing(self, generated: Path) -> None:
        (generated / FIRST_PART).unlink()
        assert only(verify(generated)).kind == "part-missing"

    def test_commit_missing(self, generated: Path) -> None:
        (generated / "dataset.json").unlink()
        report = verify(generated)
        assert only(report).kind == "commit" and not report.finished
        assert "though all 3 manifest parts are there" in report.problems[0].message
        assert report.num_images == 20

    def test_commit_cut_off(self, generated: Path) -> None:
        content = (generated / "dataset.json").read_bytes()
        (generated / "dataset.json").write_bytes(content[:200])
        report = verify(generated)
        assert kinds(report) == ["commit"] and report.num_images == 20

    def test_commit_with_other_totals(self, generated: Path) -> None:
        content = (generated / "dataset.json").read_text()
        (generated / "dataset.json").write_text(content.replace('"num_images": 20', '"num_images": 19'))
        assert "'num_images': 20" in only(verify(generated)).message

    def test_commit_with_another_digest_of_a_shard(self, generated: Path) -> None:
        content = (generated / "dataset.json").read_text()
        sha256 = digest((generated / FIRST_TAR).read_bytes())
        (generated / "dataset.json").write_text(content.replace(sha256, sha256[::-1]))
        assert only(verify(generated)).kind == "part-content"

    def test_orphans(self, generated: Path) -> None:
        shutil.copy(generated / FIRST_TAR, generated / "shards/train-000007.tar")
        shutil.copy(generated / FIRST_PART, generated / "manifest/train-000007.parquet")
        (generated / "manifest/notes.txt").write_text("mine")
        report = verify(generated)
        assert kinds(report) == ["orphan"] * 3
        messages = "\n".join(problem.message for problem in report.problems)
        assert messages.count("shardtools status") == 2 and messages.count("move it away") == 1

    def test_two_shards_with_each_others_name(self, generated: Path) -> None:
        (generated / FIRST_TAR).rename(generated / "shards/spare")
        (generated / LAST_TAR).rename(generated / FIRST_TAR)
        (generated / "shards/spare").rename(generated / LAST_TAR)
        report = verify(generated)
        assert kinds(report) == ["shard-swapped"] * 2
        assert f"holds the content of {LAST_TAR}" in report.problems[0].message

    def test_plan_missing(self, generated: Path) -> None:
        (generated / "plan.json").unlink()
        assert only(verify(generated)).kind == "plan"

    def test_plan_of_another_dataset(self, generated: Path, retried_once: Path) -> None:
        shutil.copy(retried_once / "plan.json", generated)
        assert "restore the plan.json that belongs to it" in only(verify(generated)).message

    def test_plan_altered(self, generated: Path) -> None:
        content = (generated / "plan.json").read_text()
        (generated / "plan.json").write_text(content.replace('"quality": 95', '"quality": 96'))
        assert "it was altered" in only(verify(generated)).message

    def test_extension_that_has_not_finished(self, generated: Path, model: Path) -> None:
        wanted = options(model, generated, prompt="c inside b", samples_per_shard=8, batch_size=3, scale=2)
        store_plan_file(open_storage(generated), prepare(wanted).plan_file)
        report = verify(generated)
        assert only(report).kind == "unfinished" and not report.finished
        assert "from 1 to 2 clones" in report.problems[0].message

    def test_first_run_that_has_not_finished(self, generated: Path) -> None:
        for name in ("dataset.json", FIRST_PART):
            (generated / name).unlink()
        flip(generated / LAST_TAR, 600)
        report = verify(generated)
        assert kinds(report) == ["unfinished", "shard-altered", "orphan"]
        assert "2 of 3 shards so far" in report.problems[0].message

    def test_all_messages_are_one_line_of_a_known_kind(self, generated: Path) -> None:
        (generated / FIRST_TAR).write_bytes(b"no tar at all")
        (generated / "manifest/train-000001.parquet").write_bytes(b"no parquet")
        report = verify(generated)
        assert set(kinds(report)) <= set(KINDS) and len(report.problems) > 5
        assert not any("\n" in problem.message for problem in report.problems)


class TestForgery:
    """Rows that are wrong though every digest agrees."""

    def test_class_index_in_a_part_only(self, generated: Path) -> None:
        rewrite_part(generated, FIRST_PART, lambda rows: rows[1].update(class_index=3))
        assert only(verify(generated)).kind == "part-altered"

    def test_class_index_with_digests(self, generated: Path) -> None:
        forge(generated, FIRST_PART, lambda rows: rows[1].update(class_index=3))
        problem = only(verify(generated))
        assert problem.kind == "label" and "has class_index 3" in problem.message

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"sample_index": 5}, "shard-members"),
            ({"key": "renamed"}, "shard-members"),
            ({"image_format": "png"}, "shard-members"),
            ({"member_offset": 1024}, "image-altered"),
            ({"num_bytes": 10}, "image-altered"),
            ({"sha256": "0" * 64}, "image-altered"),
            ({"width": 99}, "image-size"),
            ({"mode": "L"}, "image-size"),
            ({"status": "black"}, "status"),
            ({"sha256": None}, "status"),
            ({"shard": LAST_TAR}, "part-content"),
        ],
    )
    def test_row(self, generated: Path, change: dict[str, Any], expected: str) -> None:
        forge(generated, FIRST_PART, lambda rows: rows[1].update(change))
        assert expected in kinds(verify(generated))

    def test_row_left_out(self, generated: Path) -> None:
        forge(generated, FIRST_PART, lambda rows: rows.pop(1))
        assert "has no row in" in "\n".join(problem.message for problem in verify(generated).problems)

    def test_rows_of_another_plan(self, generated: Path) -> None:
        forge(generated, FIRST_PART, lambda rows: rows[0].update(plan_id="another"))
        assert "put together from several" in only(verify(generated)).message

    def test_key_in_two_parts(self, tmp_path: Path) -> None:
        out = write_real(tmp_path / "twice", [[picture(0), picture(1)], [picture(1)], [picture(1)]])
        report = verify(out)
        assert kinds(report) == ["duplicate-key"] * 2
        assert {problem.key for problem in report.problems} == {"key0001"}

    def test_stored_bytes_that_are_no_image(self, tmp_path: Path) -> None:
        out = write_real(tmp_path / "odd", [[picture(0), picture(1, image_bytes=jpeg(1)[:500])]])
        problem = only(verify(out))
        assert (problem.kind, problem.key) == ("image-undecodable", "key0001")


class TestAnyByte:
    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_of_any_shard_is_found(self, real: Path, data: st.DataObject) -> None:
        self._flip_and_check(real, "shards/*", data)

    @settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_of_any_part_is_found(self, real: Path, data: st.DataObject) -> None:
        self._flip_and_check(real, "manifest/*", data)

    @staticmethod
    def _flip_and_check(dataset: Path, pattern: str, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(dataset.glob(pattern))))
        intact = path.read_bytes()
        flip(path, data.draw(st.integers(0, len(intact) - 1)), data.draw(st.integers(0, 7)))
        try:
            report = verify(dataset, VerifyOptions(num_workers=1))
            assert path.relative_to(dataset).as_posix() in {problem.path for problem in report.problems}
        finally:
            path.write_bytes(intact)


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
            index = manifest_check.KeyIndex(scratch)
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
