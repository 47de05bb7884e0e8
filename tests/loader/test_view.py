"""The table of a SQL view: its samples, order, labels and weights, and views that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardtools.errors import QueryError, StorageError
from shardtools.loader import SampleTable, read_view
from tests.loader.test_table import agrees, generated, manifest, real

__all__ = ["generated", "real"]

FROM = "from samples where status = 'ok'"


def test_a_view_selects_relabels_and_weighs_in_any_order(real: str) -> None:
    sql = """
        select key, 10 + class_index as class_index, sample_index / 2.0 as weight, width
        from samples where split = $split and class_index = 1 order by key desc
    """
    table = read_view([real], sql, {"split": "train"})
    expected = [row for row in manifest([real], "train") if row["class_index"] == 1]

    assert agrees(table, [{**row, "class_index": 11} for row in expected])
    assert table.weight is not None
    assert table.weight.tolist() == [row["sample_index"] / 2 for row in expected]
    assert table.shard_starts.tolist()[-1] == len(expected)


def test_a_view_over_datasets_with_the_same_keys_names_the_dataset(real: str, generated: str) -> None:
    table = read_view([real, generated], "select dataset, key from samples where status = 'ok' and sample_index < 4")
    expected = [row for row in manifest([real, generated], None) if row["sample_index"] < 4]

    assert agrees(table, expected)
    only = read_view(
        [real, generated], f"select dataset, key from samples where dataset = '{generated}' and width = 20"
    )
    assert agrees(
        only, [row for row in manifest([real, generated], None) if row["dataset"] == 1 and row["width"] == 20]
    )
    assert only.dataset_starts.tolist() == [0, 0, len(only)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (f"select key {FROM} and key = 'nothing'", "the view returned no row"),
        (f"select class_index {FROM}", "a view returns a column `key`, found class_index: select key"),
        ("select 'other' as key", "the key 'other', which is not in "),
        ("select key from samples where split = 'val'", "which has no image .status undecodable.: add where status"),
        (f"select key {FROM} union all select 'v0'", "each key once, found 'v0' 2 times"),
        (f"select key, class_index {FROM}", "`class_index` of a view has no nulls, found one at key"),
        (f"select key, 0.5 as class_index {FROM}", "`class_index` of a view is a whole number, found decimal"),
        (f"select key, [1] as class_index {FROM}", "`class_index` of a view is a whole number, found list"),
        (f"select key, {{'a': 1}} as class_index {FROM}", "`class_index` of a view is a whole number, found struct"),
        (f"select key, date '2020-01-01' as class_index {FROM}", "a whole number, found date32"),
        (f"select key, time '00:00:01' as class_index {FROM}", "a whole number, found time64"),
        (f"select key, timestamp '2020-01-01' as class_index {FROM}", "a whole number, found timestamp"),
        (f"select key, '3' as class_index {FROM}", "a whole number, found string"),
        (f"select key, true as class_index {FROM}", "a whole number, found bool"),
        (f"select key, [1] as weight {FROM}", "`weight` of a view is a number, found list"),
        (f"select key, timestamp '2020-01-01' as weight {FROM}", "`weight` of a view is a number, found timestamp"),
        (f"select key, 'a' as class_index {FROM}", "`class_index` of a view is a whole number, found string"),
        (f"select key, -1 as class_index {FROM}", "`class_index` of a view is at least 0, found -1"),
        (f"select key, 3000000000 as class_index {FROM}", "`class_index` of a view is a whole number"),
        (f"select key, -0.5 as weight {FROM}", "finite number of at least 0, found -0.5 at"),
        (f"select key, 'nan'::double as weight {FROM}", "finite number of at least 0, found nan at"),
        (f"select key, null::double as weight {FROM}", "`weight` of a view has no nulls, found one at key"),
        (f"select key, 0 as weight {FROM}", "above 0 for at least one key"),
        (f"select key, 'much' as weight {FROM}", "`weight` of a view is a number, found string"),
        (f"select sample_index as key {FROM}", "`key` of a view is text, found int32"),
        ("select null::varchar as key", "`key` of a view has no nulls, found 1"),
        (f"select key, 'there' as dataset {FROM}", "`dataset` of a view is one of .*, found 'there'"),
        (f"select key, 1 as weight, 2 as weight {FROM}", "a view returns `weight` once, found it twice"),
        ("select key from sample", "cannot run the SQL"),
        ("create table t as select key from samples", "expected a statement that reads"),
    ],
)
def test_a_view_that_does_not_fit_is_refused(real: str, sql: str, words: str) -> None:
    with pytest.raises(QueryError, match=words) as caught:
        read_view([real], sql)
    assert "\n" not in str(caught.value)


def test_a_key_in_two_datasets_needs_its_dataset(real: str, generated: str) -> None:
    with pytest.raises(QueryError, match=r"which is in .*real and .*generated: select the column dataset too"):
        read_view([real, generated], "select distinct key from samples where status = 'ok'")


def test_a_view_can_be_saved_with_its_labels_and_weights(real: str, tmp_path: Path) -> None:
    view = read_view([real], f"select key, 7 as class_index, 0.5 as weight {FROM}")
    view.save(tmp_path / "view")
    loaded = SampleTable.load(tmp_path / "view")

    assert loaded.digest == view.digest
    assert set(loaded.class_index.tolist()) == {7}
    assert loaded.weight is not None
    with pytest.raises(StorageError, match="cannot write the table to"):
        view.save(tmp_path / "view")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["view"]
