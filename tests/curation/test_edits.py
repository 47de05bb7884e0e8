"""Files of edits: what the report exports is applied, and what else comes is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from shardtools.cli.apply import command
from shardtools.curation import encode_edits, read_edits_file
from shardtools.dataset import open_dataset
from shardtools.errors import FormatVersionError, NotFoundError, ShardtoolsError, SourceError
from shardtools.manifest import digest
from tests.helpers.curated_datasets import apply_here, make_dataset, make_photos, rows

EDITS: list[dict[str, Any]] = [
    {"key": "train_class0_p03", "action": "drop", "reason": 'dark & <b>"blank"</b>'},
    {"key": "train_class1_p07", "action": "relabel", "class_index": 2},
    {"key": "val_class1_v01", "action": "reweight", "weight": 0.5},
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("edits")
    return make_dataset(make_photos(folder / "photos"), folder / "dataset")


def run(*args: str | Path) -> Result:
    result = CliRunner().invoke(command, list(map(str, args)), standalone_mode=False)
    if isinstance(result.exception, ShardtoolsError):
        raise result.exception
    return result


def test_json_csv_and_parquet_say_the_same(dataset: str, tmp_path: Path) -> None:
    table = pa.Table.from_pylist(
        [dict.fromkeys(("key", "action", "class_index", "weight", "reason")) | one for one in EDITS]
    )
    (tmp_path / "edits.json").write_bytes(encode_edits(EDITS, dataset_sha256=digest(open_dataset(dataset).content)))
    pq.write_table(table.append_column("score", pa.array([1, 2, 3])), tmp_path / "edits.parquet")
    lines = ["key,action,class_index,weight,reason", 'train_class0_p03,drop,,,"dark & <b>""blank""</b>"']
    lines += ["train_class1_p07,relabel,2,,", "val_class1_v01,reweight,,0.5,"]
    (tmp_path / "edits.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "edits.sql").write_text("from read_me -- not run\n")

    plans = set()
    for suffix in ("json", "csv", "parquet"):
        result = apply_here(dataset, str(tmp_path / f"edits.{suffix}"), tmp_path / suffix)
        assert result.changes == {"drop": 1, "relabel": 1, "reweight": 1}
        plans.add(result.plan_id)
    assert len(plans) == 1
    assert rows(str(tmp_path / "csv"))["train_class0_p03"]["reason"] == EDITS[0]["reason"]


def test_a_csv_of_keys(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("key\nval_class1_v01\nval_class2_v02\n")

    assert apply_here(dataset, str(tmp_path / "keys.csv"), tmp_path / "a").num_images == 2
    assert apply_here(dataset, str(tmp_path / "keys.csv"), tmp_path / "b", drop=True).num_images == 22


def _file(**changed: Any) -> dict[str, Any]:
    return {"format": "shardtools-edits", "format_version": 1, "dataset_sha256": None, "edits": EDITS, **changed}


def _edit(**changed: Any) -> dict[str, Any]:
    return _file(edits=[{"key": "train_class0_p03", "action": "drop", **changed}])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no JSON that can be read"),
        ("{", "is no JSON that can be read"),
        ("[" * 100_000, "is no JSON that can be read"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ("9" * 10_000, "is no JSON that can be read"),
        ("\xff", "is no file of edits|is no JSON"),
        ([], "is no file of edits"),
        (_file(format="other"), "is no file of edits"),
        (_file(format_version=2), "has format version 2, this release reads 1"),
        (_file(format_version=True), "has format version True"),
        (_file(dataset_sha256="ab" * 32), "was made for commit 'abab"),
        (_file(dataset_sha256=["x"] * 1000), "was made for commit a list of 1000"),
        (_file(edits={}), "expected a list under edits"),
        (_file(edits=[]), "has no row"),
        (_file(edits=[3]), "edit 0: expected an object, found 3"),
        (_file(edits=[{"key": "a"}]), "expected a text as action, found None"),
        (_edit(key=7), "expected a text as key, found 7"),
        (_edit(key="\ud800"), "expected a text in Unicode as key"),
        (_edit(key="a\nb"), r"is not in .*: 'a\\nb'"),
        (_edit(key="<script>alert(1)</script>"), "1 key of the view is not in"),
        (_edit(action="rm -rf"), "expected one of drop, relabel, reweight, found action 'rm -rf'"),
        (_edit(action="relabel"), "expected a class_index to relabel with"),
        (_edit(action="relabel", class_index=True), "expected a whole number of at least 0 as class_index"),
        (_edit(action="relabel", class_index=2**31), "expected a whole number of at least 0 as class_index"),
        (_edit(action="relabel", class_index="1"), "expected a whole number of at least 0 as class_index"),
        (_edit(action="relabel", class_index=77), "class_index 77, .* has 3 classes from 0 to 2"),
        (_edit(action="reweight"), "expected a weight to reweight with"),
        (_edit(action="reweight", weight=-1), "expected a finite number of at least 0 as weight"),
        (_edit(action="reweight", weight=10**400), "expected a finite number of at least 0 as weight"),
        (_edit(action="reweight", weight="1"), "expected a finite number of at least 0 as weight"),
        (_edit(reason=["x"]), "expected a text in Unicode as reason"),
        (_edit(reason="two\nlines"), "is one line without control characters"),
        (_edit(reason="x" * 501), "has 501 characters, expected at most 500"),
        (_edit(path="../../etc/passwd"), "expected key, action, class_index, weight, reason, found 'path'"),
        (_file(edits=EDITS + EDITS), "has 3 keys more than once"),
    ],
)
def test_hostile_json(content: Any, message: str, dataset: str, tmp_path: Path) -> None:
    path = tmp_path / "edits.json"
    path.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode("latin-1"))

    with pytest.raises(ShardtoolsError, match=message) as error:
        apply_here(dataset, str(path), tmp_path / "out")
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    assert not (tmp_path / "out").exists()


@given(content=st.binary(max_size=60), suffix=st.sampled_from(["json", "csv", "parquet"]))
def test_any_bytes_are_read_or_refused(content: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    path.write_bytes(content)

    try:
        assert set(read_edits_file(str(path), dataset_sha256="0" * 64).schema.names) <= {
            "key",
            "action",
            "class_index",
            "weight",
            "reason",
        }
    except (SourceError, FormatVersionError) as error:
        assert "\n" not in str(error)


def test_the_command(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "edits.json").write_bytes(encode_edits(EDITS[:1], dataset_sha256=None))
    (tmp_path / "small.sql").write_text("select key from samples where split = $split")
    out, back = tmp_path / "out", tmp_path / "back"
    done = run(dataset, tmp_path / "edits.json", "--out", out, "--num-processes", "1")

    assert done.exit_code == 0, done.output
    assert "changes: 1 dropped; parts taken over byte for byte 3, made anew 1" in done.output
    assert f"shardtools diff {dataset} {out}" in done.output
    undone = run(out, "--undo", "--parent", dataset, "--out", back, "--num-processes", "1", "--json")
    report = json.loads(undone.stdout.splitlines()[-1])
    assert (report["num_taken_over"], report["num_images"]) == (4, 24)
    again = run(out, "--undo", "--parent", dataset, "--out", back)
    assert "nothing left to write" in again.output
    kept = run(
        dataset, tmp_path / "small.sql", "--param", "split=val", "--out", tmp_path / "val", "--num-processes", "1"
    )
    assert "18 dropped" in kept.output
    for wrong, message in (
        ((dataset, "--out", out), "no VIEW"),
        ((dataset, "x.csv", "--parent", "p", "--out", out), "--parent without --undo"),
        ((dataset, "--undo", "--out", out), "--undo takes --parent and --out, found no --parent"),
        ((dataset, "--undo", "--parent", "p", "--drop", "--out", out), "found --drop"),
    ):
        assert message in str(run(*wrong).exception)
    with pytest.raises(NotFoundError, match=r"gone\.csv"):
        run(dataset, tmp_path / "gone.csv", "--out", tmp_path / "no")
