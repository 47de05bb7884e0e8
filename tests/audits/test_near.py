"""Near copies by features: the search against all cosines in double precision, by indexes, and out of datasets."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shardtools.audits.duplicates import (
    DuplicatesOptions,
    DuplicatesResult,
    FeatureArray,
    FeatureTables,
    NearOptions,
    distinct_rows,
    embedding_pairs,
    find_duplicates,
    near_pairs,
    open_feature_tables,
)
from shardtools.audits.duplicates import embedding as embedding_module
from shardtools.cli.duplicates import LEAK_EXIT_CODE, command
from shardtools.errors import DatasetError, OptionError, PlanMismatchError
from shardtools.features.neighbors import IndexOptions, build_index
from shardtools.loader import read_all
from shardtools.overlays import open_overlay
from shardtools.sources import SourceOptions
from shardtools.writing import WriteOptions
from tests.audits.test_duplicates import write_split
from tests.audits.test_quality import scene
from tests.helpers.feature_datasets import clusters, encoder, make_labeled, with_features
from tests.helpers.pictures import encode, write_files
from tests.helpers.writing_jobs import write_in_process


def array(features: np.ndarray) -> FeatureArray:
    return FeatureArray([str(row) for row in range(len(features))], features)


def all_pairs(features: np.ndarray, min_similarity: float) -> dict[tuple[int, int], float]:
    """Pair of rows -> 1 - cosine, in double precision; nothing of rows of zeros."""
    rows = features.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    unit = rows / np.where(norms > 0, norms, np.nan)[:, None]
    cosines = np.triu(np.where(np.isfinite(cosine := unit @ unit.T), cosine, -2), 1)
    places = np.argwhere((cosines >= min_similarity) & (np.arange(len(rows))[:, None] < np.arange(len(rows))))
    return {(one, other): 1 - cosines[one, other] for one, other in places.tolist()}


def as_dict(pairs: Any) -> dict[tuple[int, int], float]:
    assert len(pairs) == len(set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)))
    return dict(zip(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True), pairs.distance.tolist(), strict=True))


# All with all.


@settings(max_examples=15)
@given(st.integers(1, 30), st.integers(0, 30), st.integers(1, 9), st.sampled_from([-0.5, 0.1, 0.6]), st.integers(0, 99))
def test_blocks_find_what_all_cosines_say(one: int, other: int, block: int, bound: float, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(one + other, 4)).astype(np.float32)
    features[seed % len(features)] = 0
    tables = [array(features[:one])] + ([array(features[one:])] if other else [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_module, "_ROWS_PER_BLOCK", block)
        found = as_dict(embedding_pairs(tables, bound))
    expected = all_pairs(features, bound)
    doubtful = {pair for pair, distance in all_pairs(features, bound - 1e-6).items() if distance > 1 - bound - 1e-6}
    assert set(found) - doubtful == set(expected) - doubtful
    for pair in set(found) & set(expected):
        assert found[pair] == pytest.approx(expected[pair], abs=1e-5)


def test_rows_that_are_not_asked_for_are_left_out() -> None:
    features = clusters(40, 6, 3)
    is_asked = np.arange(40) % 3 != 0
    found = as_dict(embedding_pairs([array(features)], 0.5, is_asked))
    expected = all_pairs(features, 0.5)
    assert found.keys() == {pair for pair in expected if is_asked[list(pair)].all()} != set()


def test_equal_features_have_one_number() -> None:
    features = np.array([[1, 0], [0, 0], [1, 0], [2, 0], [0, 1]], np.float16)
    numbers = distinct_rows([array(features[:2]), array(features[2:])])
    assert numbers[1] == -1 and numbers[0] == numbers[2]
    assert sorted({*numbers.tolist()}) == [-1, 0, 1, 2]


def test_what_cannot_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="features are finite, found nan at row 1"):
        FeatureArray(["a", "b"], np.array([[1.0], [np.nan]]))
    with pytest.raises(OptionError, match="with a key for each row, found 1 and 2"):
        FeatureArray(["a"], np.ones((2, 3)))
    with pytest.raises(OptionError, match=r"a cosine above -1 and up to 1, found 1\.5"):
        embedding_pairs([array(np.ones((2, 3)))], 1.5)
    monkeypatch.setattr(embedding_module, "MAX_PAIRS", 9)
    with pytest.raises(
        OptionError, match=r"more than 9 pairs have a cosine of at least 0\.5: give a larger one \(--min"
    ):
        embedding_pairs([array(np.ones((6, 3)))], 0.5)


# By indexes.

NUM_ROWS = (500, 40)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A large dataset and a small one; noisy copies within and across, and 90 that are all alike."""
    folder = tmp_path_factory.mktemp("near")
    rng = np.random.default_rng(2)
    features = rng.normal(size=(sum(NUM_ROWS), 24)).astype(np.float32)
    features[400:430] = features[:30] + 0.03 * rng.normal(size=(30, 24))
    features[500:520] = features[100:120] + 0.03 * rng.normal(size=(20, 24))
    features[200:290] = features[200] + 0.02 * rng.normal(size=(90, 24))
    found = []
    for name, rows in (("large", slice(0, 500)), ("small", slice(500, 540))):
        own = features[rows]
        found.append(make_labeled(folder / name, [row % 4 for row in range(len(own))]))
        with_features(found[-1], own)
    return found[0], found[1]


@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
def test_indexes_find_what_all_with_all_finds(urls: tuple[str, str]) -> None:
    opened = open_feature_tables(urls, NearOptions())
    stores: Any = list(opened.tables.values())
    exact = as_dict(embedding_pairs(stores, 0.95))
    # 90 rows alike are more than are asked for at first; the others are pairs of one.
    assert len(exact) == 90 * 89 // 2 + 30 + 20
    assert as_dict(near_pairs(stores, 0.95)) == pytest.approx(exact, abs=1e-5), "few rows are searched exactly"
    build_index(stores[0], IndexOptions(kind="ivf", num_lists=6, recall=0.99))
    told: list[str] = []
    by_index = as_dict(near_pairs(stores, 0.95, exact_rows=100, report=told.append))
    assert by_index.keys() == exact.keys()
    assert len(told) == 3 and told[1].endswith(f"for those at {stores[1].storage.url}"), "the small one is asked about"


@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
def test_an_index_is_built_where_there_is_none(tmp_path: Path) -> None:
    url = make_labeled(tmp_path / "dataset", [0] * 600)
    features = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
    features[300:340] = features[:40] * 3
    store = with_features(url, features)
    told: list[str] = []
    feature_tables = open_feature_tables([url], NearOptions(exact_rows=300), told.append)
    found = as_dict(feature_tables.search([store], 0.99, np.ones(600, np.bool_)))
    assert found.keys() >= {(row, 300 + row) for row in range(40)}
    assert told[0] == f"building an index of 600 features, kept in {store.storage.url}/index"
    assert Path(store.storage.url, "index", "ivf-pq.json").exists()


# Datasets.


def pixel_feature(content: bytes) -> np.ndarray:
    """A thumbnail's deviations from its mean: near for copies, whatever their size and quality."""
    with Image.open(io.BytesIO(content)) as picture:
        small = np.asarray(picture.convert("L").resize((6, 6), Image.Resampling.BOX), np.float64).reshape(-1)
    return small - small.mean()


PICTURES = [scene(number, (120, 90)) for number in range(6)]
TEST = {f"cat/test{n}.jpg": encode(PICTURES[n], "JPEG") for n in range(4)}
TRAIN = {
    "cat/copy0.jpg": encode(PICTURES[0], "JPEG"),
    "dog/near1.jpg": encode(PICTURES[1].crop((6, 4, 116, 88)).resize((70, 50)), "JPEG", quality=40),
    "cat/own5.jpg": encode(PICTURES[5], "JPEG"),
    "cat/own5b.png": encode(PICTURES[5], "PNG"),
    "cat/blank.png": encode(Image.new("RGB", (50, 50), (9, 9, 9)), "PNG"),
}


def make(folder: Path, files: dict[str, bytes], split: str, **changes: Any) -> str:
    url = write_split(write_files(folder.with_name(f"{folder.name}-files"), files), folder, split)
    contents = {name.replace("/", "_").rpartition(".")[0]: content for name, content in files.items()}
    features = [pixel_feature(contents[key]) for key in read_all([url]).keys.to_pylist()]
    with_features(url, np.stack(features), **changes)
    return url


@pytest.fixture
def datasets(tmp_path: Path) -> tuple[str, str]:
    return make(tmp_path / "real", TEST, "test"), make(tmp_path / "made", TRAIN, "train")


def run(*args: str) -> Result:
    result = CliRunner().invoke(command, args, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def test_from_features_to_a_leak(datasets: tuple[str, str], tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.parquet"
    asked = (*datasets, "--kind", "embedding", "--pairs", str(pairs))
    found = run(*asked, "--fail-on-leak", "--min-similarity", "0.9")
    assert found.return_value == LEAK_EXIT_CODE
    rows = pq.read_table(pairs).to_pylist()
    assert {(row["key_a"], row["key_b"]) for row in rows} == {
        ("cat_test0", "cat_copy0"),
        ("cat_test1", "dog_near1"),
        ("cat_own5", "cat_own5b"),
    }
    assert {row["kind"] for row in rows} == {"embedding"} and max(row["distance"] for row in rows) < 0.1
    assert "comparing 7 features with each other" in found.stderr, "copy0 is test0 again, the blank has no direction"
    assert "embedding: 3 pairs of a cosine from 0.9" in found.stdout
    assert found.stdout.splitlines()[-1] == "2 pairs lie across splits"
    assert open_overlay(datasets[0], "duplicate_pairs").info.settings["encoder"] == encoder(36).fingerprint

    both = json.loads(run(*datasets, "--kind", "exact,embedding", "--min-similarity", "0.9", "--json").stdout)
    assert {(leak["key_a"], leak["kind"]) for leak in both["leaks"]} == {
        ("cat_test0", "exact"),
        ("cat_test1", "embedding"),
    }
    assert both["num_without_feature"] == 0
    none = run(datasets[0], "--kind", "embedding", "--min-similarity", "0.999", "--fail-on-leak")
    assert none.return_value == 0 and none.stdout.splitlines()[0] == "4 images: 0 pairs in 0 groups"
    loose = run(*asked, "--min-similarity", "-0.99", "--search", "exact").stdout
    assert "more pairs than images: images that are merely alike pass; give a larger --min-similarity" in loose


def test_one_black_picture_a_place(tmp_path: Path) -> None:
    url = make_labeled(tmp_path / "dataset", [0] * 60)
    features = np.ones((60, 3), np.float32)
    features[0], features[1] = (1, 0, 0), (1, 0.01, 0)
    with_features(url, features)
    options = DuplicatesOptions(datasets=(url,), kinds=("embedding",), min_similarity=0.99, write=False)
    found = find_duplicates(options, open_feature_tables([url], NearOptions()))
    assert len(found.pairs) == 57 + 1
    assert sorted(set(found.groups["num_members"].to_pylist())) == [2, 58]


def test_features_that_do_not_fit_are_refused(datasets: tuple[str, str], tmp_path: Path) -> None:
    real, made = datasets
    other = make(tmp_path / "other", TRAIN, "val", interpolation="bicubic")
    with pytest.raises(PlanMismatchError, match=r"other/features/own are of another encoder than .*interpolation"):
        run(real, other, "--kind", "embedding")
    bare = make_labeled(tmp_path / "bare", [0, 1])
    with pytest.raises(OptionError, match=r"has no features: `shardtools features .* --encoder ENCODER` makes them"):
        run(real, bare, "--kind", "embedding")
    with pytest.raises(DatasetError, match="has no features 'lite0': it has own"):
        run(real, made, "--kind", "embedding", "--features", "lite0")
    with pytest.raises(OptionError, match="once for each of 2 datasets, found 3 names"):
        open_feature_tables(datasets, NearOptions(features=("own", "own", "own")))
    with pytest.raises(OptionError, match=r"are given for each of .*made, found .*real"):
        find_duplicates(
            DuplicatesOptions(datasets=datasets, kinds=("embedding",), write=False),
            open_feature_tables([real], NearOptions()),
        )
    commit = Path(made, "dataset.json")
    commit.write_text(commit.read_text().replace('"num_rows": 5', '"num_rows":  5'))
    with pytest.raises(DatasetError, match=r"are of commit \w{8} .* extract them again"):
        run(real, made, "--kind", "embedding")
    with pytest.raises(Exception, match="--features are for the kind embedding: add --kind embedding"):
        run(real, "--features", "own", "--kind", "exact")


def test_images_without_features_are_counted_and_splits_refused(tmp_path: Path) -> None:
    files = {f"{split}/cat/{split}{n}.jpg": encode(PICTURES[n], "JPEG") for split in ("train", "val") for n in range(3)}
    source = SourceOptions(source=str(write_files(tmp_path / "files", files)))
    url = str(tmp_path / "dataset")
    write_in_process(WriteOptions(source=source, out=url, samples_per_shard=4))
    keys = sorted(read_all([url]).keys.to_pylist(), key=lambda key: "val" in key)
    options = DuplicatesOptions(datasets=(url,), kinds=("embedding",), write=False)

    def find(some: list[str]) -> DuplicatesResult:
        return find_duplicates(options, FeatureTables(tables={url: FeatureArray(some, np.eye(6)[: len(some)])}))

    assert (find(keys).num_without_feature, find(keys[:4]).num_without_feature) == (0, 2)
    with pytest.raises(DatasetError, match=r"have none of the 3 images of its split 'val', so that no leak of them"):
        find(keys[:3])
    with pytest.raises(DatasetError, match="have the key 'strange', which it has no image of"):
        find([*keys[:5], "strange"])


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="search is one of auto, exact, index, found 'all'"):
        NearOptions(search="all")
    with pytest.raises(OptionError, match="exact_rows is at least 0"):
        NearOptions(exact_rows=-1)
