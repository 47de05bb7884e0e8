"""Pictures of meshes a second and a core, beside pyvista and pyrender, and what a process takes.

    shardtools meshes sweethome3d --out /tmp/meshes
    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install pyvista==0.49.1 pyrender==0.1.45 pillow
    python -m benchmarks.render --meshes /tmp/meshes --peers-python /tmp/peers/bin/python --json

Hardware: one core, no GPU (llvmpipe); Debian's furniture. Time: about two minutes, `--images 5000` one. Expected: at
least 20 images per CPU second, shadow and JPEG (quality 95, 4:4:4) included, as the median over 20 objects, under 400
MiB. The last line is one JSON object.

Every picture has another pose, size, position and hue, so nothing is reused from picture to picture ("all"); `single`
varies one factor at a time, which is what grids do. Peers run in processes of their own, in turns object by object, on
the same prepared meshes at the same size and supersampling; they draw neither shadow nor photograph, and their files
are not encoded. Times are CPU times, medians over the rounds, then over the objects. Each side says how many of its
pictures differ: a renderer that returns the frame of before is fast.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.peer_process import Ask, peer_process
from shardtools.rendering import FactorValues, Mesh, Renderer, SceneOptions, read_mesh

SIDE = 224
BARS = {"images_per_cpu_second": 20.0, "peak_mib": 400.0}
PEERS = ("pyvista", "pyrender")
NEEDS = "pyvista 0.49.1, pyrender 0.1.45 and pillow"

Values = tuple[float, float, float, float | None]
"""Pose, size, position, hue."""


def chosen(meshes: Path, count: int) -> list[Path]:
    """Prepared meshes, the first of each class in order, then the second of each, ..."""
    classes = [sorted(folder.glob("*.mesh")) for folder in sorted(meshes.iterdir()) if folder.is_dir()]
    files = [files[number] for number in range(count) for files in classes if number < len(files)]
    if len(files) < count:
        sys.exit(f"render: {meshes} holds {len(files)} meshes, expected at least {count}")
    return files[:count]


def drawn_values(count: int, seed: int) -> list[Values]:
    """Pose, size, position, hue."""
    rng = np.random.default_rng([224, seed])
    return [
        (rng.uniform(-180, 180), rng.uniform(0.5, 1.2), rng.uniform(-0.38, 0.38), rng.random()) for _ in range(count)
    ]


def single_values(count: int) -> list[Values]:
    """One factor after the other, as a grid has them: a quarter each of poses, sizes, positions, hues."""
    steps = np.linspace(0, 1, count // 4, endpoint=False)
    return [
        *((360 * step - 180, 1.0, 0.0, None) for step in steps),
        *((0.0, 0.2 + step, 0.0, None) for step in steps),
        *((0.0, 1.0, 0.76 * step - 0.38, None) for step in steps),
        *((0.0, 1.0, 0.0, step) for step in steps),
    ]


def photos() -> list[np.ndarray]:
    """Ten grainy backgrounds, uint8 [224, 224, 3]: as large as photographs are when encoded."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:SIDE, :SIDE]
    waves = [128 + 60 * np.sin(x * a + y * b) for a, b in rng.uniform(0.01, 0.09, (10, 2))]
    grains = rng.normal(0, 8, (10, SIDE, SIDE, 3))
    return [
        np.clip(wave[..., None] + grain, 0, 255).astype(np.uint8) for wave, grain in zip(waves, grains, strict=True)
    ]


def our_pictures(renderer: Renderer, mesh: Mesh, values: Sequence[Values], behind: list[np.ndarray]) -> dict[str, Any]:
    """CPU seconds of a picture and of its file, and how many pictures differ."""
    begun = time.process_time()
    renderer.render(mesh, FactorValues(pose=1.0, size=1.0, position=0.0, hue=None, background=""), behind[0])
    loading, drawing, encoding, digests = time.process_time() - begun, 0.0, 0.0, set()
    for number, (pose, size, position, hue) in enumerate(values):
        asked = FactorValues(pose=pose, size=size, position=position, hue=hue, background="")
        begun = time.process_time()
        picture = renderer.render(mesh, asked, behind[number % len(behind)])
        drawing += time.process_time() - begun
        begun = time.process_time()
        Image.fromarray(picture).save(io.BytesIO(), "jpeg", quality=95, subsampling=0)
        encoding += time.process_time() - begun
        digests.add(hashlib.sha256(picture.tobytes()).hexdigest())
    count = len(values)
    return {
        "seconds": drawing / count,
        "encoding": encoding / count,
        "loading": loading,
        "different": len(digests),
    }


def measure(files: list[Path], peers: dict[str, Ask], rounds: int, images: int) -> dict[str, Any]:
    """Seconds a picture by side and object, in turns."""
    table: dict[str, dict[str, list[dict[str, Any]]]] = {}
    behind = photos()
    with Renderer(SceneOptions(image_size=SIDE)) as renderer:
        report: dict[str, Any] = {"renderer": renderer.description}
        for number in range(rounds):
            for path in files:
                mesh = read_mesh(path.read_bytes(), str(path))
                values = drawn_values(images, number)
                name = f"{path.parent.name}/{path.stem}"
                rows = {"shardtools": our_pictures(renderer, mesh, values, behind)}
                rows["single"] = our_pictures(renderer, mesh, single_values(images), behind)
                for other, ask in peers.items():
                    asked = [(pose, size, hue) for pose, size, _, hue in values]
                    rows[other] = ask({"mesh": str(path), "values": asked})
                for side, row in rows.items():
                    table.setdefault(side, {}).setdefault(name, []).append(row)
    return report | {"sides": {side: of_side(objects, images) for side, objects in table.items()}}


def of_side(objects: dict[str, list[dict[str, Any]]], images: int) -> dict[str, Any]:
    """Medians over rounds, then over objects."""

    def median(field: str) -> dict[str, float]:
        return {name: statistics.median(row[field] for row in rows) for name, rows in objects.items()}

    seconds, loading = median("seconds"), median("loading")
    found: dict[str, Any] = {
        "images_per_cpu_second_drawing": round(1 / statistics.median(seconds.values()), 1),
        "loading_ms": round(1000 * statistics.median(loading.values()), 1),
        "share_of_pictures_that_differ": min(row["different"] for rows in objects.values() for row in rows) / images,
        "slowest": round(1 / max(seconds.values()), 1),
    }
    if all("encoding" in row for rows in objects.values() for row in rows):
        encoding = median("encoding")
        with_file = statistics.median(seconds[name] + encoding[name] for name in seconds)
        found["images_per_cpu_second"] = round(1 / with_file, 1)
    return found


def memory(files: list[Path], images: int) -> dict[str, Any]:
    """Resident memory while pictures are made, MiB; objects change every 50 pictures."""
    behind, marks = photos(), []
    values = drawn_values(images, 1)
    with Renderer(SceneOptions(image_size=SIDE)) as renderer:
        for start in range(0, images, 50):
            path = files[start // 50 % len(files)]
            our_pictures(renderer, read_mesh(path.read_bytes(), str(path)), values[start : start + 50], behind)
            if start % 500 == 0:
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                marks.append(round(pages * resource.getpagesize() / 2**20))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images": images, "resident_mib": marks, "peak_mib": round(peak)}


def main() -> None:
    """Parses the options and prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--meshes", type=Path, required=True, help="a catalogue made by `shardtools meshes`")
    parser.add_argument("--peers-python", help="an interpreter that has the peers")
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=12, help="of an object in a round")
    parser.add_argument("--images", type=int, help="measure memory over so many images, and nothing else")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object")
    given = parser.parse_args()
    files = chosen(given.meshes, given.objects)
    report: dict[str, Any] = {"machine": platform.processor() or platform.machine()}
    if given.images:
        report["memory"] = memory(files, given.images)
        report["met"] = report["memory"]["peak_mib"] <= BARS["peak_mib"]
    else:
        with ExitStack() as stack:
            names = PEERS if given.peers_python else ()
            peers = {
                name: stack.enter_context(peer_process(given.peers_python, "render_peer.py", name, needs=NEEDS))
                for name in names
            }
            report |= measure(files, peers, given.rounds, given.pictures)
        sides = report["sides"]
        drawing = "images_per_cpu_second_drawing"
        report["ratio"] = {name: round(sides["shardtools"][drawing] / sides[name][drawing], 2) for name in peers}
        report["met"] = sides["shardtools"]["images_per_cpu_second"] >= BARS["images_per_cpu_second"]
    print(json.dumps(report) if given.json else json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
