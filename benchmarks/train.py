"""Training on photos: how long it waits for data, against no data at all, a plain script, and one head with another.

    python benchmarks/corpus.py /tmp/corpus && python benchmarks/train.py --corpus /tmp/corpus --json

Hardware: two CPU cores, 8 GB of memory, or one GPU. Time: about 15 minutes on two cores with three rounds.
Expected: see `BARS`.

Contenders take turns, each in a fresh process (`peers_train.py`), the same photos and the same network. On a CPU that
is a small ResNet at 64 pixels, on a GPU (taken where there is one) ResNet-50 at 224 pixels, bfloat16, channels last.

| contender | what |
|---|---|
| ours | `shardtools train`'s engine on a dataset of tars |
| ours_cpu_decoder | the same with JPEGs decoded by the CPU; only where the device is a GPU |
| synthetic | the engine on one batch of the data, over and over |
| torchvision | ImageFolder and DataLoader in a loop of torch |
| heads | a step with cosine softmax and with Online Class Means, and the parts of it |

Figures are medians over all rounds of the speeds between two lines of metrics (ten steps). `ocm_head` is the head
alone, forward and backward, with the queue's write; `ocm_step` the whole step, of which `ocm_forward_share` is the
forward pass of the averaged network that the method asks for; `ocm_step_without_forward` is the step without it. On two
cores `ours` shares them with its own computation, so `synthetic` says what decoding costs and not only what is waited
for: its bar is the GPU's.

The last line is one JSON object: `images_per_second`, `figures`, `bars`, and all of each contender. A contender that
fails is in `failed`, and the exit code is 1.
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
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

# Started by its path: what stands beside it is found from the checkout, here and in the contenders' processes.
sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.peers_train import add_settings

CHILD = Path(__file__).with_name("peers_train.py")
DATA = Path(__file__).with_name("read_data.py")
CONTENDERS = {
    "ours": ("ours",),
    "ours_cpu_decoder": ("ours", "--decoder", "cpu"),
    "synthetic": ("synthetic",),
    "torchvision": ("torchvision",),
    "heads": ("heads",),
}
"""Name -> first words of `peers_train.py`; they run in this order."""
BARS: dict[str, tuple[str, float]] = {
    "data_wait": ("at_most", 0.05),
    "over_synthetic": ("at_least", 0.95),
    "ocm_step": ("at_most", 1.1),
}
"""Figure -> what it must reach; see `figures`. `over_synthetic` is asked of a GPU alone."""
Report = dict[str, Any]


class BenchmarkError(Exception):
    """The benchmark cannot run; one line says why."""


def _run(command: Sequence[object]) -> str:
    """Standard output of a script.

    Raises:
        BenchmarkError: It failed; its own error is on the standard error output.
    """
    words = [sys.executable, *map(str, command)]
    environment = {**os.environ, "PYTHONPATH": str(CHILD.parent.parent)}
    # Each contender's own choice for the cores.
    environment.pop("OMP_NUM_THREADS", None)
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, check=False)
        if done.returncode != 0:
            errors.seek(0)
            sys.stderr.write(errors.read())
            raise BenchmarkError(f"{' '.join(words)} ended with {done.returncode}")
    return done.stdout


def make_data(arguments: argparse.Namespace, data: Path) -> None:
    """The corpus as files and as tars.

    Raises:
        BenchmarkError: The corpus has too few images.
    """
    num_found = sum(path.is_file() for path in arguments.corpus.glob("*/*"))
    if num_found < arguments.images:
        raise BenchmarkError(
            f"{arguments.corpus} holds {num_found} images, not {arguments.images}: make it with benchmarks/corpus.py"
        )
    _run([DATA, "--data", data, "--corpus", arguments.corpus, "--images", arguments.images, "--formats", "files,tar"])


def measure(
    arguments: argparse.Namespace, data: Path, say: Callable[[str], None]
) -> tuple[dict[str, list[Report]], dict[str, str]]:
    """The runs of all contenders, round by round; and why those that failed did."""
    settings = ("device", "encoder", "precision", "size", "batch_size", "threads", "compute_threads", "hidden", "steps")
    words = [
        word
        for name in settings
        if getattr(arguments, name) is not None
        for word in (f"--{name.replace('_', '-')}", getattr(arguments, name))
    ]
    runs: dict[str, list[Report]] = {}
    failed: dict[str, str] = {}
    for number in range(arguments.rounds):
        for name in arguments.only:
            is_without_gpu = any(run["settings"]["device"] == "cpu" for found in runs.values() for run in found)
            if name in failed or (name == "ours_cpu_decoder" and is_without_gpu):
                continue
            try:
                run: Report = json.loads(_run([CHILD, *CONTENDERS[name], "--data", data, *words]))
            except BenchmarkError as error:
                failed[name] = str(error)
                say(f"{name} failed")
                continue
            runs.setdefault(name, []).append(run)
            say(f"round {number + 1} {name}: {json.dumps(rounded(summarize([run])))}")
    return runs, failed


def summarize(runs: Sequence[Report]) -> Report:
    """Medians over what all runs of a contender measured; peaks are the largest."""
    found: Report = {}
    for name in ("images_per_second", "data_wait"):
        values = [value for run in runs for value in run.get(name, [])]
        if values:
            found[name] = statistics.median(values)
    if "images_per_second" in found:
        speeds = [value for run in runs for value in run["images_per_second"]]
        found |= {"slowest_images_per_second": min(speeds), "fastest_images_per_second": max(speeds)}
    if "milliseconds" in runs[0]:
        names = runs[0]["milliseconds"]
        found["milliseconds"] = {name: statistics.median(run["milliseconds"][name] for run in runs) for name in names}
    peaks = ("peak_mb", "peak_mb_without_files", "peak_gpu_mb")
    return found | {name: max(run[name] for run in runs) for name in peaks if name in runs[0]}


def figures(results: Report) -> dict[str, float]:
    """All that the bars are about and what lies beside them, as far as it was measured."""
    found: dict[str, float] = {}
    speed = {name: one["images_per_second"] for name, one in results.items() if "images_per_second" in one}
    if "ours" in results:
        found["data_wait"] = results["ours"]["data_wait"]
        found |= {f"over_{name}": speed["ours"] / other for name, other in speed.items() if name != "ours"}
    if "heads" in results:
        times = results["heads"]["milliseconds"]
        found |= {
            "ocm_head": times["head_ocm"] / times["head_cosine"],
            "ocm_step": times["step_ocm"] / times["step_cosine"],
            "ocm_forward_share": times["averaged_forward"] / times["step_ocm"],
            "ocm_step_without_forward": (times["step_ocm"] - times["averaged_forward"]) / times["step_cosine"],
        }
    return found


def judge(found: dict[str, float], device: str) -> Report:
    """What the bars ask for, what was found, and whether that is enough."""
    return {
        name: {side: bar, "found": found[name], "met": found[name] >= bar if side == "at_least" else found[name] <= bar}
        for name, (side, bar) in BARS.items()
        if name in found and (name != "over_synthetic" or device == "cuda")
    }


def report(runs: dict[str, list[Report]], failed: dict[str, str], arguments: argparse.Namespace) -> Report:
    """The JSON object."""
    results = {name: summarize(found) for name, found in runs.items()}
    first = next(iter(runs.values()))[0] if runs else {"settings": {"device": "cpu"}}
    found = figures(results)
    return {
        "images_per_second": {
            name: one["images_per_second"] for name, one in results.items() if "images_per_second" in one
        },
        "figures": found,
        "bars": judge(found, first["settings"]["device"]),
        "contenders": results,
        "failed": failed,
        "settings": first["settings"],
        "gpu": first.get("gpu"),
        "images": arguments.images,
        "rounds": arguments.rounds,
        "steps": arguments.steps,
        "cores": os.cpu_count(),
        "machine": platform.platform(),
    }


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
    parser.add_argument("--only", default=",".join(CONTENDERS), help="contenders, separated by commas")
    parser.add_argument(
        "--data", type=Path, help="keep what is read here; default: a folder beside the corpus, removed"
    )
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    add_settings(parser)
    arguments = parser.parse_args()
    asked = arguments.only.split(",")
    unknown = sorted({*asked} - {*CONTENDERS})
    if unknown:
        parser.error(f"--only knows {', '.join(CONTENDERS)}, not {', '.join(unknown)}")
    arguments.only = [name for name in CONTENDERS if name in asked]
    if arguments.steps < 30 or min(arguments.images, arguments.rounds) < 1:
        parser.error("--images and --rounds are at least 1, --steps at least 30")
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
            runs, failed = measure(arguments, Path(folder), say)
    except BenchmarkError as error:
        sys.exit(f"train: {error}")
    print(json.dumps(rounded(report(runs, failed, arguments))))
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
