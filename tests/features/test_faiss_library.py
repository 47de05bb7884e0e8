"""The one door to FAISS: nothing else imports it; without it a command ends at once with one line, or needs none."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import shardtools
from shardtools import cli
from shardtools.audits.duplicates import NearOptions, near, near_pairs, open_feature_tables
from shardtools.errors import OptionError, RunError
from shardtools.features import FeatureStore
from shardtools.features.neighbors import IndexOptions, build_index
from tests.helpers.feature_datasets import clusters, make_labeled, with_features

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")

NUM_ROWS = 60
PACKAGE = Path(shardtools.__file__).parent
DOOR = PACKAGE / "features" / "neighbors" / "faiss_library.py"
MESSAGE = (
    "shardtools: an index of kind ivf, ivf-pq or hnsw needs FAISS, which cannot be imported (import of faiss halted; "
    "None in sys.modules): pip install 'shardtools[audit]', or faiss-gpu; or search exactly (index --kind flat, "
    "duplicates --search exact)\n"
)


def test_one_module_imports_faiss() -> None:
    sources = {*PACKAGE.rglob("*.py"), *(PACKAGE / "pipelines").rglob("*.py")}
    assert len(sources) > 300
    assert {path for path in sources if imports_faiss(path.read_text())} == {DOOR}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import numpy, faiss", True),
        ("from faiss.contrib import ondisk", True),
        ("def f():\n    import faiss as library", True),
        ("import_module('faiss.contrib.ondisk')", True),
        ("from shardtools.features.neighbors import faiss_library", False),
        ("advice = 'install faiss-cpu'", False),
    ],
)
def test_an_import_of_faiss_is_seen(source: str, found: bool) -> None:
    assert imports_faiss(source) is found


def imports_faiss(source: str) -> bool:
    """Whether a module does so by a statement, or names the library in a string for `import_module`."""
    names: list[str] = []
    if "faiss" not in source:
        return False
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.append(node.value)
    return any(name == "faiss" or name.startswith("faiss.") for name in names)


# Without FAISS.


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A dataset with features and an index of them."""
    url = make_labeled(tmp_path_factory.mktemp("door") / "dataset", [number % 3 for number in range(NUM_ROWS)])
    store = with_features(url, clusters(NUM_ROWS, 8, 3))
    build_index(store, IndexOptions(kind="ivf", num_lists=2, recall_k=5))
    return store


@pytest.fixture
def no_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)


def run(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(arguments))
    return stopped.value.code


def contents(url: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(url).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "arguments",
    [
        ("index", "build", "DATASET", "--kind", "ivf"),
        ("index", "build", "DATASET", "--kind", "hnsw", "--device", "cuda"),
        ("index", "search", "DATASET", "--key", "s0001"),
        ("index", "search", "DATASET", "--image", "photo.jpg"),
        ("index", "graph", "DATASET", "--kind", "ivf"),
        ("duplicates", "DATASET", "--kind", "exact,embedding", "--search", "index"),
    ],
)
def test_what_needs_faiss_says_so_before_it_does_anything(
    store: FeatureStore,
    arguments: tuple[str, ...],
    no_faiss: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(near, "_FEWEST_INDEXED", NUM_ROWS - 1)
    before = contents(store.dataset)
    assert run(*[store.dataset if word == "DATASET" else word for word in arguments]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", MESSAGE)
    assert contents(store.dataset) == before


def test_auto_needs_faiss_where_rows_are_many(store: FeatureStore, no_faiss: None) -> None:
    told: list[str] = []
    open_feature_tables([store.dataset], NearOptions(exact_rows=NUM_ROWS), told.append)
    with pytest.raises(RunError, match=r"pip install 'shardtools\[audit\]'"):
        open_feature_tables([store.dataset], NearOptions(exact_rows=NUM_ROWS - 1), told.append)
    with pytest.raises(RunError, match=r"pip install 'shardtools\[audit\]'"):
        near_pairs([store], 0.9, exact_rows=NUM_ROWS - 1, report=told.append)
    assert told == []


def test_a_gpu_that_is_missing_costs_no_index(store: FeatureStore) -> None:
    before = contents(store.dataset)
    with pytest.raises(OptionError, match="found no GPU that FAISS can use"):
        build_index(store, IndexOptions(kind="ivf", device="cuda"))
    assert contents(store.dataset) == before


def test_exact_searches_and_audits_need_no_faiss(tmp_path: Path) -> None:
    url = make_labeled(tmp_path / "dataset", [number % 3 for number in range(NUM_ROWS)])
    with_features(url, clusters(NUM_ROWS, 8, 3))
    commands = [
        ["audit", url, "-k", "10"],
        ["nearest", url],
        ["duplicates", url, "--kind", "embedding", "--search", "index"],
        ["index", "build", url, "--kind", "flat"],
        ["index", "search", url, "--key", "s0001"],
        ["index", "graph", url],
    ]
    # A process of its own, in which no module was imported while FAISS was there.
    code = (
        "import sys; sys.modules['faiss'] = None\n"
        "from shardtools.cli import cli\n"
        f"for arguments in {commands!r}: cli.main(arguments, standalone_mode=False)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "COLUMNS": "100"}, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    assert "labels are wrong" in child.stdout and "neighbours of each of 60 samples are kept in" in child.stdout
    graph = np.load(next(Path(url).rglob("graph-flat-cosine-20.rows.npy")))
    assert graph.shape == (NUM_ROWS, 20)
