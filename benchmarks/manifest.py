"""Measure a manifest of 64 million rows: making its plan, writing it, and counting it by class.

    python benchmarks/manifest.py --json

Hardware: two CPU cores, 4 GB of memory, 12 GB of disk. Time: about 10 minutes, most of it for the writing;
`--rows 200000` takes seconds. Expected: the plan below 1 GB of memory, the count below 1 s (figures: docs/sql.md).

The plan is ImageNet-1K's 1000 classes, 50 clones. The real counts by class are not in the package, so they are made up
with the real total (1,281,167), smallest (732) and largest class (1300, as most are). The manifest is written by the
code that commits a dataset; only the digests and sizes are random, and no images exist. `dataset.json` lists as many
parts and shards as the dataset would have, so that opening it costs what it would.

Each step runs in a process of its own, whose peak memory is reported. A query's time is the median of `REPEATS` runs
on one open session, after one that fills the page cache; `cpu_seconds` is what it cost over all cores, which other
programs on the machine do not change as much.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads

from shardtools.dataset import DATASET_FILE, DatasetInfo, PartEntry, PlanFile, SplitInfo, store_plan_file
from shardtools.dataset.commit import Merger
from shardtools.generation.plan import GeneratorSettings, Plan, PlanOptions
from shardtools.manifest import SCHEMA, ShardFile, encode_part
from shardtools.prompts import PromptOptions, load_scenes
from shardtools.shards import part_path, shard_path
from shardtools.sql import Session
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes

FULL_ROWS = 64_000_000
SCALE = 50
ROWS_PER_SHARD = 1000
ROWS_PER_TABLE = 100 * ROWS_PER_SHARD
REPEATS = 5
SMALL_PARTS = 2000
SCENE_ROWS = 500_000
COUNTS = {
    "by_wnid": "select wnid, count(*) as images from samples group by wnid",
    "by_class_index": "select class_index, count(*) as images from samples group by class_index",
}
Report = dict[str, Any]


def images_per_class() -> list[int]:
    """Images of ImageNet-1K's 1000 classes: real total, smallest and largest; the shape between them is made up."""
    small = [732 + round(567 * (rank / 104) ** 0.459) for rank in range(105)]
    rest = 1_281_167 - 895 * 1300 - sum(small)
    for rank in range(1, abs(rest) + 1):
        small[rank % 103 + 1] += 1 if rest > 0 else -1
    # Spread over the labels, so that no shard holds the small classes alone.
    counts = [1300] * 1000
    for rank, count in enumerate(small):
        counts[(rank * 379) % 1000] = count
    return counts


def make_plan(rows: int, template: str = "c, d_c") -> Plan:
    """The plan of `SCALE` clones with about `rows` rows: ImageNet-1K's own counts from `FULL_ROWS` rows on."""
    factor = min(rows / FULL_ROWS, 1.0)
    options = PlanOptions(
        classes=tuple(load_classes("imagenet-1k")),
        images_per_class=tuple(max(round(count * factor), 1) for count in images_per_class()),
        scale=SCALE,
        prompts=PromptOptions(template=template, scenes=load_scenes(None) if "b" in template.split() else ()),
        samples_per_shard=ROWS_PER_SHARD,
        generator=GeneratorSettings(model_digest="0" * 64, width=512, height=384),
    )
    return Plan(options)


def measure_plan(rows: int, _: Path) -> Report:
    """Streams the whole plan."""
    return {"template": "c, d_c", **_stream(make_plan(rows), rows * 2)}


def measure_scene_plan(rows: int, _: Path) -> Report:
    """Streams the first rows of a plan with the 365 scenes, whose prompts nearly all differ."""
    return {"template": "c, h_c inside b", **_stream(make_plan(rows, "c, h_c inside b"), SCENE_ROWS)}


def _stream(plan: Plan, limit: int) -> Report:
    started, num_rows = time.perf_counter(), 0
    for table in plan.tables():
        num_rows += table.num_rows
        if num_rows >= limit:
            break
    seconds = time.perf_counter() - started
    return {"rows": num_rows, "seconds": seconds, "rows_per_second": num_rows / seconds}


def manifest_tables(plan: Plan) -> Iterator[pa.Table]:
    """Rows as a run would commit them, in tables of `ROWS_PER_TABLE`."""
    random = np.random.default_rng(0)
    constants = {
        "split": "train",
        "image_format": "jpg",
        "mode": "RGB",
        "label_source": "prompt",
        "source": "generated",
        "status": "ok",
        "plan_id": "0123456789abcdef",
        "prompt_template": plan.options.prompts.template,
        "scheduler": "PNDMScheduler",
        "model_id": "stable-diffusion-v1-4",
        "model_digest": "0" * 64,
        "dtype": "float32",
        "device": "cpu",
        "library_versions": '{"diffusers": "0.36.0", "pillow": "12.0.0", "torch": "2.9.0", "transformers": "4.57.0"}',
        "width": 512,
        "height": 384,
        "guidance_scale": 2.0,
        "num_inference_steps": 50,
        "batch_size": 20,
        "threads_per_process": 1,
        "nsfw_detected": False,
        "attempt": 1,
    }
    repeated = {
        name: pa.repeat(pa.scalar(constants.get(name), SCHEMA.field(name).type), ROWS_PER_TABLE)
        for name in SCHEMA.names
    }
    first_row = 0
    for planned in plan.tables(ROWS_PER_TABLE):
        count = planned.num_rows
        rows = np.arange(first_row, first_row + count)
        shards, within = np.divmod(rows, ROWS_PER_SHARD)
        lengths = random.normal(60_000, 15_000, count).clip(8_000).astype(np.int64)
        names = pa.array([shard_path("train", int(index)) for index in range(shards[0], shards[-1] + 1)])
        columns = {name: array.slice(0, count) for name, array in repeated.items()}
        columns |= {name: planned[name] for name in planned.column_names}
        columns |= {
            "shard": names.take(pa.array(shards - shards[0])),
            "sample_index": pa.array(within),
            "member_offset": pa.array(within * 62_000 + 1536),
            "num_bytes": pa.array(lengths),
            "sha256": _random_digests(random, count),
        }
        arrays = [columns[field.name].cast(field.type) for field in SCHEMA]
        yield pa.table(arrays, schema=SCHEMA)
        first_row += count


def _random_digests(random: np.random.Generator, count: int) -> pa.Array:
    text = random.bytes(32 * count).hex().encode()
    offsets = np.arange(0, 64 * count + 1, 64, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def measure_writing(rows: int, workdir: Path) -> Report:
    """Writes the merged manifest through the dataset's own merger, and its `dataset.json`."""
    plan = make_plan(rows)
    storage = open_storage(workdir / "large")
    facts: dict[str, Any] = {"kind": "generated", "plan_id": "0123456789abcdef", "scale": SCALE}
    store_plan_file(storage, PlanFile(**facts, settings={}, notes={}, num_shards=None, num_rows=plan.num_rows))
    started, num_bytes = time.perf_counter(), 0
    with Merger(storage) as merger:
        for table in manifest_tables(plan):
            num_bytes += int(np.sum(table["num_bytes"].to_numpy()))
            for first in range(0, table.num_rows, ROWS_PER_SHARD):
                merger.add(table.slice(first, ROWS_PER_SHARD))
        compact = merger.finish()
    seconds = time.perf_counter() - started
    indices = range(-(-plan.num_rows // ROWS_PER_SHARD))
    info = DatasetInfo(
        **facts,
        parent=None,
        splits={"train": SplitInfo(num_rows=plan.num_rows, num_images=plan.num_rows, num_bytes=num_bytes)},
        statuses={"ok": plan.num_rows},
        parts=tuple(
            PartEntry(path=part_path("train", index), sha256="0" * 64, num_rows=ROWS_PER_SHARD) for index in indices
        ),
        shards=tuple(
            ShardFile(path=shard_path("train", index), num_bytes=62_000_000, sha256="0" * 64) for index in indices
        ),
        compact=compact,
    )
    storage.write(DATASET_FILE, info.to_json())
    sizes = [stored.num_bytes for stored in storage.list("compact")]
    return {
        "rows": plan.num_rows,
        "columns": len(SCHEMA),
        "seconds": seconds,
        "rows_per_second": plan.num_rows / seconds,
        "files": len(sizes),
        "bytes": sum(sizes),
        "bytes_per_row": sum(sizes) / plan.num_rows,
        "dataset_json_bytes": storage.size("dataset.json"),
    }


def measure_counting(_: int, workdir: Path) -> Report:
    """Counts by class through `shardtools.sql`."""
    url = str(workdir / "large")
    started = time.perf_counter()
    with Session([url]) as session:
        report: Report = {"open_seconds": time.perf_counter() - started}
        for name, sql in COUNTS.items():
            report[name] = _timed(partial(_count, session, sql))
    return report


def _count(session: Session, sql: str) -> int:
    return sum(int(np.sum(batch.column("images").to_numpy())) for batch in session.stream(sql))


def measure_plain_duckdb(_: int, workdir: Path) -> Report:
    """The same counts in DuckDB's own client on the same files: the peer."""
    files = sorted(str(path) for path in (workdir / "large" / "compact").glob("*.parquet"))
    connection = duckdb.connect()
    connection.execute(f"create view samples as select * from read_parquet({files})")
    return {name: _timed(partial(_count_plainly, connection, sql)) for name, sql in COUNTS.items()}


def _count_plainly(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    return sum(row[1] for row in connection.execute(sql).fetchall())


def measure_pyarrow(_: int, workdir: Path) -> Report:
    """The count by name in pyarrow on the same files, a second peer."""
    files = sorted(str(path) for path in (workdir / "large" / "compact").glob("*.parquet"))

    def count() -> int:
        table = pads.dataset(files).to_table(columns=["wnid"])
        counted = table.group_by("wnid").aggregate([([], "count_all")])
        return int(np.sum(counted["count_all"].to_numpy()))

    return {"by_wnid": _timed(count)}


def measure_parts(rows: int, workdir: Path) -> Report:
    """Counts over one file a shard, as without merging: `SMALL_PARTS` files, and what the full number would take."""
    plan = make_plan(rows)
    storage = open_storage(workdir / "parts")
    num_parts = min(SMALL_PARTS, plan.num_rows // ROWS_PER_SHARD)
    (workdir / "parts" / "manifest").mkdir(parents=True)
    written = 0
    for table in manifest_tables(plan):
        for first in range(0, table.num_rows, ROWS_PER_SHARD):
            if written == num_parts:
                break
            shard = ShardFile(path=shard_path("train", written), num_bytes=1, sha256="0" * 64)
            # Written plainly: flushing thousands of files to the disk is not what is measured.
            target = storage.local_path(part_path("train", written))
            if target is not None:
                target.write_bytes(encode_part(table.slice(first, ROWS_PER_SHARD), [shard]))
            written += 1
        if written == num_parts:
            break
    with Session([str(workdir / "parts")]) as session:
        timed = _timed(partial(_count, session, COUNTS["by_wnid"]))
    full = plan.num_rows // ROWS_PER_SHARD
    size = sum(stored.num_bytes for stored in storage.list("manifest"))
    return {
        "parts": written,
        "bytes_per_row": size / (written * ROWS_PER_SHARD),
        "by_wnid": timed,
        "seconds_at_full_size": timed["seconds"] * full / written,
    }


def _timed(action: Callable[[], int]) -> Report:
    counted = action()
    times, cpu_times = [], []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        times.append(time.perf_counter() - wall)
        cpu_times.append(time.process_time() - cpu)
    return {
        "seconds": statistics.median(times),
        "fastest": min(times),
        "cpu_seconds": statistics.median(cpu_times),
        "images": counted,
    }


STEPS: dict[str, Callable[[int, Path], Report]] = {
    "plan": measure_plan,
    "scene_plan": measure_scene_plan,
    "write": measure_writing,
    "count": measure_counting,
    "plain_duckdb": measure_plain_duckdb,
    "pyarrow": measure_pyarrow,
    "parts": measure_parts,
}
"""Step -> its function; they run in this order, each in a process of its own."""


def run_step(step: str, rows: int, workdir: Path) -> Report:
    """Runs one step in a fresh process and returns its report with that process's peak memory."""
    command = [sys.executable, __file__, "--step", step, "--rows", str(rows), "--workdir", str(workdir)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    report: Report = json.loads(done.stdout)
    return report


def run(rows: int, workdir: Path) -> Report:
    """All steps, and whether the two bars are met."""
    load = os.getloadavg()[0]
    report: Report = {"rows": rows, "cpus": os.cpu_count(), "python": platform.python_version()}
    report |= {"duckdb_version": duckdb.__version__, "pyarrow_version": pa.__version__, "load_at_start": load}
    for step in STEPS:
        report[step] = run_step(step, rows, workdir)
        print(f"{step}: {json.dumps(report[step])}", file=sys.stderr)
    report["load_at_end"] = os.getloadavg()[0]
    report["plan_below_1_gb"] = report["plan"]["peak_memory_bytes"] < 1e9
    report["count_below_1_s"] = max(report["count"][name]["seconds"] for name in COUNTS) < 1.0
    report["rows_counted"] = report["count"]["by_wnid"]["images"]
    return report


def main() -> None:
    """Parses the command line and prints the report."""
    parser = argparse.ArgumentParser(description="Measure a large manifest.")
    parser.add_argument("--rows", type=int, default=FULL_ROWS, help="rows, about (default: 64 million)")
    parser.add_argument("--workdir", type=Path, help="keep the files here (default: a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        report = STEPS[arguments.step](arguments.rows, arguments.workdir)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({**report, "peak_memory_bytes": peak}))
        return
    with tempfile.TemporaryDirectory(prefix="shardtools-manifest-", dir=arguments.workdir) as workdir:
        report = run(arguments.rows, Path(workdir))
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    plan, count = report["plan"], report["count"]["by_wnid"]
    print(f"plan: {plan['rows']} rows, {plan['rows_per_second']:.0f} rows/s, {plan['peak_memory_bytes'] / 1e6:.0f} MB")
    print(f"count by class: {count['seconds']:.3f} s over {report['rows_counted']} rows")


if __name__ == "__main__":
    main()
