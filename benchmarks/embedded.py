"""Measure the embedded generator against real Fashion-MNIST pictures, every figure as JSON.

    OMP_NUM_THREADS=2 python -m benchmarks.embedded --json --judges build/fashion-judges

Hardware: two CPU cores. Time: about 25 minutes, the first 8 of them for the judges (kept in
`--judges`); `--quick` takes one seed, a fifth of the pictures and short judges. Expected:
the table in `docs/embedded_generator.md`.

Judges: `black` (real products on black), `scene` (real training products placed in painted
scenes, by class), `group` (the same pictures, by scene group). None sees a generated
picture. The price of judging by classifier: it rewards typical pictures, so the honest
figures are the variety and the accuracy of a classifier trained on generated pictures only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, PNDMScheduler, StableDiffusionPipeline

import shardtools
from shardtools.pipelines.embedded_generator.captions import (
    CLASSES,
    TEMPLATES,
    fill_template,
    read_scene_table,
    scene_wordings,
)
from shardtools.pipelines.embedded_generator.data import load_split, place_in_scenes
from shardtools.pipelines.embedded_generator.judge import (
    Judge,
    JudgeOptions,
    augment_strongly,
    gray_batcher,
    judge_all,
    mean_pairwise_distance,
    rgb_batcher,
    train_judge,
)
from shardtools.pipelines.embedded_generator.panel import load_judges
from shardtools.pipelines.embedded_generator.scenes import SCENE_GROUPS, paint_bank
from shardtools.pipelines.embedded_generator.vae import to_tensor

MODEL = Path(shardtools.__file__).resolve().parent / "models" / "fashion-sd"
SAMPLERS: dict[str, tuple[type[Any], int]] = {
    "pndm50": (PNDMScheduler, 50),
    "pndm25": (PNDMScheduler, 25),
    "dpm10": (DPMSolverMultistepScheduler, 10),
}
BATCH_SIZE = 50
Report = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is generated and how long judges train."""

    seeds: tuple[int, ...]
    pictures: int
    prompt_pictures: int
    train_pictures: int
    judge_epochs: float

    def __post_init__(self) -> None:
        counts = (self.pictures, self.prompt_pictures, self.train_pictures)
        if any(count % len(CLASSES) for count in counts):
            raise ValueError(f"expected picture counts divisible by {len(CLASSES)}, found {counts}")


FULL = Scale(seeds=(0, 1, 2), pictures=200, prompt_pictures=100, train_pictures=2000, judge_epochs=6)
QUICK = Scale(seeds=(0,), pictures=50, prompt_pictures=50, train_pictures=500, judge_epochs=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every measurement needs: the pipeline, the judges, the real test pictures."""

    pipeline: StableDiffusionPipeline
    black: Judge
    scene: Judge
    group: Judge
    test_images: torch.Tensor
    test_labels: torch.Tensor
    scale: Scale


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The pipeline in float32, offline, silent."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], *, sampler: str, guidance: float, seed: int
) -> torch.Tensor:
    """RGB pictures `[N, 3, 32, 32]` in -1..1; batches of 50, the last one padded."""
    kind, steps = SAMPLERS[sampler]
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
    parts = []
    for at in range(0, len(prompts), BATCH_SIZE):
        batch = list(prompts[at : at + BATCH_SIZE])
        padded = batch + [batch[-1]] * (BATCH_SIZE - len(batch))
        images = pipeline(
            padded,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(seed * 100_003 + at),
            output_type="pt",
        ).images
        parts.append(images[: len(batch)] * 2 - 1)
    return torch.cat(parts).float()


def accuracy(judge: Judge, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of pictures the judge gives their label."""
    probabilities, _ = judge_all(judge, images)
    return float((probabilities.argmax(1) == labels).float().mean())


def per_class(judge: Judge, images: torch.Tensor, labels: torch.Tensor) -> list[float]:
    """Accuracy for each class in label order."""
    probabilities, _ = judge_all(judge, images)
    correct = (probabilities.argmax(1) == labels).float()
    return [round(float(correct[labels == c].mean()), 3) for c in range(len(CLASSES))]


def summarize(values: Sequence[float]) -> Report:
    """Mean over the seeds and every seed's figure."""
    return {"mean": round(statistics.fmean(values), 4), "seeds": [round(v, 4) for v in values]}


def _labels(count: int) -> torch.Tensor:
    return torch.arange(count) % len(CLASSES)


def _scene_draw(count: int, seed: int) -> tuple[list[str], torch.Tensor]:
    """Scene names, spread over the groups, and their group indices."""
    table, rng = read_scene_table(), np.random.default_rng(seed)
    groups = rng.permutation(np.arange(count) % len(SCENE_GROUPS))
    names = []
    for index in groups:
        scenes = table[SCENE_GROUPS[int(index)]]
        names.append(scene_wordings(*scenes[int(rng.integers(0, len(scenes)))])[0])
    return names, torch.from_numpy(groups)


def measure_judges(bench: Bench, data: Path) -> Report:
    """What the judges can tell on real test pictures, on black and in painted scenes."""
    gray, labels = load_split(data, "test")
    backgrounds, groups = paint_bank(100, seed=2001)
    rng = np.random.default_rng(2002)
    at = rng.integers(0, len(backgrounds), len(gray))
    images = to_tensor(place_in_scenes(gray, backgrounds[at], rng))
    _, features = judge_all(bench.black, bench.test_images)
    return {
        "black_on_real": accuracy(bench.black, bench.test_images, bench.test_labels),
        "black_per_class": per_class(bench.black, bench.test_images, bench.test_labels),
        "scene_class_on_painted": accuracy(bench.scene, images, torch.from_numpy(labels)),
        "scene_group_on_painted": accuracy(bench.group, images, torch.from_numpy(groups[at])),
        "real_pairwise_distance": mean_pairwise_distance(features, bench.test_labels),
    }


def measure_guidance(bench: Bench) -> Report:
    """`c, d_c` at guidance 7.5 and 2 with PNDM 50: accuracy, variety, accuracy by class."""
    labels, report = _labels(bench.scale.pictures), {}
    prompts = [fill_template("c, d_c", CLASSES[int(c)]) for c in labels]
    for guidance in (7.5, 2.0):
        accuracies, distances, classes = [], [], []
        for seed in bench.scale.seeds:
            images = generate(bench.pipeline, prompts, sampler="pndm50", guidance=guidance, seed=seed)
            _, features = judge_all(bench.black, images)
            accuracies.append(accuracy(bench.black, images, labels))
            distances.append(mean_pairwise_distance(features, labels))
            classes.append(per_class(bench.black, images, labels))
        report[f"guidance_{guidance:g}"] = {
            "judged_accuracy": summarize(accuracies),
            "pairwise_distance": summarize(distances),
            "per_class": np.round(np.mean(classes, 0), 3).tolist(),
        }
    return report


def measure_templates(bench: Bench) -> Report:
    """All four templates at guidance 7.5 (DPM++ 10); scenes are judged by the scene judge."""
    labels, report = _labels(bench.scale.prompt_pictures), {}
    for template in TEMPLATES:
        accuracies = []
        for seed in bench.scale.seeds:
            scenes, _ = _scene_draw(len(labels), seed)
            prompts = [fill_template(template, CLASSES[int(c)], b) for c, b in zip(labels, scenes, strict=True)]
            images = generate(bench.pipeline, prompts, sampler="dpm10", guidance=7.5, seed=seed)
            accuracies.append(accuracy(bench.scene if "inside" in template else bench.black, images, labels))
        report[template] = summarize(accuracies)
    return report


def measure_wording(bench: Bench) -> Report:
    """Free wordings at guidance 7.5 (DPM++ 10), also relative to the judge's own accuracy."""
    own = accuracy(bench.black, bench.test_images, bench.test_labels)
    wordings: dict[str, Callable[[int, int], str]] = {
        "a photo of a c": lambda c, _: f"a photo of a {CLASSES[c].c}",
        "a photo of a lemma": lambda c, i: f"a photo of a {CLASSES[c].lemmas[i % len(CLASSES[c].lemmas)]}",
        "one lemma": lambda c, i: CLASSES[c].lemmas[i % len(CLASSES[c].lemmas)],
        "definition": lambda c, _: CLASSES[c].definition,
        "hypernym": lambda c, _: CLASSES[c].h,
    }
    labels, report = _labels(bench.scale.prompt_pictures), {}
    for name, wording in wordings.items():
        prompts = [wording(int(c), i // len(CLASSES)) for i, c in enumerate(labels)]
        values = []
        for seed in bench.scale.seeds:
            images = generate(bench.pipeline, prompts, sampler="dpm10", guidance=7.5, seed=seed)
            values.append(accuracy(bench.black, images, labels))
        report[name] = {**summarize(values), "relative": round(statistics.fmean(values) / own, 4)}
    return report


def measure_scenes(bench: Bench) -> Report:
    """`c, h_c inside b`: does the picture show the scene's group, and still the class?"""
    labels, report = _labels(bench.scale.prompt_pictures), {}
    for guidance in (7.5, 2.0):
        classes, groups, by_group = [], [], []
        for seed in bench.scale.seeds:
            names, group_labels = _scene_draw(len(labels), seed)
            prompts = [fill_template("c, h_c inside b", CLASSES[int(c)], b) for c, b in zip(labels, names, strict=True)]
            images = generate(bench.pipeline, prompts, sampler="dpm10", guidance=guidance, seed=seed)
            classes.append(accuracy(bench.scene, images, labels))
            groups.append(accuracy(bench.group, images, group_labels))
            probabilities, _ = judge_all(bench.group, images)
            correct = (probabilities.argmax(1) == group_labels).float()
            by_group.append([float(correct[group_labels == g].mean()) for g in range(len(SCENE_GROUPS))])
        report[f"guidance_{guidance:g}"] = {
            "class_accuracy": summarize(classes),
            "group_accuracy": summarize(groups),
            "per_group": dict(zip(SCENE_GROUPS, np.round(np.mean(by_group, 0), 3).tolist(), strict=True)),
        }
    return report


def _student(images: torch.Tensor, labels: torch.Tensor, seed: int) -> Judge:
    """A classifier trained from nothing on a few thousand pictures."""
    judge = Judge()
    options = JudgeOptions(epochs=30, batch_size=64, max_rate=3e-3, max_shift=2, label_smoothing=0.1, seed=seed)
    train_judge(judge, len(images), rgb_batcher(images, labels), options, augmented=augment_strongly)
    return judge


def _mirrored_accuracy(judge: Judge, bench: Bench) -> float:
    """Share of real test pictures read rightly, each averaged with its mirror image."""
    straight, _ = judge_all(judge, bench.test_images)
    mirrored, _ = judge_all(judge, bench.test_images.flip(3))
    return float(((straight + mirrored).argmax(1) == bench.test_labels).float().mean())


def measure_students(bench: Bench, data: Path) -> Report:
    """Classifiers trained on generated pictures only (guidance 2, DPM++ 10), tested on real ones."""
    labels = _labels(bench.scale.train_pictures)
    prompts = [fill_template(TEMPLATES[i // 10 % 3], CLASSES[int(c)]) for i, c in enumerate(labels)]
    generated, real = [], []
    gray, real_labels = (torch.from_numpy(a) for a in load_split(data, "train"))
    for seed in bench.scale.seeds:
        images = generate(bench.pipeline, prompts, sampler="dpm10", guidance=2.0, seed=seed + 500)
        generated.append(_mirrored_accuracy(_student(images, labels, seed), bench))
    for seed in bench.scale.seeds[:1]:
        order = torch.randperm(len(gray), generator=torch.Generator().manual_seed(seed))
        rgb, own = gray_batcher(gray, real_labels)(order[: len(labels)])
        student = _student(rgb.contiguous(), own, seed)
        real.append(_mirrored_accuracy(student, bench))
    return {
        "pictures": len(labels),
        "trained_on_generated": summarize(generated),
        "trained_on_as_many_real": summarize(real),
    }


def time_samplers(folder: Path, threads: int) -> Report:
    """Images a second in this process: two batches after one warm-up batch."""
    torch.set_num_threads(threads)
    pipeline, report = load_pipeline(folder), {}
    for sampler in SAMPLERS:
        for batch_size in (32, 50):
            kind, steps = SAMPLERS[sampler]
            pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
            prompts = [fill_template("c, d_c", CLASSES[i % 10]) for i in range(batch_size)]
            pipeline(prompts, num_inference_steps=2, guidance_scale=7.5)
            start = time.perf_counter()
            for _ in range(2):
                pipeline(prompts, num_inference_steps=steps, guidance_scale=7.5, output_type="pt")
            report[f"{sampler}_batch{batch_size}"] = round(2 * batch_size / (time.perf_counter() - start), 1)
    return report


def measure_speed(folder: Path) -> Report:
    """Images a second as one process with two threads, and as two processes with one each."""

    def start(threads: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.embedded", "--model", str(folder)]
        command += ["--speed-threads", str(threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        root = Path(__file__).resolve().parent.parent
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root)

    def finish(process: subprocess.Popen[str]) -> Report:
        output, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"the timing process ended with exit status {process.returncode}")
        report: Report = json.loads(output.strip().splitlines()[-1])
        return report

    report: Report = {"load_before": os.getloadavg()[0], "one_process_two_threads": finish(start(2))}
    pair = [finish(process) for process in [start(1), start(1)]]
    report["two_processes_one_thread"] = {k: round(pair[0][k] + pair[1][k], 1) for k in pair[0]}
    return report


def run(folder: Path, data: Path, judges: Path, scale: Scale, only: Sequence[str]) -> Report:
    """The named measurements, or all, each logged to stderr when done."""
    gray, labels = load_split(data, "test")
    trained = load_judges(data, judges, scale.judge_epochs)
    bench = Bench(
        pipeline=load_pipeline(folder),
        black=trained["black"],
        scene=trained["scene"],
        group=trained["group"],
        test_images=(torch.from_numpy(gray) * 2 - 1)[:, None].expand(-1, 3, -1, -1).contiguous(),
        test_labels=torch.from_numpy(labels),
        scale=scale,
    )
    measurements: dict[str, Callable[[], Report]] = {
        "judges": lambda: measure_judges(bench, data),
        "guidance": lambda: measure_guidance(bench),
        "templates": lambda: measure_templates(bench),
        "wording": lambda: measure_wording(bench),
        "scenes": lambda: measure_scenes(bench),
        "students": lambda: measure_students(bench, data),
        "speed": lambda: measure_speed(folder),
    }
    if unknown := set(only) - set(measurements):
        raise SystemExit(f"expected --only from {sorted(measurements)}, found {sorted(unknown)}")
    report: Report = {}
    for name, measurement in measurements.items():
        if only and name not in only:
            continue
        started = time.perf_counter()
        report[name] = measurement()
        seconds = time.perf_counter() - started
        print(f"{name} ({seconds:.0f} s): {json.dumps(report[name])}", file=sys.stderr, flush=True)
    return report


def describe_machine(folder: Path) -> Report:
    """Where the figures come from."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "folder_bytes": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
    }


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--judges", type=Path, default=Path("build/fashion-judges"), help="kept judges")
    parser.add_argument("--quick", action="store_true", help="one seed, few pictures, short judges")
    parser.add_argument("--only", nargs="*", default=[], help="only these measurements, such as guidance speed")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--speed-threads", type=int, help="only time the samplers with this many threads")
    options = parser.parse_args(arguments)
    if options.speed_threads:
        print(json.dumps(time_samplers(options.model, options.speed_threads)))
        return
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    report = run(options.model, options.data, options.judges, QUICK if options.quick else FULL, options.only)
    report["machine"] = describe_machine(options.model)
    print(json.dumps(report) if options.json else json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
