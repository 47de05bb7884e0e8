"""Neighbours by blocks and by FAISS, against every pair computed in double precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.cli.index import command
from shardtools.errors import DatasetError, OptionError
from shardtools.features import FeatureStore
from shardtools.features.neighbors import (
    IndexInfo,
    IndexOptions,
    Neighbors,
    VectorIndex,
    build_index,
    knn_graph,
    neighbor_graph,
    open_index,
    recall,
    search_exact,
)
from shardtools.features.neighbors import vector_index as vector_index_module
from shardtools.features.neighbors.vector_index import without_rows
from tests.helpers.feature_datasets import clusters, make_labeled, with_features

NUM_ROWS = 600
DIM = 16
NUM_CLASSES = 12


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    labels = [number % NUM_CLASSES for number in range(NUM_ROWS)]
    return make_labeled(tmp_path_factory.mktemp("index") / "dataset", labels)


@pytest.fixture(scope="module")
def store(dataset: str) -> FeatureStore:
    return with_features(dataset, clusters(NUM_ROWS, DIM, NUM_CLASSES))


def distances(table: np.ndarray, metric: str) -> np.ndarray:
    """Distance of each row to each other, infinite to itself."""
    rows = table.astype(np.float64)
    if metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        found = 1 - rows @ rows.T
    else:
        found = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.fill_diagonal(found, np.inf)
    return np.asarray(found)


def assert_nearest(found: Neighbors, expected: np.ndarray, k: int) -> None:
    """The rows are nearest up to the rounding of float32, in order, each once, and their distances are true."""
    assert found.rows.shape == found.distances.shape == (len(expected), k)
    true = np.take_along_axis(expected, found.rows, axis=1)
    np.testing.assert_allclose(found.distances, true, atol=2e-3 if true.max() < 1e-2 else 1e-5, rtol=1e-4)
    np.testing.assert_allclose(np.sort(expected, axis=1)[:, :k], true, atol=1e-5, rtol=1e-4)
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert (np.diff(np.sort(found.rows, axis=1), axis=1) > 0).all()


# ---- exact ----


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize(("k", "rows_per_block"), [(1, 64), (20, 97), (20, 600), (20, 4096), (100, 48), (599, 256)])
def test_the_graph_is_that_of_all_pairs(store: FeatureStore, metric: str, k: int, rows_per_block: int) -> None:
    graph = knn_graph(store, k, metric=metric, rows_per_block=rows_per_block)
    assert_nearest(graph, distances(store.array(), metric), k)


@settings(max_examples=30)
@given(
    st.integers(2, 40),
    st.integers(1, 6),
    st.integers(1, 39),
    st.integers(1, 41),
    st.sampled_from(["cosine", "l2"]),
    st.integers(0, 99),
)
def test_the_graph_of_any_table(num_rows: int, dim: int, k: int, block: int, metric: str, seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=(num_rows, dim)).astype(np.float16)
    k = min(k, num_rows - 1)
    assert_nearest(knn_graph(table, k, metric=metric, rows_per_block=block), distances(table, metric), k)


def test_rows_that_are_alike_come_in_their_order() -> None:
    table = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [1, 0]], np.float32)
    graph = knn_graph(table, 4)
    assert graph.rows.tolist() == [[1, 2, 4, 3], [0, 2, 4, 3], [0, 1, 4, 3], [0, 1, 2, 4], [0, 1, 2, 3]]
    assert graph.distances[0].tolist() == [0, 0, 0, 1]


def test_a_feature_of_zeros_is_far_from_all() -> None:
    graph = knn_graph(np.array([[0, 0], [1, 0], [2, 0]], np.float32), 2)
    assert graph.distances.tolist() == [[1, 1], [0, 1], [0, 1]]


def test_a_search_leaves_out_what_it_is_told_to(store: FeatureStore) -> None:
    graph = knn_graph(store, 7)
    rows = np.array([5, 0, 599])
    found = search_exact(store, store.take(rows), 7, exclude=rows, rows_per_block=100)
    np.testing.assert_array_equal(found.rows, graph.rows[rows])
    found = search_exact(store, store.take(rows), 1, rows_per_block=100)
    assert found.rows[:, 0].tolist() == rows.tolist()
    all_of_them = search_exact(store, store.take(rows), NUM_ROWS + 1, exclude=rows)
    assert (all_of_them.rows[:, -2:] == -1).all() and np.isinf(all_of_them.distances[:, -2:]).all()


def test_progress_counts_each_pair_of_blocks_once(store: FeatureStore) -> None:
    told: list[tuple[int, int]] = []
    knn_graph(store, 3, rows_per_block=200, report=lambda done, total: told.append((done, total)))
    assert told == [(number, 6) for number in range(1, 7)]


def test_recall_counts_what_is_as_near() -> None:
    exact = Neighbors(rows=np.array([[1, 2], [0, 2]]), distances=np.array([[0.1, 0.2], [0.1, 0.2]], np.float32))
    other = Neighbors(rows=np.array([[1, 5], [0, 5]]), distances=np.array([[0.1, 0.2], [0.1, 0.3]], np.float32))
    assert recall(exact, exact) == 1
    assert recall(other, exact) == 0.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda table: knn_graph(table, 9), "k is 1 to 8 of 9 rows, found 9"),
        (lambda table: knn_graph(table, 2, metric="dot"), "metric is one of cosine, l2"),
        (lambda table: search_exact(table, np.zeros((2, 3)), 1), r"finite vectors \[M, 4\], found \(2, 3\)"),
        (lambda table: search_exact(table, np.full((1, 4), np.nan), 1), "finite vectors"),
        (lambda table: knn_graph(np.where(table == table[7, 0], np.nan, table), 2), "found one at row 7"),
    ],
)
def test_what_cannot_be_searched(call: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call(np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32))


# ---- FAISS ----


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Without structure: centres and codes lose much, unless effort makes up for it."""
    url = make_labeled(tmp_path_factory.mktemp("larger") / "dataset", [0] * 1500)
    return with_features(url, np.random.default_rng(1).normal(size=(1500, 32)).astype(np.float32))


@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("kind", ["flat", "ivf", "ivf-pq", "hnsw"])
def test_an_index_finds_what_it_says(larger: FeatureStore, kind: str, metric: str) -> None:
    options = IndexOptions(kind=kind, metric=metric, recall=0.9, recall_k=10, rerank=16, code_bytes=16)
    built = build_index(larger, options)
    opened = open_index(larger, kind)
    assert opened.info == built.info and IndexInfo.from_json(built.info.to_json(), where="here") == built.info
    assert built.info.recall >= 0.9 and (kind == "flat") == (built.info.num_bytes == 0)
    exact = knn_graph(larger, 10, metric=metric)
    rows = np.arange(0, 1500, 3)
    found = opened.search(larger.take(rows), 10, exclude=rows)
    wanted = Neighbors(rows=exact.rows[rows], distances=exact.distances[rows])
    assert recall(found, wanted) > 0.85
    assert not (found.rows == rows[:, None]).any()
    same = found.rows == wanted.rows
    np.testing.assert_allclose(found.distances[same], wanted.distances[same], atol=5e-3)


@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
def test_lists_on_the_disk_find_what_those_in_memory_find(
    larger: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index_module, "_ROWS_PER_BLOCK", 250)
    queries = larger.take(np.arange(40))
    options = IndexOptions(kind="ivf", num_lists=8)
    in_memory = build_index(larger, options).search(queries, 5)
    on_disk = build_index(larger, IndexOptions(kind="ivf", num_lists=8, memory_bytes=50_000))
    lists = Path(larger.storage.url, "index", "ivf.ivfdata")
    assert lists.stat().st_size >= 1500 * 64
    np.testing.assert_array_equal(open_index(larger, "ivf").search(queries, 5).rows, in_memory.rows)
    assert on_disk.info.num_bytes > lists.stat().st_size
    with pytest.raises(OptionError, match=r"hnsw is in memory as a whole, .* take --kind ivf-pq"):
        build_index(larger, IndexOptions(kind="hnsw", memory_bytes=50_000))


def test_without_rows_fills_up() -> None:
    found = Neighbors(
        rows=np.array([[3, 1, 2], [0, 1, -1]]), distances=np.array([[0, 1, 2], [0, 1, np.inf]], np.float32)
    )
    cut = without_rows(found, np.array([1, 7]), 3)
    assert cut.rows.tolist() == [[3, 2, -1], [0, 1, -1]]
    assert cut.distances[0].tolist() == [0, 2, np.inf]


def test_an_index_of_other_features_is_refused(tmp_path: Path) -> None:
    url = make_labeled(tmp_path / "dataset", [0] * 60)
    first = with_features(url, clusters(60, 8, 3))
    with pytest.raises(DatasetError, match=r"have no index of kind 'ivf': `shardtools index build .* --kind ivf`"):
        open_index(first, "ivf")
    build_index(first, IndexOptions(kind="flat", recall_k=5))
    other = with_features(url, clusters(60, 8, 3, seed=5), name="other")
    index, facts = Path(other.storage.url, "index"), Path(first.storage.url, "index", "flat.json")
    index.mkdir()
    (index / "flat.json").write_bytes(facts.read_bytes())
    with pytest.raises(DatasetError, match=r"is of other features \(\w{8}\.\.\., found \w{8}\.\.\.\): build it again"):
        open_index(other, "flat")
    (index / "flat.json").write_text("{}")
    with pytest.raises(DatasetError, match="is not the file of an index"):
        open_index(other)


# ---- the graph on the disk, and the commands ----


def test_a_graph_is_kept_cut_and_made_anew(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = neighbor_graph(store, 9)
    told: list[int] = []
    again = neighbor_graph(store, 4, report=lambda done, total: told.append(done))
    assert told == [] and again.rows.tolist() == graph.rows[:, :4].tolist()
    np.testing.assert_array_equal(neighbor_graph(store, 9).distances, graph.distances)
    neighbor_graph(store, 10, keep=False, report=lambda done, total: told.append(done))
    assert told
    (path,) = Path(store.storage.url, "index").glob("graph-*.json")
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "features_sha256": "0"}))
    told.clear()
    neighbor_graph(store, 9, report=lambda done, total: told.append(done))
    assert told
    with pytest.raises(OptionError, match="k is 1 to 599 of 600 rows, found 600"):
        neighbor_graph(store, 600)


def test_a_graph_by_an_index(larger: FeatureStore) -> None:
    build_index(larger, IndexOptions(kind="ivf", recall=1.0, recall_k=5))
    graph = neighbor_graph(larger, 5, kind="ivf", keep=False)
    assert recall(graph, knn_graph(larger, 5)) > 0.99
    assert not (graph.rows == np.arange(1500)[:, None]).any()
    with pytest.raises(OptionError, match="metric 'l2' was asked for, the index ivf has 'cosine'"):
        neighbor_graph(larger, 5, kind="ivf", metric="l2")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_the_commands(dataset: str, store: FeatureStore) -> None:
    info = json.loads(run("build", dataset, "--kind", "ivf", "--num-lists", "4", "--json").stdout)
    assert (info["kind"], info["num_rows"], info["settings"]["num_lists"]) == ("ivf", NUM_ROWS, 4)
    records = json.loads(run("search", dataset, "--key", "s0030", "-k", "3", "--kind", "flat", "--json").stdout)
    expected = search_exact(store, store.take([30]), 3, exclude=np.array([30])).rows[0].tolist()
    assert [record["key"] for record in records] == [f"s{row:04d}" for row in expected]
    assert {record["class"] for record in records} == {f"class{30 % NUM_CLASSES}"}
    assert run("search", dataset, "--key", "s0030").stdout.splitlines()[0].split() == [
        "query",
        "key",
        "class",
        "distance",
    ]
    assert "4 neighbours of each of 600 samples are kept in" in run("graph", dataset, "-k", "4").stdout
    assert run("search", dataset).exit_code == 2


def test_options_are_checked() -> None:
    for changes, message in (
        ({"kind": "tree"}, "kind is one of flat, ivf, ivf-pq, hnsw"),
        ({"recall": 0.0}, "recall is above 0"),
        ({"num_lists": 0}, "num_lists is at least 1"),
    ):
        with pytest.raises(OptionError, match=message):
            IndexOptions(**changes)  # type: ignore[arg-type]


def test_a_code_divides_the_dimensions(larger: FeatureStore) -> None:
    with pytest.raises(OptionError, match="code_bytes divides the 32 dimensions, found 12: take 8"):
        build_index(larger, IndexOptions(kind="ivf-pq", code_bytes=12))
    assert isinstance(open_index(larger, "flat"), VectorIndex)


@pytest.mark.parametrize("num_rows", [1, 2, 20, 300])
def test_the_default_index_works_on_few_rows(tmp_path: Path, num_rows: int) -> None:
    store = _few(tmp_path, num_rows)
    index = build_index(store, IndexOptions())
    assert (index.info.kind, index.info.recall) == ("flat", 1.0)
    found = open_index(store).search(store.take([0]), 3)
    assert found.rows[0, 0] == 0


def test_codes_that_cannot_be_learned_name_the_kind_that_works(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="learns its codes from at least 256 rows, found 20: take --kind flat"):
        build_index(_few(tmp_path, 20), IndexOptions(kind="ivf-pq"))


def _few(folder: Path, num_rows: int) -> FeatureStore:
    url = make_labeled(folder / "few", [0] * num_rows)
    return with_features(url, np.random.default_rng(0).normal(size=(num_rows, 8)).astype(np.float32))
