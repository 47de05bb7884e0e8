"""Tables of features: written once, read in blocks, refused where they are of something else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.dataset import open_dataset
from shardtools.documents import build
from shardtools.errors import DatasetError, FormatVersionError, OptionError, PlanMismatchError
from shardtools.execution import ignore
from shardtools.features import (
    FEATURE_PROTOCOLS,
    EncoderFacts,
    FeatureOptions,
    FeaturesInfo,
    FeatureStore,
    FeatureWriter,
    Skipped,
    feature_names,
    make_plan,
    only_features,
    open_features,
    remove_features,
    write_features,
)
from shardtools.features.features_file import PLAN_FILE, rows_per_part
from shardtools.features.launch import Extraction
from shardtools.features.writer import commit_features, features_storage, parts_done
from shardtools.loader import read_all
from tests.helpers.feature_datasets import encoder, make_labeled, with_features

NUM_ROWS = 150
DIM = 5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    labels = [None if n == 7 else n % 3 for n in range(NUM_ROWS)]
    return make_labeled(tmp_path_factory.mktemp("features") / "dataset", labels)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    found: np.ndarray = np.random.default_rng(0).normal(size=(NUM_ROWS, DIM)).astype(np.float16)
    return found


@pytest.fixture(scope="module")
def store(dataset: str, values: np.ndarray) -> FeatureStore:
    """Three parts: the last has 22 rows."""
    url = Path(dataset)
    plan = replace(make_plan(open_dataset(url), "own", encoder(DIM), num_rows=NUM_ROWS, batch_size=8), rows_per_part=64)
    storage = features_storage(open_dataset(url), "own")
    keys = read_all([url]).keys.to_pylist()
    writer = FeatureWriter(storage, plan)
    for number in (2, 0, 1):
        rows = plan.rows_of(number)
        assert commit_features(storage) is None
        writer.add(number, keys[rows.start : rows.stop], values[rows.start : rows.stop])
    assert parts_done(storage) == {0, 1, 2}
    info = commit_features(storage, source={"encoder": "test"})
    assert info is not None and [part.num_rows for part in info.parts] == [64, 64, 22]
    return open_features(dataset, "own")


def test_rows_come_back_in_the_manifests_order(store: FeatureStore, values: np.ndarray) -> None:
    assert (len(store), store.shape, store.dtype) == (NUM_ROWS, (NUM_ROWS, DIM), np.dtype("float16"))
    np.testing.assert_array_equal(store.array(), values)
    assert store.keys.to_pylist() == [f"s{number:04d}" for number in range(NUM_ROWS)]
    assert store.labels.tolist() == [-1 if n == 7 else n % 3 for n in range(NUM_ROWS)]
    assert store.class_names == {0: "class0", 1: "class1", 2: "class2"}
    assert store.samples("wnid", "width").to_pylist()[4] == {"key": "s0004", "wnid": "class1", "width": 48}
    assert store.row_of("s0133") == 133
    assert FeaturesInfo.from_json(store.info.to_json(), where="here") == store.info
    store.check_digests()
    with pytest.raises(OptionError, match="have no key 'strange': give a key of"):
        store.row_of("strange")


@given(st.integers(0, NUM_ROWS), st.integers(0, 200), st.lists(st.integers(0, NUM_ROWS - 1), max_size=20))
def test_any_rows_are_those_of_the_array(
    store: FeatureStore, values: np.ndarray, start: int, length: int, rows: list[int]
) -> None:
    np.testing.assert_array_equal(store.read(start, start + length), values[start : start + length])
    np.testing.assert_array_equal(store.take(rows), values[np.array(rows, int)])


@pytest.mark.parametrize("rows_per_block", [1, 63, 64, 65, 1000])
def test_blocks_are_the_whole(store: FeatureStore, values: np.ndarray, rows_per_block: int) -> None:
    blocks = list(store.blocks(rows_per_block))
    assert [start for start, _ in blocks] == list(range(0, NUM_ROWS, rows_per_block))
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), values)


@given(st.integers(1, 10**8), st.integers(1, 512))
def test_parts_are_whole_batches(num_rows: int, batch_size: int) -> None:
    rows = rows_per_part(num_rows, batch_size)
    assert rows % batch_size == 0 and rows >= 4 * batch_size
    assert rows < 8192 + batch_size or rows == 4 * batch_size


# ---- what is refused ----


def test_another_encoder_is_refused_by_fingerprint(dataset: str, store: FeatureStore) -> None:
    other = encoder(DIM, interpolation="bicubic")
    assert other.fingerprint != store.info.encoder.fingerprint
    assert open_features(dataset, "own", encoder=encoder(DIM)).info == store.info
    with pytest.raises(PlanMismatchError, match=r"interpolation is 'bilinear' there, 'bicubic' here: extract both"):
        open_features(dataset, "own", encoder=other)
    plan = replace(store.info.plan, encoder=encoder(DIM, weights_sha256="1" * 64))
    with pytest.raises(
        PlanMismatchError, match=r"weights_sha256 is 00000000\.\.\. there, 11111111\.\.\. here: give rep"
    ):
        FeatureWriter(store.storage, plan)


def test_another_version_of_the_dataset_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    url = make_labeled(tmp_path / "dataset", [0] * 20)
    with_features(url, values[:20])
    commit = Path(url, "dataset.json")
    commit.write_text(commit.read_text().replace('"plan-1"', '"plan-2"'))
    with pytest.raises(DatasetError, match=r"are of commit \w{8} \(20 rows\) of their dataset, .* extract them again"):
        open_features(url, "own")
    assert len(open_features(url, "own", any_version=True)) == 20


def test_features_that_are_not_finite_are_refused(dataset: str, tmp_path: Path, values: np.ndarray) -> None:
    keys = read_all([dataset]).keys.to_pylist()
    for value, dtype, why in (
        (np.nan, "float16", "has nan in dimension 2, expected finite numbers"),
        (1e5, "float16", "which float16 cannot hold: take l2"),
    ):
        wrong = values.astype(np.float32)
        wrong[40, 2] = value
        with pytest.raises(DatasetError, match=f"the feature of 's0040' .*{why}"):
            write_features(dataset, "wrong", wrong, keys, encoder=encoder(DIM, dtype=dtype), out=tmp_path / dtype)
    large = values.astype(np.float32) * 1e6
    write_features(dataset, "large", large, keys, encoder=encoder(DIM, dtype="float32"), out=tmp_path / "large")
    np.testing.assert_array_equal(open_features(dataset, str(tmp_path / "large")).array(), large)


def test_values_that_became_nan_on_the_disk_are_told_by_key(tmp_path: Path, values: np.ndarray) -> None:
    url = make_labeled(tmp_path / "dataset", [0] * 20)
    store = with_features(url, values[:20])
    path = Path(store.storage.url, "part-000000.npy")
    content = bytearray(path.read_bytes())
    content[-2:] = np.array([np.nan], np.float16).tobytes()
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="the feature of 's0019' is not finite: extract the features again"):
        store.array()
    with pytest.raises(DatasetError, match="was altered: expected sha256"):
        store.check_digests()
    path.write_bytes(content[:-2])
    with pytest.raises(DatasetError, match=r"expected .* bytes and its keys, found"):
        open_features(url, "own")


def test_keys_must_be_the_manifests(dataset: str, tmp_path: Path, values: np.ndarray) -> None:
    keys = read_all([dataset]).keys.to_pylist()
    for wrong in ([*keys[:3], keys[4], keys[3], *keys[5:]], keys[:-1], [*keys, "more"]):
        features = np.resize(values, (len(wrong), DIM))
        with pytest.raises(DatasetError, match=r"in the manifest's order, found .* keys, at row"):
            write_features(dataset, "wrong", features, wrong, encoder=encoder(DIM), out=tmp_path / "wrong")


def test_a_part_has_all_its_rows(dataset: str, tmp_path: Path, values: np.ndarray) -> None:
    opened = open_dataset(dataset)
    storage = features_storage(opened, "own", tmp_path / "features")
    plan = make_plan(opened, "own", encoder(DIM), num_rows=4, batch_size=1)
    writer = FeatureWriter(storage, plan)
    with pytest.raises(DatasetError, match="expected 4 rows of 5, found"):
        writer.add(0, ["a", "b"], values[:2], [Skipped(key="c", reason="it is black")])
    writer.add(0, ["a", "b", "d"], values[:3], [Skipped(key="c", reason="it is black")])
    info = commit_features(storage)
    assert info is not None and (info.num_rows, info.skipped) == (3, (Skipped(key="c", reason="it is black"),))


def test_names_and_lists(dataset: str, store: FeatureStore, tmp_path: Path, values: np.ndarray) -> None:
    assert feature_names(open_dataset(dataset)) == ["own"]
    assert only_features(dataset, None) == "own"
    with pytest.raises(DatasetError, match="has no features 'other': it has own; `shardtools features` makes them"):
        open_features(dataset, "other")
    with pytest.raises(OptionError, match="a feature table's name is 1 to 64 lower-case letters"):
        open_features(dataset, "Own!")
    url = make_labeled(tmp_path / "dataset", [0] * 9)
    with pytest.raises(OptionError, match=r"has no features: `shardtools features .* --encoder ENCODER` makes them"):
        only_features(url, None)
    with_features(url, values[:9], name="one")
    with_features(url, values[:9], name="two")
    with pytest.raises(OptionError, match="has the features one, two: give one of them"):
        only_features(url, None)
    remove_features(url, "one")
    assert only_features(url, None) == "two" and list(Path(url, "features", "one").iterdir()) == []
    Path(url, "features", "two", "features.json").unlink()
    with pytest.raises(DatasetError, match=r"are not finished \(1 part so far\): run `shardtools features` again"):
        open_features(url, "two")


def test_a_file_of_another_format_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    url = make_labeled(tmp_path / "dataset", [0] * 9)
    path = Path(with_features(url, values[:9]).storage.url, "features.json")
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "format_version": 99}))
    with pytest.raises(FormatVersionError, match="this release reads shardtools-features version 1"):
        open_features(url, "own")
    path.write_text(json.dumps({**fields, "parts": [{}]}))
    with pytest.raises(DatasetError, match="has not the fields of format version 1"):
        open_features(url, "own")
    path.write_text("[]")
    with pytest.raises(DatasetError, match="is not a file of features"):
        open_features(url, "own")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": "random"}, "crop is one of center, resize"),
        ({"batch_size": 0}, "batch_size is at least 1"),
        ({"std": (1.0, 0.0, 1.0)}, "std is three numbers above 0"),
        ({"mean": (0.5, float("nan"), 0.5)}, "mean is three numbers"),
        ({"name": "No Name"}, "lower-case letters"),
        ({"protocol": "cog"}, "protocol is one of trex"),
        ({"protocol": "trex", "resize": 256}, "--protocol trex says how images are cut and resized, found resize too"),
        ({"encoder": ""}, "encoder is a name or a training run's folder"),
    ],
)
def test_options_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        FeatureOptions(**{"dataset": "d", "encoder": "lite0", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lite0", "lite0"),
        ("timm:vit_small_patch16_224", "timm-vit_small_patch16_224"),
        ("/tmp/Run 7/", "run-7"),
        ("7", "f-7"),
    ],
)
def test_features_are_called_after_their_encoder(name: str, expected: str) -> None:
    assert FeatureOptions(dataset="d", encoder=name).features_name == expected


@pytest.mark.parametrize(
    ("network", "side"),
    [
        ("resnet50", 224),
        ("inception_v3", 299),
        ("timm:inception_v3.tv_in1k", 299),
        ("timm:tf_efficientnet_b4.ns_jft_in1k", 380),
        ("efficientnet_b1", 240),
        ("timm:deit_base_distilled_patch16_384", 384),
        ("timm:deit_base_distilled_patch16_224", 224),
    ],
)
def test_a_protocol_has_sides_of_its_own_for_some_networks(network: str, side: int) -> None:
    assert FEATURE_PROTOCOLS["trex"].size_of(network) == side


def test_facts_are_checked() -> None:
    with pytest.raises(OptionError, match="dtype is one of float16, float32"):
        encoder(3, dtype="int8")
    found = build(EncoderFacts, {"name": "a", "weights_sha256": "b", "feature_dim": 2, "mean": [1, 2, 3]})
    assert found.mean == (1, 2, 3)


def test_features_written_twice_are_the_same_or_refused(tmp_path: Path) -> None:
    url = make_labeled(tmp_path / "d", [0, 1] * 40)
    keys = read_all([url]).keys.to_pylist()
    first, facts = np.ones((80, 4), np.float32), encoder(4, dtype="float32")
    info = write_features(url, "own", first, keys, encoder=facts)
    assert write_features(url, "own", first, keys, encoder=facts) == info
    # In whatever part the other number lies.
    for row in (0, 79):
        other = first.copy()
        other[row, 3] = 2
        with pytest.raises(PlanMismatchError, match="holds features own with other numbers") as caught:
            write_features(url, "own", other, keys, encoder=facts)
        assert "\n" not in str(caught.value)
        assert np.array_equal(open_features(url, "own").array(), first)
    # What cannot be written costs nothing of what is there, and what can takes its place where that is asked for.
    with pytest.raises(DatasetError):
        write_features(url, "own", first * np.nan, keys, encoder=facts, replace=True)
    with pytest.raises(OptionError, match="expected features of 4 dimensions, found 3"):
        write_features(url, "own", first[:, :3], keys, encoder=facts, replace=True)
    assert np.array_equal(open_features(url, "own").array(), first)
    write_features(url, "own", first * 2, keys, encoder=facts, replace=True)
    assert np.array_equal(open_features(url, "own").array(), first * 2)


def test_parts_of_a_writing_that_was_killed_do_not_stay_with_other_numbers(tmp_path: Path) -> None:
    url = make_labeled(tmp_path / "d", [0, 1] * 40)
    keys = read_all([url]).keys.to_pylist()
    first, facts = np.ones((80, 4), np.float32), encoder(4, dtype="float32")
    write_features(url, "own", first, keys, encoder=facts)
    Path(url, "features", "own", "features.json").unlink()
    write_features(url, "own", first * 2, keys, encoder=facts)
    assert np.array_equal(open_features(url, "own").array(), first * 2)


def test_parts_that_a_killed_removal_left_are_nobodys(dataset: str, values: np.ndarray, tmp_path: Path) -> None:
    wanted = FeatureOptions(dataset=dataset, encoder="lite0", out=str(tmp_path))
    plan = make_plan(open_dataset(dataset), "own", encoder(DIM), num_rows=NUM_ROWS, batch_size=8)
    launch = Extraction(wanted, ignore)
    rows = plan.rows_of(0)
    keys = read_all([dataset]).keys.to_pylist()[rows.start : rows.stop]
    FeatureWriter(launch.storage, plan).add(0, keys, values[rows.start : rows.stop])
    assert launch.begin().done == {0}
    launch.storage.delete(PLAN_FILE)
    assert launch.begin().done == frozenset()
    # Nor do they come back when another plan is there.
    assert parts_done(launch.storage) == frozenset()
