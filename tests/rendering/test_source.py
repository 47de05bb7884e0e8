"""Rendered pictures as a source: the rows of any range, and what refuses a run that would mix bits."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardtools.audits.duplicates import DuplicatesOptions, find_duplicates
from shardtools.errors import DatasetError, OptionError, PlanMismatchError, RunError, SourceError
from shardtools.rendering import RENDERED, Mesh, Renderer, as_seen, describe_renderer, image_key
from shardtools.sql import find_query, query
from shardtools.verify import RepairOptions, repair, verify
from shardtools.writing import WriteOptions
from tests.helpers.photo_datasets import content
from tests.helpers.rendered_worlds import FEW, SIDE, SMALL, rendered
from tests.helpers.writing_jobs import write_in_process


def pixels(image_bytes: bytes | None) -> Any:
    assert image_bytes is not None
    return np.asarray(Image.open(io.BytesIO(image_bytes)).convert("RGB"))


def written(source: Any, out: Path, num_processes: int = 1) -> str:
    write_in_process(WriteOptions(source=source, out=str(out), samples_per_shard=7), num_processes)
    return str(out)


def test_a_row_says_what_it_shows(tmp_path: Path) -> None:
    source = rendered(tmp_path, 2, 2, options=replace(FEW, image_format="png"))
    rows = list(source.samples("train", 0, len(source.plan)))
    drawn_with = describe_renderer(SMALL)
    assert [one.key for one in rows] == list(source.keys("train"))
    assert len(rows) == 4 * (1 + 4 * 3 + 4)
    renderer = Renderer(SMALL)
    for image, row in zip(source.plan.images(0, len(rows)), rows, strict=True):
        of, said = source.objects[image.object_index], row.provenance
        assert row.key == image_key(source.plan.objects[image.object_index], image.grid, image.index)
        assert (row.wnid, row.class_index) == (of.wnid, source.plan.wnids.index(of.wnid))
        assert (row.source, row.label_source, row.status) == (RENDERED, "mesh", "ok")
        assert (row.width, row.height, row.mode, row.image_format) == (SIDE, SIDE, "RGB", "png")
        assert (said["object_id"], said["mesh_sha256"], said["mesh_license"]) == (of.object_id, of.sha256, of.license)
        assert said["background"] == image.values.background
        assert said["background_type"] == image.values.background.split("/")[0]
        assert (said["pose"], said["hue"], said["is_canonical"]) == (
            image.values.pose, image.values.hue, image.is_canonical,
        )  # fmt: skip
        assert said["renderer"] == drawn_with and said["pose_axis"] == "roll" and said["jpeg_quality"] is None
        assert {"elevation"} <= json.loads(said["camera"]).keys()
        mesh = source.meshes.read(of)
        photo = source.backgrounds.read(source.photos[image.values.background], SIDE)
        np.testing.assert_array_equal(pixels(row.image_bytes), renderer.render(mesh, as_seen(image.values), photo))
    renderer.close()
    source.close()
    assert [one.provenance["varied"] for one in rows[:5]] == ["", "pose", "pose", "pose", "size"]


def test_the_ends_of_a_circle_are_the_same_bytes(tmp_path: Path) -> None:
    rows = list(rendered(tmp_path, 1, options=replace(FEW, objects=1)).samples("train", 0, 17))
    poses = [one for one in rows if one.provenance["varied"] == "pose"]
    hues = [one for one in rows if one.provenance["varied"] == "lighting"]
    for of in (poses, hues):
        assert of[0].image_bytes == of[-1].image_bytes != of[1].image_bytes


def test_jpegs_keep_all_of_their_color(tmp_path: Path) -> None:
    source = rendered(tmp_path, 2, options=replace(FEW, quality=95))
    (row,) = source.samples("train", 0, 1)
    with Image.open(io.BytesIO(row.image_bytes or b"")) as image:
        assert image.format == "JPEG" and [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
    assert row.provenance["jpeg_quality"] == 95


def test_any_range_is_the_same_and_a_mesh_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = rendered(tmp_path, 2, 2)
    names: list[str] = []
    read = type(source.meshes.storage).read

    def noted(self: Any, path: str) -> bytes:
        names.append(path)
        return read(self, path)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(source.meshes.storage), "read", noted)
        rows = list(source.samples("train", 0, len(source.plan)))
    wnids = ("n00000001", "n00000002")
    assert sorted(name for name in names if name.endswith(".mesh")) == [
        f"{wnid}/object{n}.mesh" for wnid in wnids for n in (0, 1)
    ]
    source.close()
    for start, stop in ((0, 1), (16, 18), (5, 40), (68, 68)):
        again = pickle.loads(pickle.dumps(rendered(tmp_path, 2, 2)))
        assert list(again.samples("train", start, stop)) == rows[start:stop]
        again.close()


def test_the_dataset_is_the_same_from_one_process_and_from_three(tmp_path: Path) -> None:
    outs = [written(rendered(tmp_path / "works", 2, 2), tmp_path / f"out{n}", n) for n in (1, 3)]
    assert content(outs[0]) == content(outs[1])
    report = verify(outs[0])
    assert (report.problems, report.kind) == ((), RENDERED)
    rows = query("select grid, varied, count(*) as images from samples group by all order by all", outs)
    assert rows.to_pylist()[0] == {"grid": "canonical", "varied": "", "images": 8}


def broken(mesh: Mesh) -> Mesh:
    part = replace(mesh.parts[0], texture=0)
    return replace(mesh, parts=(part,), textures=(b"no picture",))


def test_an_object_that_cannot_be_drawn_is_rows_with_the_reason(tmp_path: Path) -> None:
    source = rendered(tmp_path, 1, 1, options=replace(FEW, objects=1), change=broken)
    rows = list(source.samples("train", 0, len(source.plan)))
    source.close()
    half = len(rows) // 2
    # No place in memory is named: the rows of two runs are the same.
    assert {(one.status, one.reason) for one in rows[:half]} == {
        ("unrenderable", "a texture is no picture that can be read (UnidentifiedImageError)")
    }
    assert {one.image_bytes for one in rows[:half]} == {None}
    assert {one.status for one in rows[half:]} == {"ok"}


def test_duplicates_know_what_a_grid_holds_twice(tmp_path: Path) -> None:
    out = written(rendered(tmp_path / "works", 2, 2), tmp_path / "out")
    result = find_duplicates(DuplicatesOptions(datasets=(out,), kinds=("exact",)))
    # Of each object the ends of pose and of hue, and the canonical picture: its own, of pose, position and background.
    assert (len(result.pairs), result.num_by_design) == (0, 4 * (1 + 1 + 3))
    assert query(find_query("duplicates").sql, [out], parameters={"min_copies": 2}).num_rows == 0


def unseen(mesh: Mesh) -> Mesh:
    return replace(mesh, parts=(replace(mesh.parts[0], color=(1.0, 0.0, 0.0, 0.0)),))


def test_a_picture_of_the_photograph_alone_is_said(tmp_path: Path) -> None:
    source = rendered(tmp_path, 1, options=replace(FEW, objects=1), change=unseen)
    (row,) = source.samples("train", 0, 1)
    source.close()
    assert (row.status, row.image_bytes) == ("empty", None)
    assert row.reason == f"nothing of {source.objects[0].object_id} is to be seen"


@pytest.mark.parametrize("lost", ["meshes/n00000001/object0.mesh", "backgrounds/home/0.jpg"])
def test_a_file_that_is_gone_ends_the_run(lost: str, tmp_path: Path) -> None:
    source = rendered(tmp_path, 2)
    (tmp_path / lost).unlink()
    with pytest.raises(SourceError, match=f"{lost} is (gone|missing)"):
        list(source.samples("train", 0, len(source.plan)))
    source.close()


def test_another_renderer_ends_the_run(tmp_path: Path) -> None:
    source = rendered(tmp_path, 2, renderer="another; 1.0")
    with pytest.raises(RunError, match=r"draws with .*, the plan with another; 1\.0, which gives other bits"):
        list(source.samples("train", 0, 1))
    source.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"renderer": "another; 1.0"}, "renderer is .* there, .*another; 1.0.* here"),
        (
            {"options": replace(FEW, size_range=(0.3, 1.2))},
            r"render_size_range is \[0.2, 1.2\] there, \[0.3, 1.2\] here",
        ),
        ({"options": replace(FEW, grids=("single",))}, "render_grid is .* here"),
        ({"scene": replace(SMALL, pose_axis="yaw")}, 'scene_pose_axis is "roll" there, "yaw" here'),
    ],
)
def test_a_dataset_that_was_rendered_otherwise_is_refused_by_name(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    out = written(rendered(tmp_path / "works", 2), tmp_path / "out")
    with pytest.raises(PlanMismatchError, match=message):
        written(rendered(tmp_path / "works", 2, **changes), Path(out))


def test_other_objects_are_another_plan_and_other_places_are_not(tmp_path: Path) -> None:
    one, moved, other = rendered(tmp_path / "a", 2), rendered(tmp_path / "b", 2), rendered(tmp_path / "a", 2, 2)
    assert one.settings == moved.settings
    assert one.settings["meshes"] != other.settings["meshes"]
    assert json.loads(json.dumps(one.settings)) == one.settings
    assert str(tmp_path) not in json.dumps(one.settings)


def test_nothing_is_added_to_a_rendered_dataset(tmp_path: Path) -> None:
    out = written(rendered(tmp_path / "works", 2), tmp_path / "out")
    with pytest.raises(OptionError, match="holds rendered images, of one plan"):
        write_in_process(WriteOptions(source=rendered(tmp_path / "works", 2, 2), out=out, append=True))


def test_a_shard_that_is_taken_out_with_its_part_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    written(rendered(tmp_path / "works", 2), out)
    before = content(out)
    (out / "shards" / "train-000002.tar").unlink()
    with pytest.raises(DatasetError, match="remove the bad shards with their parts in manifest/, and run the same"):
        repair(str(out), RepairOptions())
    (out / "manifest" / "train-000002.parquet").unlink()
    written(rendered(tmp_path / "works", 2), out)
    assert content(out) == before


def test_two_contexts_draw_the_same_bytes(tmp_path: Path) -> None:
    one, other = rendered(tmp_path, 2, 2), rendered(tmp_path, 2, 2)
    rows = list(one.samples("train", 0, 34))
    one.close()
    assert list(other.samples("train", 17, 34)) == rows[17:]
    other.close()
    assert {row.status for row in rows} == {"ok"}
    # The ends of the circles of pose and hue, and the canonical pictures, are one file each.
    assert len({row.image_bytes for row in rows}) == 2 * (1 + 1 + 3 + 2 + 2 + 3)
