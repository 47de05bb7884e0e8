"""Writing photos as shards, against a plain loop and the writers of other libraries: same files, same disk, same run.

    python benchmarks/corpus.py /tmp/corpus && python benchmarks/write.py --corpus /tmp/corpus --json

Hardware: two CPU cores, 8 GB of memory, 8 GB free on the corpus's disk. Time: about 15 minutes with three rounds.
Expected: a ratio of at least 0.7 to the loop, 1.5 to webdataset, 5 to FFCV, and under 500 MB (figures: docs/write.md).

Contenders take turns, each in a fresh process (`peers_write.py`); figures are medians over the rounds. `_x2` is the
same in two processes:
loop: read each file, sha256 of its bytes, one after the other into files of 1000 images: the lower bound.
header, decode: `shardtools write` to tars, digests, labels and manifest, with --check header and --check decode.
webdataset: its ShardWriter, given the bytes, a label and a JSON of facts; no digests, no manifest, no check.
ffcv: its DatasetWriter, JPEGs in full size at quality 90, which it decodes and encodes anew.
beton, beton_one_file: `shardtools convert --to beton`, the original JPEG bytes; as shards, and joined to one file.
mds_writer, mds: MosaicML's MDSWriter with a sha256 a shard, and `shardtools write --to mds`.

The corpus is presented several times through hard links in further class folders: the same bytes on the disk, more
samples, so that seconds of start-up do not hide the speed. Sources are in the page cache; each contender's output is
durable (fsync of each file and folder) within its time, and removed before the next one starts. Start-up is measured:
before each run the same contender writes 100 images of 8 x 8 pixels. `images_per_second` is about the images and the
seconds beyond that (its fastest such run), `startup_seconds` the whole process of that run, imports included. `ratio`
compares the first; `ratio_with_startup` adds the second, for as many images as `images` says.

Ratios are named after the peer (`RATIOS`): loop is header over loop, loop_by_two is header in two processes over
loop in one. `memory` is the peak of the largest process at two numbers of rows (JPEGs of 8 x 8 pixels): it does not
grow with the dataset.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

CHILD = Path(__file__).with_name("peers_write.py")
NUM_TINY = 100
"""Images of the run that measures the start-up, and folders of the memory run."""
Run = dict[str, float]
Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contender:
    """Arguments of `peers_write.py`, and whether it is so slow that it gets fewer images."""

    words: tuple[str, ...]
    is_slow: bool = False


def _with_two(contenders: dict[str, Contender]) -> dict[str, Contender]:
    """Each, and the same in two processes; MosaicML's writer has one."""
    both: dict[str, Contender] = {}
    for name, one in contenders.items():
        both[name] = one
        if "mds" not in name:
            both[f"{name}_x2"] = Contender((*one.words, "--processes", "2"), one.is_slow)
    return both


CONTENDERS = _with_two(
    {
        "loop": Contender(("loop",)),
        "header": Contender(("shardtools", "--check", "header")),
        "webdataset": Contender(("webdataset",)),
        "decode": Contender(("shardtools", "--check", "decode")),
        "beton": Contender(("shardtools", "--layout", "beton")),
        "beton_one_file": Contender(("shardtools", "--layout", "beton", "--one-file")),
        "ffcv": Contender(("ffcv",), is_slow=True),
        "mds": Contender(("shardtools", "--layout", "mds")),
        "mds_writer": Contender(("mds",)),
    }
)
"""Name -> contender; they run in this order."""

RATIOS = {
    "loop": ("header", "loop"),
    "loop_by_two": ("header_x2", "loop"),
    "loop_decode": ("decode", "loop"),
    "webdataset": ("header", "webdataset"),
    "webdataset_decode": ("decode", "webdataset"),
    "ffcv": ("beton", "ffcv"),
    "ffcv_one_file": ("beton_one_file", "ffcv"),
    "mds": ("mds", "mds_writer"),
}
"""Ratio -> (ours, the peer); each also with two processes."""

BARS = {"loop": 0.7, "webdataset": 1.5, "ffcv": 5.0}
"""Ratio -> what it must reach."""
MAX_PEAK_MB = 500


class BenchmarkError(Exception):
    """The benchmark cannot run; one line says why."""


def present(corpus: Path, folder: Path, num_images: int, repeat: int) -> int:
    """Hard links of the corpus's images, `repeat` times in other class folders; returns their length in bytes.

    Raises:
        BenchmarkError: The corpus has too few images.
    """
    found = sorted(path for path in corpus.glob("*/*") if path.is_file())
    if len(found) < num_images:
        raise BenchmarkError(f"{corpus} holds {len(found)} images, not {num_images}: make it with benchmarks/corpus.py")
    chosen = [found[number * len(found) // num_images] for number in range(num_images)]
    for copy in range(repeat):
        for path in chosen:
            wnid = path.parent.name if copy == 0 else f"{path.parent.name}-{copy}"
            target = folder / wnid / f"{wnid}_{path.name.rpartition('_')[2]}"
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return repeat * sum(path.stat().st_size for path in chosen)


def present_tiny(folder: Path, rows: int) -> None:
    """JPEGs of 8 x 8 pixels: how much memory so many rows take does not depend on their length."""
    for label in range(NUM_TINY):
        wnid = folder / f"n{label:08d}"
        wnid.mkdir(parents=True)
        Image.new("RGB", (8, 8), (label, 99, 7)).save(wnid / "0.jpg")
        for number in range(1, len(range(label, rows, NUM_TINY))):
            os.link(wnid / "0.jpg", wnid / f"{number}.jpg")


def warm(folder: Path) -> None:
    """Reads every file, so that its pages and names are in memory."""
    for path in folder.glob("*/*"):
        path.read_bytes()


def run_child(words: Sequence[str], source: Path, workdir: Path) -> Run:
    """One contender in a process of its own; what it wrote (into the working folder) is removed.

    Raises:
        BenchmarkError: It failed; its own error is on the standard error output.
    """
    # What others have written must not be flushed within this one's time.
    os.sync()
    out = workdir / "out"
    command = [sys.executable, str(CHILD), *words, "--source", str(source), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHILD.parent.parent)}
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Libraries load as they do where they are installed with their bytecode.
        environment["PYTHONPYCACHEPREFIX"] = str(workdir / "bytecode")
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, check=False)
        wall_seconds = time.perf_counter() - started
        shutil.rmtree(out, ignore_errors=True)
        if done.returncode != 0:
            errors.seek(0)
            sys.stderr.write(errors.read())
            raise BenchmarkError(f"{' '.join(command)} ended with {done.returncode}")
    run: Run = json.loads(done.stdout.splitlines()[-1])
    return {**run, "wall_seconds": wall_seconds}


def speed_of(seconds: float, startup: float, num_images: int) -> float:
    """Images/s beyond the tiny ones' run; of the whole run where it is too short to tell the two apart."""
    if seconds > 2 * startup and num_images > NUM_TINY:
        return (num_images - NUM_TINY) / (seconds - startup)
    return num_images / seconds


def summarize(runs: Sequence[Run], tiny_runs: Sequence[Run], num_images: int, num_bytes: int) -> Report:
    """Medians of one contender's runs; the peak is the largest.

    Args:
        runs: At least one.
        tiny_runs: The same on `NUM_TINY` tiny images.
        num_images: Of each of `runs`.
        num_bytes: Their length.
    """
    # The fastest, so that the first one, which may fill caches, takes nothing off.
    startup = min(run["seconds"] for run in tiny_runs)
    speeds = [speed_of(run["seconds"], startup, num_images) for run in runs]
    speed = statistics.median(speeds)
    return {
        "images": num_images,
        "images_per_second": speed,
        "slowest_images_per_second": min(speeds),
        "fastest_images_per_second": max(speeds),
        "mb_per_second": speed * num_bytes / num_images / 1e6,
        "seconds": statistics.median(run["seconds"] for run in runs),
        "startup_seconds": statistics.median(run["wall_seconds"] for run in tiny_runs),
        "cpu_ms_per_image": statistics.median(run["cpu_seconds"] for run in runs) * 1e3 / num_images,
        "peak_mb": max(run["peak_mb"] for run in runs),
    }


def ratios(speed: Callable[[str], float | None]) -> dict[str, float]:
    """All ratios whose two contenders have a speed."""
    found = {}
    for suffix in ("", "_x2"):
        for name, (ours, peer) in RATIOS.items():
            speeds = speed(f"{ours}{suffix}"), speed(f"{peer}{suffix}")
            if speeds[0] is not None and speeds[1] is not None:
                found[f"{name}{suffix}"] = speeds[0] / speeds[1]
    return found


def _speed(results: dict[str, Report], name: str) -> float | None:
    return float(results[name]["images_per_second"]) if name in results else None


def _speed_with_startup(results: dict[str, Report], num_images: int, name: str) -> float | None:
    if name not in results:
        return None
    one = results[name]
    return float(num_images / (num_images / one["images_per_second"] + one["startup_seconds"]))


def measure_speed(arguments: argparse.Namespace, workdir: Path, say: Callable[[str], None]) -> dict[str, Report]:
    """All contenders, round by round."""
    fast, slow = workdir / "fast", workdir / "slow"
    num_bytes = {
        False: present(arguments.corpus, fast, arguments.images, arguments.repeat),
        True: present(arguments.corpus, slow, arguments.images, arguments.slow_repeat),
    }
    num_images = {False: arguments.images * arguments.repeat, True: arguments.images * arguments.slow_repeat}
    tiny = workdir / "tiny"
    present_tiny(tiny, NUM_TINY)
    runs: dict[str, list[Run]] = {name: [] for name in arguments.only}
    tiny_runs: dict[str, list[Run]] = {name: [] for name in arguments.only}
    for number in range(arguments.rounds):
        for name in arguments.only:
            contender = CONTENDERS[name]
            source = slow if contender.is_slow else fast
            tiny_runs[name].append(run_child(contender.words, tiny, workdir))
            warm(source)
            run = run_child(contender.words, source, workdir)
            runs[name].append(run)
            rest = f"{tiny_runs[name][-1]['seconds']:.2f} s for the tiny images, {run['peak_mb']:.0f} MB"
            say(f"round {number + 1} {name}: {run['seconds']:.2f} s, {rest}")
    return {
        name: summarize(
            done, tiny_runs[name], num_images[CONTENDERS[name].is_slow], num_bytes[CONTENDERS[name].is_slow]
        )
        for name, done in runs.items()
    }


def measure_memory(rows: int, workdir: Path) -> Report:
    """Peak of the largest process at a tenth of the rows, and at all of them."""
    found: Report = {}
    for size, count in {"small": max(rows // 10, NUM_TINY), "large": rows}.items():
        source = workdir / f"tiny-{size}"
        present_tiny(source, count)
        run = run_child(("shardtools", "--processes", "2"), source, workdir)
        found[size] = {"rows": count, "peak_mb": run["peak_mb"], "rows_per_second": count / run["seconds"]}
        shutil.rmtree(source)
    return found


def judge(ratio: dict[str, float], peaks: Sequence[float]) -> Report:
    """What the bars ask for, what was found, and whether that is enough."""
    bars: Report = {
        name: {"at_least": bar, "found": ratio[name], "met": ratio[name] >= bar}
        for name, bar in BARS.items()
        if name in ratio
    }
    if peaks:
        bars["peak_mb"] = {"at_most": MAX_PEAK_MB, "found": max(peaks), "met": max(peaks) <= MAX_PEAK_MB}
    return bars


def rounded(found: Any) -> Any:
    """Four significant digits of every float."""
    if isinstance(found, dict):
        return {name: rounded(value) for name, value in found.items()}
    return float(f"{found:.4g}") if isinstance(found, float) else found


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="made by benchmarks/corpus.py")
    parser.add_argument("--images", type=int, default=2000, help="how many of its images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=10, help="times that the images are presented")
    parser.add_argument("--slow-repeat", type=int, default=1, help="the same for FFCV's writer")
    parser.add_argument("--memory-rows", type=int, default=200_000, help="rows of the memory run; 0 leaves it out")
    parser.add_argument("--only", default=",".join(CONTENDERS), help="contenders, separated by commas")
    parser.add_argument("--workdir", type=Path, help="on the corpus's file system; default: beside the corpus")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",") if arguments.only else []
    unknown = sorted(set(arguments.only) - set(CONTENDERS))
    if unknown:
        parser.error(f"--only knows {', '.join(CONTENDERS)}, not {', '.join(unknown)}")
    if min(arguments.images, arguments.rounds, arguments.repeat, arguments.slow_repeat) < 1:
        parser.error("--images, --rounds, --repeat and --slow-repeat are at least 1")
    return arguments


def main() -> None:
    """Measures and prints."""
    arguments = parse()

    def say(line: str) -> None:
        if not arguments.json:
            print(line, flush=True)

    corpus = arguments.corpus.resolve()
    try:
        with tempfile.TemporaryDirectory(prefix="shardtools-write-", dir=arguments.workdir or corpus.parent) as folder:
            results = measure_speed(arguments, Path(folder), say)
            memory = measure_memory(arguments.memory_rows, Path(folder)) if arguments.memory_rows else {}
    except BenchmarkError as error:
        sys.exit(f"write: {error}")
    ratio = ratios(partial(_speed, results))
    num_images = arguments.images * arguments.repeat
    ours = [one["peak_mb"] for name, one in results.items() if CONTENDERS[name].words[0] == "shardtools"]
    summary = {
        "images_per_second": {name: one["images_per_second"] for name, one in results.items()},
        "mb_per_second": {name: one["mb_per_second"] for name, one in results.items()},
        "ratio": ratio,
        "ratio_with_startup": ratios(partial(_speed_with_startup, results, num_images)),
        "bars": judge(ratio, [*ours, *(one["peak_mb"] for one in memory.values())]),
        "memory": memory,
        "contenders": results,
        "images": num_images,
        "rounds": arguments.rounds,
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
        },
    }
    print(json.dumps(rounded(summary)))


if __name__ == "__main__":
    main()
