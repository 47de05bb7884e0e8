"""Verify: every kind of damage is found and named, on a dataset that a pipeline made and on real pictures."""

# Fixtures are imported by their names and come back as arguments.
# ruff: noqa: F401, F811
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardtools.dataset import store_plan_file
from shardtools.generation import prepare
from shardtools.manifest import digest
from shardtools.storage import open_storage
from shardtools.verify import KINDS, VerifyOptions, verify
from tests.helpers.generated_datasets import options
from tests.helpers.pictures import jpeg
from tests.helpers.verify_datasets import (
    FIRST_PART,
    FIRST_TAR,
    LAST_TAR,
    checked_model,
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
        wanted = options(model, generated, prompt_template="c inside b", samples_per_shard=8, batch_size=3, scale=2)
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

    def test_key_in_two_parts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # A commit of this release refuses it; those of before did not.
        monkeypatch.setattr("shardtools.dataset.commit.find_repeated_keys", lambda *_: None)
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
