"""Repair gives the same bytes back, regenerate says how close it comes, and a plan is rebuilt from its file."""

# Fixtures are imported by their names and come back as arguments.
# ruff: noqa: F401, F811
from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.dataset import acquire, read_plan_file, store_plan_file
from shardtools.errors import DatasetBusyError, DatasetError, ModelError, PlanError, RunError, ShardError
from shardtools.generation import prepare
from shardtools.generation.plan_notes import generator_settings, rebuild_plan
from shardtools.manifest import decode_part
from shardtools.storage import open_storage
from shardtools.verify import RegenerateOptions, RepairOptions, VerifyOptions, regenerate, repair, verify
from shardtools.verify.regenerating import pixel_difference
from shardtools.verify.regenerator import on_device
from tests.helpers.generated_datasets import files, options, run
from tests.helpers.s3_server import S3Server
from tests.helpers.verify_datasets import (
    FIRST_PART,
    FIRST_TAR,
    LAST_TAR,
    checked_model,
    command,
    flip,
    forge,
    generated,
    generated_once,
    generating_here,
    kinds,
    model,
    real,
    real_once,
    retried,
    retried_once,
    rows_of,
)


class TestPlanNotes:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"classes": "n03595614, sandal.n.01"},
            {"classes": "CSV", "prompt_template": "a photo of a c", "hypernyms": "first"},
            {"prompt_template": "c, h_c inside b", "lemmas": "first", "scale": 3},
            {"prompt_template": "c inside b", "scenes": "SCENES", "guidance_scale": 7.5, "negative_prompt": "blurry"},
            {"prompt_template": "c inside b", "scene_order": "by-class"},
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
        assert code == 0, errors
        assert output.count("byte for byte as before") == 3 and "3 shards repaired" in output
        assert files(retried) == files(retried_once)

    @pytest.mark.usefixtures("generating_here")
    def test_shard_is_rendered_from_its_rows(self, generated_once: Path, generated: Path, model: Path) -> None:
        (generated / FIRST_TAR).unlink()
        flip(generated / LAST_TAR, 1100)
        done = repair(generated, RepairOptions(model=str(model)))
        assert [(one.files, one.how, one.identical) for one in done.repaired] == [
            ((FIRST_TAR,), "generated from its rows", True),
            ((LAST_TAR,), "generated from its rows", True),
        ]
        assert done.report.sound and not done.committed
        assert files(generated) == files(generated_once)

    @pytest.mark.usefixtures("generating_here")
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

    @pytest.mark.usefixtures("generating_here")
    def test_damaged_part_before_the_first_commit(self, generated_once: Path, generated: Path, model: Path) -> None:
        (generated / "dataset.json").unlink()
        (generated / FIRST_PART).write_bytes(b"cut")
        done = repair(generated, RepairOptions(model=str(model)))
        assert [(one.how, one.identical) for one in done.repaired] == [("generated from the plan", None)]
        assert files(generated) == files(generated_once)

    @pytest.mark.usefixtures("generating_here")
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
        with pytest.raises(ModelError, match=r"with digest [0-9a-f]{64}, found digest [0-9a-f]{64}"):
            repair(generated, RepairOptions(model=str(checked_model)))
        assert not (generated / FIRST_TAR).exists()

    def test_process_that_dies(self, generated: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (generated / FIRST_TAR).unlink()
        monkeypatch.setenv("PYTHONHOME", "/nowhere")
        with pytest.raises(RunError, match="the generating process ended: exit code 1"):
            repair(generated, RepairOptions(model=str(model)))
        assert not (generated / FIRST_TAR).exists() and not list(generated.glob("lease/*"))

    def test_images_of_a_gpu_without_one(self, generated_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        plan = read_plan_file(open_storage(generated_once))
        assert plan is not None
        made_on_gpu = replace(generator_settings(plan), device="cuda")
        with pytest.raises(RunError, match="take --device cpu"):
            on_device(made_on_gpu, "auto")
        assert on_device(made_on_gpu, "cpu").device == "cpu"

    def test_without_a_plan(self, generated: Path) -> None:
        (generated / FIRST_TAR).unlink()
        (generated / "plan.json").unlink()
        with pytest.raises(DatasetError, match=r"no plan\.json of its own"):
            repair(generated)

    def test_another_run_is_writing(self, generated: Path) -> None:
        with acquire(open_storage(generated), purpose="gen-sd"), pytest.raises(DatasetBusyError, match="gen-sd"):
            repair(generated)


class TestRegenerate:
    @pytest.mark.usefixtures("generating_here")
    def test_bit_exact_on_the_same_machine(
        self, retried_once: Path, checked_model: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """All images, those of later attempts and of padded batches among them."""
        assert command(retried_once, "--regenerate", "99", "--model", checked_model) == 0
        rows = [
            row for path in retried_once.glob("manifest/*") for row in rows_of(retried_once, f"manifest/{path.name}")
        ]
        count = sum(row["status"] == "ok" for row in rows)
        output = capsys.readouterr().out
        assert f"bit-exact: {count} of {count}" in output and "largest pixel difference: 0" in output

    @pytest.mark.usefixtures("generating_here")
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

    @pytest.mark.usefixtures("generating_here")
    def test_json_has_no_infinity(self, generated_once: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert command(generated_once, "--regenerate", "2", "--seed", "5", "--json", "--model", model) == 0
        facts = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert (facts["num_images"], facts["num_bit_exact"], facts["seed"], facts["min_psnr"]) == (2, 2, 5, None)
        assert facts["largest_pixel_difference"] == 0 and len(facts["images"]) == 2

    @pytest.mark.usefixtures("generating_here")
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
