"""Generation against the plain diffusers loop, same model, same settings, same prompts and seeds, in one run.

    python benchmarks/generate.py --json

Peers, each in a process of its own, interleaved, medians over the rounds: shardtools gen-sd with one process a core:
shards, manifest, digests and checks included loop the loop of diffusers' documentation: one prompt a call, the
picture saved as JPEG batched_loop the same with a list of prompts a call, as many as shardtools denoises together
Seconds count from the loaded model to the last file. The last line is one JSON object: images_per_second, ratio
(shardtools over each peer), and outside_share: the share of shardtools' wall time outside the denoiser and the
decoder.
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
import time
from pathlib import Path
from typing import Any

from shardtools.execution import read_events
from shardtools.generation import GenerateOptions, Prepared, generate, prepare
from shardtools.storage import open_storage


def plain_loop(prepared: Prepared, folder: Path, batch_size: int) -> dict[str, float]:
    """The documentation's loop in this process, with torch's own number of threads."""
    import torch
    from diffusers import DiffusionPipeline

    settings = prepared.plan.options.generator
    pipe = DiffusionPipeline.from_pretrained(
        prepared.model.path, dtype=getattr(torch, settings.dtype), local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    pipe = pipe.to(settings.device)
    rows = [row for index in range(prepared.plan.num_shards) for row in prepared.plan.shard_rows(index)]
    started = time.perf_counter()
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        images = pipe(
            [row.prompt for row in batch],
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(row.seed) for row in batch],
        ).images
        for row, image in zip(batch, images, strict=True):
            image.save(folder / f"{row.key}.jpg", quality=settings.quality)
    return {"images": len(rows), "seconds": time.perf_counter() - started}


def ours(options: GenerateOptions) -> dict[str, float]:
    """One gen-sd run; seconds and shares from its event log."""
    generate(options)
    ends = [event for event in read_events(open_storage(options.out)) if event["event"] == "end"]
    wall = sum(end["seconds"] for end in ends)
    inside = sum(end["denoiser_seconds"] + end["vae_seconds"] for end in ends)
    return {
        "images": sum(end["images"] for end in ends),
        "seconds": max(end["seconds"] for end in ends),
        "outside_share": 1 - inside / wall,
    }


def run_peer(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """One measurement of one peer, in this process."""
    with tempfile.TemporaryDirectory(prefix="shardtools-benchmark-") as folder:
        options = GenerateOptions(
            out=str(Path(folder) / "dataset"),
            model=arguments.model,
            classes=arguments.classes,
            images_per_class=arguments.images_per_class,
            num_inference_steps=arguments.num_inference_steps,
            guidance_scale=arguments.guidance_scale,
            batch_size=arguments.batch_size,
            dtype=arguments.dtype,
        )
        if name == "shardtools":
            return ours(options)
        return plain_loop(prepare(options), Path(folder), 1 if name == "loop" else arguments.batch_size)


PEERS = ("shardtools", "loop", "batched_loop")


def main() -> None:
    """Runs all peers in turn and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fashion-sd")
    parser.add_argument("--classes", default="fashion")
    parser.add_argument("--images-per-class", type=int, default=20)
    parser.add_argument("--num-inference-steps", type=int, default=50)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--peer", choices=PEERS, help="measure one peer once, in this process")
    arguments = parser.parse_args()
    if arguments.peer:
        print(json.dumps(run_peer(arguments.peer, arguments)))
        return
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in PEERS}
    for number in range(arguments.rounds):
        for name in PEERS:
            done = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--peer", name], stdout=subprocess.PIPE, text=True, check=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            results[name].append(found)
            if not arguments.json:
                print(f"round {number + 1} {name}: {found['images'] / found['seconds']:.2f} images/s", flush=True)
    speeds = {name: statistics.median(one["images"] / one["seconds"] for one in runs) for name, runs in results.items()}
    summary = {
        "images_per_second": {name: round(speed, 2) for name, speed in speeds.items()},
        "ratio": {name: round(speeds["shardtools"] / speeds[name], 2) for name in PEERS[1:]},
        "outside_share": round(statistics.median(one["outside_share"] for one in results["shardtools"]), 4),
        "settings": {name: value for name, value in vars(arguments).items() if name not in ("json", "peer")},
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
        },
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
