"""`apply` and `undo`: what a view changes, what stays, and what is refused."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shardtools.curation import ApplyOptions, diff_datasets
from shardtools.dataset import PlanFile, open_dataset, store_plan_file
from shardtools.encoding import EncodingOptions
from shardtools.errors import DatasetError, OptionError, PlanMismatchError, QueryError, ShardtoolsError, SourceError
from shardtools.loader import CenterCropOptions, Loader, LoaderOptions
from shardtools.manifest import digest
from shardtools.overlays import open_overlay, write_overlay
from shardtools.sources import SourceOptions
from shardtools.sql import query
from shardtools.storage import open_storage
from shardtools.verify import verify
from shardtools.writing import WriteOptions
from tests.helpers.curated_datasets import (
    LAYOUTS,
    apply_here,
    images,
    make_dataset,
    make_photos,
    rows,
    undo_here,
)
from tests.helpers.photo_datasets import content
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.writing_jobs import write_in_process

EDITS = """
select key, reason, case when key like '%p03' or key like '%p11' then 'drop' when key like '%p07' then 'relabel'
    when key like '%p12' then 'reweight' end as action, 2 as class_index, 0.5 as weight
from (select key, 'looked at' as reason from samples) where key like 'train%'
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def datasets(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("datasets")
    return {layout: make_dataset(photos, folder / layout, layout) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def parent(datasets: dict[str, str]) -> str:
    return datasets["tar"]


def overlay(url: str, name: str) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in open_overlay(url, name).read().to_pylist()}


def test_drop_relabel_and_reweight(parent: str, tmp_path: Path) -> None:
    before = content(parent)
    out = str(tmp_path / "out")
    result = apply_here(parent, EDITS, out)

    assert result.changes == {"drop": 2, "relabel": 1, "reweight": 1}
    assert (result.num_taken_over, result.num_made_anew, result.num_written) == (1, 3, 25)
    assert (result.num_rows, result.num_images) == (25, 22)
    assert result.statuses == {"ok": 22, "pruned": 2, "undecodable": 1}
    assert content(parent) == before
    old, new = rows(parent), rows(out)
    assert list(old) == list(new)
    dropped = new["train_class0_p03"]
    assert (dropped["status"], dropped["reason"]) == ("pruned", "looked at")
    assert [dropped[name] for name in ("shard", "sample_index", "member_offset", "num_bytes", "sha256")] == [None] * 5
    assert (dropped["width"], dropped["source_path"]) == (48, old["train_class0_p03"]["source_path"])
    moved = new["train_class1_p07"]
    assert (moved["class_index"], moved["wnid"], moved["label_source"]) == (2, "class2", "edit")
    kept = images(parent)
    assert images(out) == {key: kept[key] for key in new if new[key]["status"] == "ok"}
    changes = overlay(out, "changes")
    assert {key: change["action"] for key, change in changes.items()} == {
        "train_class0_p03": "drop",
        "train_class2_p11": "drop",
        "train_class1_p07": "relabel",
        "train_class0_p12": "reweight",
    }
    one = changes["train_class1_p07"]
    assert [one[name] for name in ("class_index", "wnid", "old_class_index", "old_wnid", "old_label_source")] == [
        2,
        "class2",
        1,
        "class1",
        "folder",
    ]
    assert changes["train_class0_p03"]["old_sha256"] == old["train_class0_p03"]["sha256"]
    weights = overlay(out, "weights")
    # A relabelled sample takes the view's weight too.
    given = {"train_class0_p12": 0.5, "train_class1_p07": 0.5}
    assert {key: row["weight"] for key, row in weights.items()} == {key: given.get(key, 1.0) for key in images(out)}
    info = open_dataset(out).info
    assert info is not None and info.parent == result.parent == digest(open_dataset(parent).content)
    assert verify(out).problems == ()


def test_a_view_of_keys_names_what_is_kept_or_dropped(parent: str, tmp_path: Path) -> None:
    val = "select key, 'not mine' as reason, class_index from samples where split = 'val'"
    keys = "select key from samples where split = 'val'"

    apply_here(parent, keys, tmp_path / "kept")
    kept = rows(str(tmp_path / "kept"))
    assert {key for key, row in kept.items() if row["status"] == "ok"} == {key for key in kept if key.startswith("val")}
    assert kept["train_class0_p00"]["reason"] == "not in the view"
    assert kept["train_class0_broken"]["status"] == "undecodable"
    apply_here(parent, val, tmp_path / "kept-too", keep=True)
    assert rows(str(tmp_path / "kept-too")) == kept
    apply_here(parent, val, tmp_path / "dropped", drop=True)
    dropped = rows(str(tmp_path / "dropped"))
    assert {key for key, row in dropped.items() if row["status"] == "pruned"} == {
        key for key in dropped if key.startswith("val")
    }
    assert dropped["val_class0_v00"]["reason"] == "not mine"
    assert all(verify(str(tmp_path / name)).problems == () for name in ("kept", "kept-too", "dropped"))


def test_labels_alone_are_edits(parent: str, tmp_path: Path) -> None:
    result = apply_here(parent, "select key, 0 as class_index from samples where key like 'val%'", tmp_path / "out")

    assert result.changes == {"relabel": 4, "as before": 2}
    assert result.num_images == 24
    assert {row["class_index"] for key, row in rows(result.url).items() if key.startswith("val")} == {0}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_there_and_back(layout: str, datasets: dict[str, str], tmp_path: Path) -> None:
    dataset, out, back = datasets[layout], str(tmp_path / "out"), str(tmp_path / "back")
    apply_here(dataset, EDITS, out, num_processes=2)
    undo_here(out, dataset, back, num_processes=2)

    assert verify(out).problems == () and verify(back).problems == ()
    before, after = content(dataset), content(back)
    assert {path for path in {*before, *after} if before.get(path) != after.get(path)} == {"plan.json", "dataset.json"}
    assert diff_datasets(dataset, back).equal


READ_BY_WEBDATASET = """
import hashlib, json, sys
sys.modules["torch"] = None  # webdataset works without it, and importing it takes long
import webdataset
for sample in webdataset.WebDataset(sys.argv[1:], shardshuffle=False):
    digest = hashlib.sha256(sample["jpg"]).hexdigest()
    print(json.dumps([sample["__key__"], int(sample["cls"]), json.loads(sample["json"])["class_index"], digest]))
"""


def test_tars_are_read_by_plain_webdataset(parent: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    apply_here(parent, EDITS, out)
    tars = sorted(str(path) for path in (out / "shards").glob("*.tar"))
    done = subprocess.run(
        [sys.executable, "-c", READ_BY_WEBDATASET, *tars], capture_output=True, text=True, check=True, timeout=120
    )

    read = {key: facts for key, *facts in map(json.loads, done.stdout.splitlines())}
    assert read == {
        key: [row["class_index"], row["class_index"], row["sha256"]]
        for key, row in rows(str(out)).items()
        if row["status"] == "ok"
    }


def test_the_loader_reads_labels_and_weights(parent: str, tmp_path: Path) -> None:
    out = apply_here(parent, EDITS, tmp_path / "out").url
    view = "select key, weight from samples join overlays.weights using (dataset, key)"
    wanted = LoaderOptions(datasets=(out,), view=view, batch_size=30, last="short", crop=CenterCropOptions(size=24))
    with Loader(wanted) as loader:
        [batch] = loader.epoch(0)

    labels = {key: row["class_index"] for key, row in rows(out).items() if row["status"] == "ok"}
    assert dict(zip(batch.keys, batch.labels.tolist(), strict=True)) == labels
    assert batch.weights is not None
    light = [key for key, weight in zip(batch.keys, batch.weights.tolist(), strict=True) if weight == 0.5]
    assert sorted(light) == ["train_class0_p12", "train_class1_p07"]


def test_members_of_the_sources_own_follow_a_relabel(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x-000000.tar", "w") as tar:
        for number in range(3):
            facts = json.dumps({"wnid": f"n{number}", "camera": "mine"}).encode()
            for extension, payload in (("jpg", jpeg(number)), ("cls", b"%d\n" % number), ("json", facts)):
                member = tarfile.TarInfo(f"k{number}.{extension}")
                member.size = len(payload)
                tar.addfile(member, io.BytesIO(payload))
    source = SourceOptions(source=str(tmp_path / "x-000000.tar"))
    write_in_process(WriteOptions(source=source, out=str(tmp_path / "in")))
    apply_here(str(tmp_path / "in"), "select key, 2 as class_index from samples where key = 'k0'", tmp_path / "out")

    with tarfile.open(next((tmp_path / "out/shards").iterdir())) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert [members[f"k{number}.cls"] for number in range(3)] == [b"2", b"1\n", b"2\n"]
    assert json.loads(members["k0.json"]) == {"wnid": "n2", "camera": "mine"}
    assert verify(str(tmp_path / "out")).problems == ()


def test_raw_pixels_stay_raw(photos: Path, tmp_path: Path) -> None:
    raw = make_dataset(photos, tmp_path / "raw", "beton", encoding=EncodingOptions(write_mode="raw"))
    apply_here(raw, "select key from samples where key like '%p03'", tmp_path / "out", drop=True)

    before, after = images(raw), images(str(tmp_path / "out"))
    assert after == {key: pixels for key, pixels in before.items() if key in after} and len(after) == len(before) - 1
    assert {row["image_format"] for row in rows(str(tmp_path / "out")).values() if row["shard"]} == {"raw"}


def test_a_damaged_image_can_be_dropped_and_stops_otherwise(photos: Path, tmp_path: Path) -> None:
    dataset = make_dataset(photos, tmp_path / "in")
    row = rows(dataset)["train_class0_p03"]
    path = Path(dataset, row["shard"])
    path.write_bytes(path.read_bytes().replace(images(dataset)["train_class0_p03"], b"x" * row["num_bytes"]))
    sql = "select key from samples where key like '%p{}' and shard = '" + row["shard"] + "'"
    others = [key[-2:] for key, one in rows(dataset).items() if one["shard"] == row["shard"] and key != row["key"]]

    with pytest.raises(SourceError, match=r"key 'train_class0_p03'.*is not the one that was recorded"):
        apply_here(dataset, sql.format(others[0]), tmp_path / "bad", drop=True)
    apply_here(dataset, sql.format("03"), tmp_path / "good", drop=True)
    assert verify(str(tmp_path / "good")).problems == ()


def test_links_share_untouched_files_only_when_asked(parent: str, tmp_path: Path) -> None:
    apply_here(parent, EDITS, tmp_path / "copied")
    apply_here(parent, EDITS, tmp_path / "linked", link=True)

    def shared(out: Path) -> int:
        files = [path.relative_to(out) for path in out.glob("shards/*")]
        return sum(os.path.samefile(out / path, Path(parent) / path) for path in files)

    assert (shared(tmp_path / "copied"), shared(tmp_path / "linked")) == (0, 1)
    assert content(tmp_path / "copied") == content(tmp_path / "linked")


def test_versions_follow_each_other_and_are_undone_one_by_one(parent: str, photos: Path, tmp_path: Path) -> None:
    first, second, back = (str(tmp_path / name) for name in ("first", "second", "back"))
    apply_here(parent, EDITS, first)
    edits = "select key, 'reweight' as action, 3 as weight from samples where key like '%p04' union all " + (
        "select key, 'drop', null from samples where key like '%p03'"
    )
    result = apply_here(first, edits, second)

    # A sample that is gone already stays as it is, and what had a weight keeps it.
    assert result.changes == {"without image": 1, "reweight": 1}
    assert result.num_made_anew == 0
    weights = {key: row["weight"] for key, row in overlay(second, "weights").items() if row["weight"] != 1}
    assert weights == {"train_class0_p12": 0.5, "train_class1_p07": 0.5, "train_class1_p04": 3.0}
    undo_here(second, first, back)
    assert diff_datasets(first, back).equal
    assert overlay(back, "weights") == overlay(first, "weights")
    with pytest.raises(DatasetError, match=r"was made from commit \w+ of a dataset, .* and never was"):
        undo_here(second, parent, tmp_path / "never")
    with pytest.raises(DatasetError, match="was not made by shardtools apply"):
        undo_here(back, first, tmp_path / "never")


def test_undo_keeps_what_was_appended_since(photos: Path, tmp_path: Path) -> None:
    dataset, out, back = make_dataset(photos, tmp_path / "in"), str(tmp_path / "out"), str(tmp_path / "back")
    before = rows(dataset)
    apply_here(dataset, EDITS, out)
    more = write_files(tmp_path / "more", {f"train/class{n}/m{n}.jpg": jpeg(80 + n) for n in range(3)})
    for url, prefix in ((dataset, "a"), (out, "b")):
        source = SourceOptions(source=str(more))
        write_in_process(WriteOptions(source=source, out=url, append=True, key_prefix=prefix, samples_per_shard=5))
    undo_here(out, dataset, back)

    # What the parent got since was not there when the changes were made.
    after = rows(back)
    assert {key for key in after if key not in before} == {f"btrain_class{n}_m{n}" for n in range(3)}
    assert {key: row for key, row in after.items() if key in before} == before
    assert verify(back).problems == ()


def test_overlays_are_carried_by_name(parent: str, photos: Path, tmp_path: Path) -> None:
    dataset = make_dataset(photos, tmp_path / "in")
    table = pa.table({"key": list(rows(dataset)), "score": list(range(25))})
    for name in ("scores", "noise"):
        write_overlay(dataset, name, [table], made_by="a test", settings={})
    sql = "select key, 0 as class_index from samples join overlays.scores using (dataset, key) where score = 7"
    result = apply_here(dataset, sql, tmp_path / "out", carry=("scores",))

    assert result.overlays_left == ("noise",)
    assert open_overlay(result.url, "scores").read() == table
    [count] = query("select count(*) as n from samples join overlays.scores using (key)", [result.url]).to_pylist()
    assert count == {"n": 25}
    with pytest.raises(DatasetError, match=r"--carry-overlay none: .* has no such overlay, it has noise, scores"):
        apply_here(dataset, sql, tmp_path / "no", carry=("none",))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select sha256 from samples", "returns no column key, found sha256"),
        ("select split, class_index from samples", "returns no column key"),
        ("select key from samples where false", "has no row: expected at least one key"),
        ("select 'x' as key", r"1 key of the view is not in .*: 'x'"),
        ("select key from samples union all select key from samples", "has 25 keys more than once"),
        ("select null as key", "1 row without key"),
        ("select 1 as key", "key of the view is text, found int32"),
        ("select key, 9 as class_index from samples", "class_index 9, .* has 3 classes from 0 to 2"),
        ("select key, -1 as class_index from samples", "class_index of the view is at least 0, found -1"),
        ("select key, 0.5 as class_index from samples", "class_index of the view is a whole number"),
        ("select key, true as class_index from samples", "class_index of the view is a whole number"),
        ("select key, 'nan'::double as weight from samples", "weight of the view is a finite number of at least 0"),
        ("select key, 'x' as weight from samples", "weight of the view is a number, found string"),
        ("select key, 'delete' as action from samples", "expected one of drop, relabel, reweight, found action"),
        ("select key, 'relabel' as action from samples", "expected a class_index to relabel with"),
        ("select key, 'reweight' as action from samples", "expected a weight to reweight with"),
        ("select key, 'drop' as action from samples", "would leave no image"),
        ("select key, class_index from samples", r"changes nothing in .* \(25 rows as before\)"),
        ("select key, 'drop' as action from samples where status <> 'ok'", "1 row without image"),
        ("select key, 'a' || chr(10) || 'b' as reason, 0 as weight from samples", "reason of the view is one line"),
        ("select key, repeat('a', 501) as reason, 0 as weight from samples", "has 501 characters"),
        ("select key, key from samples", "returns key once, found it twice"),
        ("drop table samples", "expected a statement that reads"),
        ("select key frm samples", "cannot run the SQL"),
    ],
)
def test_views_that_are_refused(sql: str, message: str, parent: str, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=message) as error:
        apply_here(parent, sql, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_options_and_places_that_are_refused(parent: str, photos: Path, tmp_path: Path) -> None:
    keys = "select key from samples where split = 'val'"
    cases: list[tuple[type[ShardtoolsError], str, dict[str, Any]]] = [
        (OptionError, "--keep drops what the view leaves out", {"keep": True, "drop": True}),
        (OptionError, "--num-processes is at least 1", {"num_processes": 0}),
        (OptionError, "apply writes the overlay weights itself", {"carry": ("weights",)}),
        (OptionError, "has a column action too", {"view": EDITS, "drop": True}),
        (OptionError, "a view is SQL, a .sql file or edits", {"view": "samples"}),
        (OptionError, "--param and --overlay are for SQL", {"view": "x.csv", "parameters": {"a": 1}}),
        (OptionError, "lies inside of its source", {"out": parent + "/below"}),
        (DatasetError, "is no dataset", {"dataset": str(photos)}),
    ]
    for kind, message, options in cases:
        with pytest.raises(kind, match=message):
            apply_here(**{"dataset": parent, "view": keys, "out": tmp_path / "out", **options})
    with pytest.raises(PlanMismatchError, match="holds other files"):
        apply_here(parent, keys, str(photos))
    apply_here(parent, keys, tmp_path / "out")
    with pytest.raises(PlanMismatchError, match="holds another plan: changes is"):
        apply_here(parent, keys, tmp_path / "out", drop=True)
    unfinished = tmp_path / "unfinished"
    plan = PlanFile(kind="real", plan_id="x", settings={}, notes={}, scale=1, num_shards=1, num_rows=1)
    store_plan_file(open_storage(str(unfinished)), plan)
    for part in Path(parent, "manifest").iterdir():
        open_storage(str(unfinished)).write(f"manifest/{part.name}", part.read_bytes())
    with pytest.raises(DatasetError, match="is not finished"):
        apply_here(str(unfinished), keys, tmp_path / "never")
    assert ApplyOptions(dataset=parent, view=keys, out="x").keep is False
