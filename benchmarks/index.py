"""k nearest neighbours of a whole dataset, out of float16 features on the disk: ours against what others do.

    python benchmarks/index.py --json                                  (100,000 x 1280, k = 20; two cores, ~20 minutes)
    python benchmarks/index.py --rows 4000 --law 1000,2000,4000 --json (a look whether it runs)

Hardware: two CPU cores. Expected: the same neighbours as scikit-learn's brute force, in a fraction of its time, and
peak memory below 1.3 times the float16 features. The last line is one JSON object.

Each contender runs once in a process of its own that opens the features and ends with the graph; imports are in no
figure. `ours` reads the parts in blocks. `faiss_flat`, `sklearn` and `cleanlab` are given what they take: the whole
table as float32. The law: seconds and memory of `ours` at several numbers of rows, of 2,048 dimensions, fitted as
a * N^2 + b * N and carried on to 1,281,167 rows, ImageNet's training set. Features are points around 1,000 centres,
far enough from each other that classes are found and near enough that they are not all alike.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.process_tree import MemoryPeak
from shardtools.features import EncoderFacts, FeaturePlan, FeatureStore, FeatureWriter
from shardtools.features.writer import commit_features
from shardtools.storage import open_storage

NUM_CENTERS = 1000
IMAGENET_ROWS = 1_281_167
LAW_DIM = 2048
_BATCH = 64


def make_features(folder: Path, num_rows: int, dim: int, seed: int = 0) -> FeatureStore:
    """Clustered features in parts of 8,192 rows, of no dataset."""
    facts = EncoderFacts(name="synthetic", weights_sha256=str(seed), feature_dim=dim)
    plan = FeaturePlan(
        name="synthetic",
        encoder=facts,
        dataset_sha256="",
        dataset_num_rows=num_rows,
        split=None,
        num_rows=num_rows,
        batch_size=_BATCH,
        rows_per_part=8192,
    )
    storage = open_storage(folder)
    writer = FeatureWriter(storage, plan)
    centers = np.random.default_rng(seed).standard_normal((NUM_CENTERS, dim), np.float32)
    for part in range(plan.num_parts):
        rows, random = plan.rows_of(part), np.random.default_rng([seed, part])
        noise = random.standard_normal((len(rows), dim), np.float32)
        features = centers[random.integers(0, NUM_CENTERS, len(rows))] + 1.5 * noise
        writer.add(part, [f"{row:08d}" for row in rows], features)
    info = commit_features(storage)
    assert info is not None
    return FeatureStore(str(folder), storage, info)


def open_made(folder: Path) -> FeatureStore:
    """Features that `make_features` wrote."""
    from shardtools.features import FeaturesInfo

    storage = open_storage(folder)
    return FeatureStore(str(folder), storage, FeaturesInfo.from_json(storage.read("features.json"), where=str(folder)))


def ours(store: FeatureStore, k: int) -> np.ndarray:
    """Blocked products, each pair of blocks once."""
    from shardtools.features.neighbors import knn_graph

    return knn_graph(store, k).rows


def faiss_flat(store: FeatureStore, k: int) -> np.ndarray:
    """FAISS's flat index over float32 rows of length 1."""
    import faiss

    table = store.array().astype(np.float32)
    faiss.normalize_L2(table)
    index = faiss.IndexFlatIP(table.shape[1])
    index.add(table)
    return _without_self(index.search(table, k + 1)[1], k)


def sklearn(store: FeatureStore, k: int) -> np.ndarray:
    """scikit-learn's brute force, cosine."""
    from sklearn.neighbors import NearestNeighbors

    table = store.array().astype(np.float32)
    found = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute", n_jobs=-1).fit(table)
    return np.asarray(found.kneighbors(return_distance=False))


def cleanlab(store: FeatureStore, k: int) -> np.ndarray:
    """Cleanlab's graph, as its Datalab makes it."""
    from cleanlab.internal.neighbor.knn_graph import create_knn_graph_and_index

    graph, _ = create_knn_graph_and_index(store.array().astype(np.float32), n_neighbors=k, metric="cosine")
    return np.asarray(graph.indices).reshape(len(store), -1)[:, :k]


CONTENDERS: dict[str, Callable[[FeatureStore, int], np.ndarray]] = {
    "ours": ours,
    "faiss_flat": faiss_flat,
    "sklearn": sklearn,
    "cleanlab": cleanlab,
}


def _without_self(rows: np.ndarray, k: int) -> np.ndarray:
    keep = np.argsort(rows == np.arange(len(rows))[:, None], axis=1, kind="stable")[:, :k]
    return np.take_along_axis(rows, keep, axis=1)


def run_one(name: str, folder: Path, k: int) -> None:
    """A contender in this process; its graph goes beside the features."""
    store = open_made(folder)
    for module in {"faiss_flat": "faiss", "sklearn": "sklearn.neighbors", "cleanlab": "cleanlab"}.get(
        name, "scipy"
    ).split():
        __import__(module)
    with MemoryPeak() as memory:
        started = time.perf_counter()
        rows = CONTENDERS[name](store, k)
        seconds = time.perf_counter() - started
    np.save(folder / f"graph-{name}.npy", rows.astype(np.int32))
    print(json.dumps({"seconds": round(seconds, 3), **memory.found}))


def measure(name: str, folder: Path, k: int) -> dict[str, Any]:
    """A contender in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.index", "--one", name, "--folder", str(folder), "-k", str(k)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["killed"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(folder: Path, num_rows: int, dim: int, k: int, names: list[str]) -> dict[str, Any]:
    """All contenders on the same features."""
    store = make_features(folder, num_rows, dim)
    features_mb = store.num_bytes / 1e6
    result: dict[str, Any] = {"rows": num_rows, "dim": dim, "k": k, "features_mb": features_mb}
    reference = None
    for name in names:
        found = measure(name, folder, k)
        path = folder / f"graph-{name}.npy"
        if path.exists():
            rows = np.load(path)
            reference = rows if reference is None else reference
            same = (rows[:, :, None] == reference[:, None, :]).any(axis=2).mean()
            found["shared_with_ours"] = round(float(same), 6)
            found["memory_of_features"] = round(found["peak_mb"] / features_mb, 3)
        result[name] = found
        print(f"{name}: {found}", file=sys.stderr)
    if "seconds" in result["ours"]:
        for name in names[1:]:
            if "seconds" in result[name]:
                result[name]["times_ours"] = round(result[name]["seconds"] / result["ours"]["seconds"], 2)
    return result


def scaling_law(folder: Path, sizes: list[int], k: int) -> dict[str, Any]:
    """Seconds of ours at some sizes, and at ImageNet's by the fit."""
    points = []
    for number, size in enumerate(sizes):
        place = folder / str(number)
        make_features(place, size, LAW_DIM, seed=1)
        found = measure("ours", place, k)
        points.append({"rows": size, **found})
        print(f"law: {points[-1]}", file=sys.stderr)
    rows = np.array([point["rows"] for point in points], float)
    seconds = np.array([point["seconds"] for point in points])
    # Relative errors count: the smallest size says as much as the largest.
    design = np.stack([rows**2, rows], axis=1) / seconds[:, None]
    (square, linear), _ = nnls(design, np.ones(len(rows)))
    predicted = square * IMAGENET_ROWS**2 + linear * IMAGENET_ROWS
    return {
        "dim": LAW_DIM,
        "points": points,
        "seconds_per_pair": square,
        "seconds_per_row": linear,
        "gflops": [round(r * r * LAW_DIM / s / 1e9, 1) for r, s in zip(rows, seconds, strict=True)],
        "imagenet_rows": IMAGENET_ROWS,
        "imagenet_hours": round(predicted / 3600, 2),
        # Features stay on the disk; a graph takes 8 bytes a neighbour in memory, twice while it is sorted.
        "imagenet_features_gb": round(IMAGENET_ROWS * LAW_DIM * 2 / 1e9, 2),
        "imagenet_graph_gb": round(IMAGENET_ROWS * k * 8 / 1e9, 2),
    }


def main() -> None:
    """Parses the options and prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("-k", type=int, default=20)
    parser.add_argument("--only", default=",".join(CONTENDERS), help="contenders, comma-separated; ours comes first")
    parser.add_argument("--law", default="16384,32768,65536", help="sizes for the scaling law; empty for none")
    parser.add_argument("--folder", help="where features go; a temporary folder by default")
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    given = parser.parse_args()
    if given.one:
        run_one(given.one, Path(given.folder), given.k)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        result = {"knn": compare(Path(folder) / "knn", given.rows, given.dim, given.k, given.only.split(","))}
        if given.law:
            sizes = [int(size) for size in given.law.split(",")]
            result["law"] = scaling_law(Path(folder) / "law", sizes, given.k)
    print(json.dumps(result) if given.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
