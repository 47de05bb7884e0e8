"""Verify, repair, regenerate: on datasets that a real (tiny, random) pipeline made, and on real pictures."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardtools.cli import main
from shardtools.dataset import (
    DatasetInfo,
    PlanFile,
    ShardWriter,
    acquire,
    commit_dataset,
    read_plan_file,
    store_plan_file,
)
from shardtools.dataset.opening import list_parts
from shardtools.dataset.plan_file import fingerprint
from shardtools.errors import (
    DatasetBusyError,
    DatasetError,
    FormatVersionError,
    ModelError,
    OptionError,
    PlanError,
    ShardError,
)
from shardtools.generation import prepare
from shardtools.generation.plan_notes import rebuild_plan
from shardtools.manifest import SCHEMA, decode_part, digest, encode_part
from shardtools.pipelines.regenerate import Answerer
from shardtools.sample import Sample
from shardtools.storage import open_storage
from shardtools.verify import (
    KINDS,
    Problem,
    RegenerateOptions,
    RepairOptions,
    VerifyOptions,
    VerifyReport,
    manifest_check,
    regenerate,
    repair,
    verify,
)
from shardtools.verify.regenerate import pixel_difference
from shardtools.verify.rendering import Renderer, RenderRequest
from tests import tiny_models
from tests.generating import files, generate_here, options, run
from tests.pictures import jpeg
from tests.s3_server import S3Server

FIRST_TAR = "shards/train-000000.tar"
FIRST_PART = "manifest/train-000000.parquet"
LAST_TAR = "shards/train-000002.tar"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.stable_diffusion(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def checked_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.stable_diffusion(tmp_path_factory.mktemp("checked"), safety_checker=True)


@pytest.fixture(scope="module")
def generated_once(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 8, 8 and 4 rows in batches of 3: each shard's last batch is padded."""
    out = tmp_path_factory.mktemp("generated") / "dataset"
    generate_here(options(model, out, prompt="c inside b", samples_per_shard=8, batch_size=3))
    return out


@pytest.fixture(scope="module")
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
def rendering_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers requests in this process, which has torch already; starting another takes ten seconds and more."""
    answerers: dict[int, Answerer] = {}

    def ask(self: Renderer, request: RenderRequest) -> list[Sample]:
        answerer = answerers.setdefault(id(self), answerers.get(id(self)) or Answerer(self._setup))
        return answerer.samples(request)

    monkeypatch.setattr(Renderer, "_ask", ask)


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


@pytest.fixture(scope="module")
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
        assert kinds(verify(generated)) == ["shard-altered"]

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
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_of_any_shard_is_found(self, real: Path, data: st.DataObject) -> None:
        self._flip_and_check(real, "shards/*", data)

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


class TestManifest:
    @pytest.fixture(scope="class")
    def compacted_once(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        out = tmp_path_factory.mktemp("compacted") / "dataset"
        write_real(out, [[picture(number)] for number in range(65)])
        assert (out / "compact").is_dir()
        return out

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
    import io

    import pyarrow.parquet as pq

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


class TestPlanNotes:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"classes": "n03595614, sandal.n.01"},
            {"classes": "CSV", "prompt": "a photo of a c", "hypernyms": "first"},
            {"prompt": "c, h_c inside b", "lemmas": "first", "scale": 3},
            {"prompt": "c inside b", "scenes": "SCENES", "guidance_scale": 7.5, "negative_prompt": "blurry"},
            {"like": "LIKE"},
        ],
    )
    def test_plan_is_rebuilt_from_its_file(
        self, changes: dict[str, Any], model: Path, tmp_path: Path, retried_once: Path
    ) -> None:
        (tmp_path / "classes.csv").write_text("name,definition\nwidget,a thing\ngizmo,another thing\n")
        (tmp_path / "scenes.txt").write_text("moon\nmars\n")
        places = {"CSV": tmp_path / "classes.csv", "SCENES": tmp_path / "scenes.txt", "LIKE": retried_once}
        changes = {
            name: str(places.get(value, value)) if isinstance(value, str) else value for name, value in changes.items()
        }
        if "like" in changes:
            held = {
                row["wnid"]
                for part in range(4)
                for row in rows_of(retried_once, f"manifest/train-{part:06d}.parquet")
                if row["status"] == "ok"
            }
            changes |= {"classes": ",".join(sorted(held)), "images_per_class": None}
        prepared = prepare(options(model, tmp_path / "out", **changes))
        storage = open_storage(tmp_path / "out")
        store_plan_file(storage, prepared.plan_file)
        stored = read_plan_file(storage)
        assert stored is not None and str(tmp_path) not in (tmp_path / "out/plan.json").read_text()
        rebuilt = rebuild_plan(stored)
        assert rebuilt.options == prepared.plan.options
        assert rebuilt.shard_rows(0) == prepared.plan.shard_rows(0)

    def test_named_set_is_kept_by_name(self, generated_once: Path) -> None:
        notes = json.loads((generated_once / "plan.json").read_text())["notes"]
        assert notes["plan"] == {"classes": "fashion", "images_per_class": [[2, 10]], "scenes": "places365"}

    def test_other_class_table(self, generated_once: Path) -> None:
        plan = read_plan_file(open_storage(generated_once))
        assert plan is not None
        notes = {"plan": {**plan.notes["plan"], "classes": "n03595614", "images_per_class": [[2, 1]]}}
        with pytest.raises(PlanError, match="class table of this release differs"):
            rebuild_plan(replace(plan, notes=notes))
        with pytest.raises(PlanError, match="run the gen-sd command"):
            rebuild_plan(replace(plan, notes={}))


class TestRepair:
    def test_command_gives_the_same_bytes_back(self, retried_once: Path, retried: Path, checked_model: Path) -> None:
        """Through the real process: an image of a second attempt, a lost part, a lost part with a cut shard."""
        (retried / "shards/train-000000-attempt2.tar").unlink()
        (retried / "manifest/train-000001.parquet").unlink()
        flip(retried / "manifest/train-000003.parquet", 99)
        cut = retried / "shards/train-000003.tar"
        cut.write_bytes(cut.read_bytes()[:3000])
        code, output, errors = run("verify", str(retried), "--repair", "--model", str(checked_model))
        assert (code, errors) == (0, "")
        assert output.count("byte for byte as before") == 3 and "3 shards repaired" in output
        assert files(retried) == files(retried_once)

    @pytest.mark.usefixtures("rendering_here")
    def test_shard_is_rendered_from_its_rows(self, generated_once: Path, generated: Path, model: Path) -> None:
        (generated / FIRST_TAR).unlink()
        flip(generated / LAST_TAR, 1100)
        done = repair(generated, RepairOptions(model=str(model)))
        assert [(one.files, one.how, one.identical) for one in done.repaired] == [
            ((FIRST_TAR,), "rendered from its rows", True),
            ((LAST_TAR,), "rendered from its rows", True),
        ]
        assert done.report.sound and not done.committed
        assert files(generated) == files(generated_once)

    @pytest.mark.usefixtures("rendering_here")
    def test_swapped_shards(self, generated_once: Path, generated: Path, model: Path) -> None:
        first, last = (generated / FIRST_TAR).read_bytes(), (generated / LAST_TAR).read_bytes()
        (generated / FIRST_TAR).write_bytes(last)
        (generated / LAST_TAR).write_bytes(first)
        assert repair(generated, RepairOptions(model=str(model))).report.sound
        assert files(generated) == files(generated_once)

    def test_lost_part_is_read_back_without_the_model(self, generated_once: Path, generated: Path) -> None:
        (generated / FIRST_PART).unlink()
        flip(generated / "manifest/train-000001.parquet", 1000)
        done = repair(generated)
        assert {one.how for one in done.repaired} == {"read back from its tars"} and done.report.sound
        assert files(generated) == files(generated_once)

    def test_lost_part_with_several_shards_is_read_back(self, retried_once: Path, retried: Path) -> None:
        whole = [
            part
            for part in (f"manifest/train-{index:06d}.parquet" for index in range(4))
            if {row["status"] for row in rows_of(retried, part)} == {"ok"}
        ]
        assert any(len(decode_part((retried / part).read_bytes(), where=part).shards) > 1 for part in whole)
        for part in whole:
            (retried / part).unlink()
        assert repair(retried).report.sound
        assert files(retried) == files(retried_once)

    def test_commit_is_written_again(self, generated_once: Path, generated: Path) -> None:
        (generated / "dataset.json").unlink()
        done = repair(generated)
        assert done.committed and done.report.sound and not done.repaired
        assert files(generated) == files(generated_once)

    @pytest.mark.usefixtures("rendering_here")
    def test_damaged_part_before_the_first_commit(self, generated_once: Path, generated: Path, model: Path) -> None:
        (generated / "dataset.json").unlink()
        (generated / FIRST_PART).write_bytes(b"cut")
        done = repair(generated, RepairOptions(model=str(model)))
        assert [(one.how, one.identical) for one in done.repaired] == [("rendered from the plan", None)]
        assert files(generated) == files(generated_once)

    @pytest.mark.usefixtures("rendering_here")
    def test_images_that_come_out_otherwise(self, generated: Path, model: Path) -> None:
        """As on other hardware: the recorded seed gives another image than the recorded digest."""
        forge(generated, FIRST_PART, lambda rows: rows[4].update(seed=rows[4]["seed"] ^ 1))
        before = rows_of(generated, FIRST_PART)
        (generated / FIRST_TAR).unlink()
        done = repair(generated, RepairOptions(model=str(model)))
        assert [(one.files, one.identical) for one in done.repaired] == [((FIRST_TAR, FIRST_PART), False)]
        assert done.committed and done.report.sound
        after = rows_of(generated, FIRST_PART)
        assert [old["sha256"] == new["sha256"] for old, new in zip(before, after, strict=True)] == [
            number != 4 for number in range(8)
        ]

    def test_nothing_to_do(self, generated_once: Path, generated: Path) -> None:
        assert repair(generated).repaired == ()
        assert files(generated) == files(generated_once)

    def test_orphans_stay(self, generated: Path) -> None:
        shutil.copy(generated / FIRST_TAR, generated / "shards/train-000007.tar")
        done = repair(generated)
        assert kinds(done.report) == ["orphan"] and (generated / "shards/train-000007.tar").exists()

    def test_real_images_are_refused(self, real: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert command(real, "--repair") == 1
        assert "write the dataset again from its source" in capsys.readouterr().err

    def test_model_that_is_not_here(self, generated: Path) -> None:
        (generated / FIRST_TAR).unlink()
        with pytest.raises(ModelError, match="give its folder with --model"):
            repair(generated)

    def test_other_model(self, generated: Path, checked_model: Path) -> None:
        (generated / FIRST_TAR).unlink()
        with pytest.raises(ModelError, match="with digest [0-9a-f]{64}, found digest [0-9a-f]{64}"):
            repair(generated, RepairOptions(model=str(checked_model)))
        assert not (generated / FIRST_TAR).exists()

    def test_without_a_plan(self, generated: Path) -> None:
        (generated / FIRST_TAR).unlink()
        (generated / "plan.json").unlink()
        with pytest.raises(DatasetError, match=r"no plan\.json of its own"):
            repair(generated)

    def test_another_run_is_writing(self, generated: Path) -> None:
        with acquire(open_storage(generated), purpose="gen-sd"), pytest.raises(DatasetBusyError, match="gen-sd"):
            repair(generated)


class TestRegenerate:
    def test_command_is_bit_exact_on_the_same_machine(self, retried_once: Path, checked_model: Path) -> None:
        """Through the real process; all images, those of later attempts and of padded batches among them."""
        code, output, errors = run("verify", str(retried_once), "--regenerate", "99", "--model", str(checked_model))
        count = sum(
            row["status"] == "ok"
            for index in range(4)
            for row in rows_of(retried_once, f"manifest/train-{index:06d}.parquet")
        )
        assert (code, errors) == (0, "")
        assert f"bit-exact: {count} of {count}" in output and "largest pixel difference: 0" in output

    @pytest.mark.usefixtures("rendering_here")
    def test_altered_seed_shows(self, generated: Path, model: Path) -> None:
        forge(generated, FIRST_PART, lambda rows: rows[4].update(seed=rows[4]["seed"] ^ 1))
        key = rows_of(generated, FIRST_PART)[4]["key"]
        report = regenerate(generated, RegenerateOptions(count=20, model=str(model)))
        assert (len(report.images), report.num_bit_exact, report.num_failed) == (20, 19, 0)
        (other,) = (image for image in report.images if not image.bit_exact)
        assert other.key == key and other.psnr is not None and 0 < other.psnr < 60
        assert 0 < report.largest_pixel_difference <= 255
        assert report.min_psnr == report.mean_psnr == other.psnr
        assert {image.psnr for image in report.images if image.bit_exact} == {math.inf}

    @pytest.mark.usefixtures("rendering_here")
    def test_json_has_no_infinity(self, generated_once: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert command(generated_once, "--regenerate", "2", "--seed", "5", "--json", "--model", model) == 0
        facts = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert (facts["num_images"], facts["num_bit_exact"], facts["seed"], facts["min_psnr"]) == (2, 2, 5, None)
        assert facts["largest_pixel_difference"] == 0 and len(facts["images"]) == 2

    @pytest.mark.usefixtures("rendering_here")
    def test_stored_image_that_is_altered(self, generated: Path, model: Path) -> None:
        row = rows_of(generated, FIRST_PART)[0]
        flip(generated / FIRST_TAR, row["member_offset"])
        with pytest.raises(ShardError, match="run shardtools verify"):
            regenerate(generated, RegenerateOptions(count=20, model=str(model)))

    def test_real_images_are_refused(self, real: Path) -> None:
        with pytest.raises(DatasetError, match="which no model made"):
            regenerate(real, RegenerateOptions(count=1))

    def test_pixel_difference(self) -> None:
        black = np.zeros((4, 4, 3), np.uint8)
        spot = black.copy()
        spot[0, 0, 0] = 255
        assert pixel_difference(black, black) == (0, math.inf)
        # One of 48 values is off by the peak: PSNR = 10 log10(48).
        assert pixel_difference(black, spot) == (255, pytest.approx(10 * math.log10(48)))


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
        assert lines[-2] == "image-size: and 3 more (--json prints all)" and lines[-1] == "23 problems in 1 shards"
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
        (real / "dataset.json").write_text(content.replace('"format_version": 1', '"format_version": 2'))
        with pytest.raises(FormatVersionError, match="version 2"):
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


def test_object_store(generated_once: Path, s3_environment: S3Server) -> None:
    url = s3_environment.url("verify/generated")
    remote = open_storage(url)
    for name, content in files(generated_once).items():
        remote.write(name, content)
    assert verify(url).sound and verify(url, VerifyOptions(sample=3)).sound
    altered = bytearray(remote.read(FIRST_TAR))
    row = rows_of(generated_once, FIRST_PART)[2]
    altered[row["member_offset"]] ^= 1
    remote.write(FIRST_TAR, bytes(altered))
    remote.delete("manifest/train-000001.parquet")
    assert kinds(verify(url)) == ["shard-altered", "image-altered", "part-missing"]
    remote.write(FIRST_TAR, (generated_once / FIRST_TAR).read_bytes())
    assert repair(url).report.sound
    assert {name: remote.read(name) for name in files(generated_once)} == files(generated_once)
