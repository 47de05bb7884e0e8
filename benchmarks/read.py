"""Reading photos for training, against the loaders of other libraries: same images, same machine, same run.

    python benchmarks/corpus.py /tmp/corpus && python benchmarks/read.py --corpus /tmp/corpus --json

Hardware: two CPU cores, 8 GB of memory, 5 GB free on the corpus's disk. Time: about 25 minutes with three rounds.
Expected: see `BARS` (figures: docs/benchmarks.md).

Contenders take turns, each in a fresh process (`peers_read.py`) on the same two cores, with two threads or two workers,
batches of 64, and warm page cache. An epoch in which peers compile and start is left out, then come whole epochs;
figures are medians over the epochs of all rounds. What each reads is made from the corpus first (`read_data.py`).

crop: RandomResizedCrop to 224 x 224 and flip, uint8.
| contender | reads | settings |
|---|---|---|
| ours | tars | threads, global shuffle |
| bound | memory | the decoder alone, on the crops of `ours` (`read_ours.py`) |
| ffcv | .beton with the original JPEGs | threads, os_cache (mapped file), OrderOption.RANDOM, its own crop and flip |
| dali | files | device_id=None, image_random_crop (decodes the crop's rows; plain upsampling, its default) |
| webdataset | tars | torchvision on Pillow images, batches made in workers, shuffle of 1000, WebLoader |
| webdataset_tensors | tars | the same with torchvision's decoder and transforms of uint8 tensors |
| streaming | MDS | its own JPEG decoding, torchvision on Pillow images, DataLoader |
| litdata | its chunks | torchvision on Pillow images, StreamingDataLoader |
| imagefolder | files | torchvision's ImageFolder on Pillow images, DataLoader |
All DataLoaders: two persistent workers, prefetch of 4 batches.

multi_crop: 1 x 224 and 8 x 96 with DINO's colours; ours, and torchvision on Pillow images as in DINO's code.
raw: pixels in a .beton, shorter side 256; ours and FFCV, RandomResizedCrop to 224 and flip.
s3: a SeaweedFS server on the same machine; of two cores it takes its share. `ours` with shuffle="blocks" of the
loader's own size, `ranges` (all shards in ranges of 8 MiB, 8 at a time, with obstore alone), `local` (as ours, from the
disk), `view` (a tenth of the classes).
first_batch: seconds from making the loader to its first batch, of the corpus and of 1,281,167 rows.
memory: peak of both after as many batches, all processes together, without the pages of mapped files, which the system
can drop; `peak_mb` has them too.

The last line is one JSON object: `images_per_second` and `ratio` (ours over the contender) of the first section, then
each further section, the bars, and all figures of all contenders. `ratio_of_cpu` is about CPU time an image, which
other programs on the machine disturb less. A contender that fails is in `failed`, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("peers_read.py")
DATA = Path(__file__).with_name("read_data.py")
VIEW = "select key from samples where class_index < 10"
"""A tenth of the corpus's 100 classes, spread over all shards."""
MEMORY_BATCHES = 160
Report = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One line of the figures.

    Attributes:
        section: Contenders of one section are held against each other.
        peer: Name in `peers_read.py`.
        data: What it reads: a format of `read_data.py`, or "s3" for the tars in the object store.
        words: Further arguments of `peers_read.py`.
    """

    section: str
    peer: str
    data: str
    words: tuple[str, ...] = ()


def _crop(**formats: str) -> dict[str, Contender]:
    return {name: Contender(section="crop", peer=name, data=data) for name, data in formats.items()}


_ONE_EPOCH = ("--epochs", "1")
_FIRST_BATCH = ("--epochs", "0", "--max-batches", "1")
_BLOCKS = ("--shuffle", "blocks")

CONTENDERS = {
    **_crop(ours="tar", bound="tar", ffcv="beton", dali="files", webdataset="tar", webdataset_tensors="tar"),
    **_crop(streaming="mds", litdata="litdata", imagefolder="files"),
    "multi_crop_ours": Contender(section="multi_crop", peer="ours_multi_crop", data="tar", words=_ONE_EPOCH),
    "multi_crop_torchvision": Contender(section="multi_crop", peer="multi_crop", data="files", words=_ONE_EPOCH),
    "raw_ours": Contender(section="raw", peer="ours", data="raw"),
    "raw_ffcv": Contender(section="raw", peer="ffcv", data="raw"),
    "s3_ours": Contender(section="s3", peer="ours", data="s3", words=_BLOCKS),
    "s3_ranges": Contender(section="s3", peer="ranges", data="s3"),
    "s3_local": Contender(section="s3", peer="ours", data="tar", words=_BLOCKS),
    "s3_view": Contender(section="s3", peer="ours", data="s3", words=("--view", VIEW, "--epochs", "10", *_BLOCKS)),
    "first_batch_small": Contender(section="first_batch", peer="ours", data="tar", words=_FIRST_BATCH),
    "first_batch_large": Contender(section="first_batch", peer="ours", data="large", words=_FIRST_BATCH),
    "memory_small": Contender(
        section="memory", peer="ours", data="tar", words=("--epochs", "4", "--max-batches", str(MEMORY_BATCHES // 5))
    ),
    "memory_large": Contender(
        section="memory", peer="ours", data="large", words=("--epochs", "0", "--max-batches", str(MEMORY_BATCHES))
    ),
}
"""Name -> contender; they run in this order, section by section."""
SECTIONS = tuple(dict.fromkeys(one.section for one in CONTENDERS.values()))

BARS: dict[str, tuple[str, float]] = {
    "ffcv": ("at_least", 1.6),
    "dali": ("at_least", 1.5),
    "webdataset": ("at_least", 2.2),
    "bound": ("at_least", 0.85),
    "multi_crop_torchvision": ("at_least", 5.0),
    "raw_ffcv": ("at_least", 1.0),
    "s3_limit": ("at_least", 0.9),
    "s3_view_speedup": ("at_least", 4.0),
    "first_batch_small_seconds": ("at_most", 1.0),
    "first_batch_large_seconds": ("at_most", 5.0),
    "memory_large_mb": ("at_most", 500.0),
}
"""Figure -> what it must reach; see `figures`."""


class BenchmarkError(Exception):
    """The benchmark cannot run; one line says why."""


def _environment(data: Path) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(CHILD.parent.parent)}
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Libraries load as they do where they are installed with their bytecode.
        environment["PYTHONPYCACHEPREFIX"] = str(data / "bytecode")
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        # Each library's own choice for the two cores.
        environment.pop(name, None)
    return environment


def _run(command: Sequence[str], environment: dict[str, str]) -> str:
    """Standard output of a script.

    Raises:
        BenchmarkError: It failed; its own error is on the standard error output.
    """
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, check=False)
        if done.returncode != 0:
            errors.seek(0)
            sys.stderr.write(errors.read())
            raise BenchmarkError(f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout


def make_data(arguments: argparse.Namespace, data: Path) -> None:
    """Everything that the chosen contenders read.

    Raises:
        BenchmarkError: The corpus has too few images, or a format cannot be made.
    """
    num_found = sum(path.is_file() for path in arguments.corpus.glob("*/*"))
    if num_found < arguments.images:
        raise BenchmarkError(
            f"{arguments.corpus} holds {num_found} images, not {arguments.images}: make it with benchmarks/corpus.py"
        )
    formats = {"tar" if CONTENDERS[name].data == "s3" else CONTENDERS[name].data for name in arguments.only}
    words = ["--data", data, "--corpus", arguments.corpus, "--images", arguments.images]
    command = [sys.executable, DATA, *words, "--formats", ",".join(sorted(formats))]
    _run([str(word) for word in command], _environment(data))


@contextmanager
def object_store(data: Path) -> Iterator[Report]:
    """An S3 server with the tars: their address, and the environment that leads there."""
    command = [sys.executable, str(DATA), "--serve", "--data", str(data)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=_environment(data), text=True, stdin=pipe, stdout=pipe) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            if not line:
                raise BenchmarkError(f"{' '.join(command)} ended early")
            store: Report = json.loads(line)
            yield store
        finally:
            if server.stdin:
                server.stdin.close()


def run_child(name: str, data: Path, store: Report | None) -> Report:
    """One contender in a process of its own."""
    one = CONTENDERS[name]
    is_remote = one.data == "s3" and store is not None
    place = ("--url", store["url"]) if is_remote and store else ("--data", str(data / one.data))
    environment = _environment(data) | (store["environment"] if is_remote and store else {})
    found: Report = json.loads(_run([sys.executable, str(CHILD), one.peer, *place, *one.words], environment))
    return found


def measure(arguments: argparse.Namespace, data: Path, say: Callable[[str], None]) -> tuple[Report, dict[str, str]]:
    """All contenders, section by section and round by round; and why those that failed did."""
    runs: dict[str, list[Report]] = {}
    failed: dict[str, str] = {}
    for section in SECTIONS:
        names = [name for name in arguments.only if CONTENDERS[name].section == section]
        is_remote = any(CONTENDERS[name].data == "s3" for name in names)
        with object_store(data) if is_remote else nullcontext() as store:
            for number in range(arguments.rounds):
                for name in names:
                    if name in failed:
                        continue
                    try:
                        run = run_child(name, data, store)
                    except BenchmarkError as error:
                        failed[name] = str(error)
                        say(f"{name} failed")
                        continue
                    runs.setdefault(name, []).append(run)
                    say(f"round {number + 1} {name}: {_words(summarize([run]))}")
    return {name: summarize(found) for name, found in runs.items()}, failed


def summarize(runs: Sequence[Report]) -> Report:
    """Medians over all epochs after the first of all runs; peaks are the largest."""
    epochs = [pair for run in runs for pair in zip(run["images"][1:], run["seconds"][1:], strict=True)]
    found: Report = {"first_batch_seconds": statistics.median(run["first_batch_seconds"] for run in runs)}
    if epochs:
        speeds = [images / seconds for images, seconds in epochs]
        found |= {
            "images_per_second": statistics.median(speeds),
            "slowest_images_per_second": min(speeds),
            "fastest_images_per_second": max(speeds),
            "epoch_seconds": statistics.median(seconds for _, seconds in epochs),
            "epochs": len(epochs),
            "images": epochs[0][0],
            "cpu_ms_per_image": statistics.median(run["cpu_ms_per_image"] for run in runs),
        }
    return found | {name: max(run[name] for run in runs) for name in ("peak_mb", "peak_mb_without_files")}


def _words(one: Report) -> str:
    speed = f"{one['images_per_second']:.0f} images/s, " if "images_per_second" in one else ""
    return f"{speed}first batch after {one['first_batch_seconds']:.2f} s, {one['peak_mb']:.0f} MB"


def ratios(results: Report, section: str, figure: str = "images_per_second") -> dict[str, float]:
    """A figure of ours over that of each other contender of a section, by its name without the section's."""
    ours = "ours" if section == "crop" else f"{section}_ours"
    others = [name for name, one in CONTENDERS.items() if one.section == section and name not in (ours, "s3_view")]
    return {
        name.removeprefix(f"{section}_"): results[ours][figure] / results[name][figure]
        for name in others
        if figure in results.get(ours, {}) and figure in results.get(name, {})
    }


def figures(results: Report) -> dict[str, float]:
    """All that the bars are about, as far as it was measured."""
    found = ratios(results, "crop")
    for section in ("multi_crop", "raw", "s3"):
        found |= {f"{section}_{name}": ratio for name, ratio in ratios(results, section).items()}
    if {"s3_ranges", "s3_local"} <= set(found):
        # Against the slower of the two.
        found["s3_limit"] = max(found["s3_ranges"], found["s3_local"])
    if {"s3_ours", "s3_view"} <= set(results):
        found["s3_view_speedup"] = results["s3_ours"]["epoch_seconds"] / results["s3_view"]["epoch_seconds"]
        found["s3_view_share"] = results["s3_view"]["images"] / results["s3_ours"]["images"]
    for name in ("first_batch_small", "first_batch_large"):
        if name in results:
            found[f"{name}_seconds"] = results[name]["first_batch_seconds"]
    if {"memory_small", "memory_large"} <= set(results):
        found |= {f"{name}_mb": results[name]["peak_mb_without_files"] for name in ("memory_small", "memory_large")}
    return found


def judge(found: dict[str, float]) -> Report:
    """What the bars ask for, what was found, and whether that is enough."""
    return {
        name: {side: bar, "found": found[name], "met": found[name] >= bar if side == "at_least" else found[name] <= bar}
        for name, (side, bar) in BARS.items()
        if name in found
    }


def speeds(results: Report, section: str) -> dict[str, float]:
    """Images/s of a section's contenders, by their names without the section's."""
    return {
        name.removeprefix(f"{section}_"): one["images_per_second"]
        for name, one in results.items()
        if CONTENDERS[name].section == section and "images_per_second" in one
    }


def report(results: Report, failed: dict[str, str], arguments: argparse.Namespace) -> Report:
    """The JSON object."""
    found = figures(results)
    sections = {
        section: {"images_per_second": speeds(results, section), "ratio": ratios(results, section)}
        for section in ("multi_crop", "raw", "s3")
        if speeds(results, section)
    }
    others = [name for name, one in CONTENDERS.items() if one.section in ("first_batch", "memory") and name in results]
    return {
        "images_per_second": speeds(results, "crop"),
        "ratio": ratios(results, "crop"),
        "ratio_of_cpu": ratios(results, "crop", "cpu_ms_per_image"),
        **sections,
        **{name: results[name] for name in others},
        "figures": found,
        "bars": judge(found),
        "failed": failed,
        "contenders": results,
        "images": arguments.images,
        "rounds": arguments.rounds,
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
        },
    }


def table(results: Report) -> Iterator[str]:
    """The figures for people."""
    yield "| contender | images/s | ours over it | CPU ms/image | first batch s | peak MB |"
    yield "|---|---|---|---|---|---|"
    ratio = {section: ratios(results, section) for section in SECTIONS}
    for name, one in results.items():
        section = CONTENDERS[name].section
        speed = f"{one['images_per_second']:.0f}" if "images_per_second" in one else ""
        times = ratio[section].get(name.removeprefix(f"{section}_"))
        cpu = f"{one['cpu_ms_per_image']:.2f}" if "cpu_ms_per_image" in one else ""
        cells = (name, speed, f"{times:.2f}" if times else "", cpu, f"{one['first_batch_seconds']:.2f}")
        yield f"| {' | '.join(cells)} | {one['peak_mb']:.0f} |"


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
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections and contenders, separated by commas")
    parser.add_argument(
        "--data", type=Path, help="keep what is read here; default: a folder beside the corpus, removed"
    )
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    arguments = parser.parse_args()
    asked = set(arguments.only.split(","))
    unknown = sorted(asked - {*CONTENDERS, *SECTIONS})
    if unknown:
        parser.error(f"--only knows {', '.join((*SECTIONS, *CONTENDERS))}, not {', '.join(unknown)}")
    arguments.only = [name for name, one in CONTENDERS.items() if asked & {name, one.section}]
    if min(arguments.images, arguments.rounds) < 1:
        parser.error("--images and --rounds are at least 1")
    arguments.corpus = arguments.corpus.resolve()
    return arguments


def main() -> None:
    """Measures and prints."""
    arguments = parse()

    def say(line: str) -> None:
        if not arguments.json:
            print(line, flush=True)

    beside = arguments.corpus.parent
    kept = nullcontext(arguments.data.resolve()) if arguments.data else tempfile.TemporaryDirectory(dir=beside)
    try:
        with kept as folder:
            make_data(arguments, Path(folder))
            results, failed = measure(arguments, Path(folder), say)
    except BenchmarkError as error:
        sys.exit(f"read: {error}")
    for line in table(results):
        say(line)
    print(json.dumps(rounded(report(results, failed, arguments))))
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
