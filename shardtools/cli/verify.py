"""`shardtools verify`: check a dataset, repair it, or generate rows anew."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.options import options_of
from shardtools.options import default_of
from shardtools.verify import RegenerateOptions, RepairOptions, VerifyOptions
from shardtools.words import counted, size

LINES_PER_KIND = 20
"""Problems of one kind that are printed; `--json` prints all."""

EPILOG = """\b
Examples:
  shardtools verify fashion-sd
  shardtools verify s3://bucket/in100-sd --sample 1000
  shardtools verify fashion-sd --repair
  shardtools verify fashion-sd --regenerate 8

\b
Exit codes: 0 sound (with --regenerate: all bit-exact), 1 problems or a known error, 2 wrong usage.
"""


@click.command("verify", epilog=EPILOG)
@click.argument("dataset")
@options_of(VerifyOptions, only=("sample",))
@click.option("--repair", is_flag=True, help="Make the bad shards of a generated dataset again, and nothing else.")
@options_of(RegenerateOptions, only=("count",), changes={"count": {"required": False}})
@options_of(VerifyOptions, only=("seed",))
@options_of(RepairOptions, only=("model", "device"))
@options_of(VerifyOptions, only=("num_workers",))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with every problem.")
def command(
    dataset: str,
    sample: int | None,
    repair: bool,
    count: int | None,
    seed: int,
    model: str | None,
    device: str,
    num_workers: int | None,
    as_json: bool,
) -> int:
    """Check digests, tar structure, rows and images of a dataset.

    Every byte of every shard is read, every image decoded. With --repair the bad shards of a generated dataset are made
    again from what the dataset records.
    """
    if sum(map(bool, (sample is not None, repair, count is not None))) > 1:
        raise click.UsageError("--sample, --repair and --regenerate are three different jobs: give one of them")
    if (model is not None or device != default_of(RepairOptions, "device")) and not repair and count is None:
        raise click.UsageError("--model and --device go with --repair or --regenerate")
    from shardtools import verify as library
    from shardtools.cli.progress import RunProgress

    if count is not None:
        wanted = RegenerateOptions(count=count, seed=seed, model=model, device=device)
        with RunProgress(noun="images", doing="generating images anew") as progress:
            images = library.regenerate(dataset, wanted, progress=progress)
        click.echo(json.dumps(_regenerate_facts(images)) if as_json else "\n".join(_regenerate_lines(images)))
        return int(images.num_bit_exact < len(images.images))
    if repair:
        with RunProgress(noun="shards", doing="checking shards") as progress:
            done = library.repair(
                dataset,
                RepairOptions(model=model, device=device, num_workers=num_workers),
                progress=progress,
            )
        click.echo(json.dumps(_repair_facts(done)) if as_json else "\n".join(_repair_lines(done)))
        return int(not done.report.sound)
    with RunProgress(noun="images" if sample else "shards", doing="checking shards") as progress:
        report = library.verify(
            dataset, VerifyOptions(sample=sample, seed=seed, num_workers=num_workers), progress=progress
        )
    click.echo(json.dumps(_report_facts(report)) if as_json else "\n".join(_report_lines(report)))
    return int(not report.sound)


def _report_facts(report: Any) -> dict[str, Any]:
    return {**asdict(report), "sound": report.sound}


def _repair_facts(done: Any) -> dict[str, Any]:
    return {
        "repaired": [asdict(one) for one in done.repaired],
        "committed": done.committed,
        **_report_facts(done.report),
    }


def _regenerate_facts(images: Any) -> dict[str, Any]:
    """JSON has no infinity: a PSNR of equal pixels is null, beside a pixel difference of 0."""
    return {
        "url": images.url,
        "seed": images.seed,
        "device": images.device,
        "num_images": len(images.images),
        "num_bit_exact": images.num_bit_exact,
        "num_failed": images.num_failed,
        "largest_pixel_difference": images.largest_pixel_difference,
        "min_psnr": _finite(images.min_psnr),
        "mean_psnr": _finite(images.mean_psnr),
        "images": [asdict(image) | {"psnr": _finite(image.psnr)} for image in images.images],
    }


def _finite(decibels: float | None) -> float | None:
    return decibels if decibels is not None and math.isfinite(decibels) else None


def _report_lines(report: Any) -> list[str]:
    """What was looked at, then the problems by kind, then the verdict."""
    if report.sample is not None:
        looked = f"{counted(report.num_images, 'random image')} (seed {report.seed})"
        looked += f" and {counted(report.num_parts, 'manifest part')}"
    else:
        looked = (
            f"{counted(report.num_rows, 'row')}, {counted(report.num_images, 'image')}, "
            f"{counted(report.num_shards, 'shard')}"
        )
    state = "committed" if report.finished else "not finished"
    lines = [f"{report.url}: {report.kind}, {state}: checked {looked}, {size(report.num_bytes)}"]
    counts = Counter(problem.kind for problem in report.problems)
    printed: Counter[str] = Counter()
    for problem in report.problems:
        printed[problem.kind] += 1
        if printed[problem.kind] <= LINES_PER_KIND:
            lines.append(f"{problem.kind}: {problem.message}")
        elif printed[problem.kind] == counts[problem.kind]:
            lines.append(f"{problem.kind}: and {counts[problem.kind] - LINES_PER_KIND} more (--json prints all)")
    if report.sound:
        return [*lines, "sound"]
    parts = len({problem.part for problem in report.problems if problem.part})
    where = f" in {counted(parts, 'shard')}" if parts else ""
    return [*lines, counted(len(report.problems), "problem") + where]


def _repair_lines(done: Any) -> list[str]:
    lines = []
    for one in done.repaired:
        verdict = {
            True: "byte for byte as before",
            False: "made again, but differs (other hardware or library versions): part and dataset.json are rewritten",
            None: "no digest of it was left to compare with",
        }[one.identical]
        lines.append(f"{', '.join(one.files)}: {one.how}: {verdict}")
    lines.append(
        f"{counted(len(done.repaired), 'shard')} repaired" + (", dataset.json written anew" if done.committed else "")
    )
    return [*lines, *_report_lines(done.report)]


def _regenerate_lines(images: Any) -> list[str]:
    total = len(images.images)
    lines = [
        f"{images.url}: {counted(total, 'random image')} (seed {images.seed}) generated anew on {images.device}",
        f"bit-exact: {images.num_bit_exact} of {total}",
        f"largest pixel difference: {images.largest_pixel_difference} of 255",
        f"PSNR: min {_decibels(images.min_psnr)}, mean over those that differ {_decibels(images.mean_psnr)}",
    ]
    if images.num_failed:
        lines.append(f"came out without an image this time: {images.num_failed}")
    differing = [image for image in images.images if not image.bit_exact]
    for image in differing[:LINES_PER_KIND]:
        what = f"largest difference {image.largest_pixel_difference}, PSNR {_decibels(image.psnr)}"
        lines.append(f"differs: {image.key} of {image.shard}: {what if image.psnr is not None else image.status}")
    if len(differing) > LINES_PER_KIND:
        lines.append(f"differs: and {len(differing) - LINES_PER_KIND} more (--json prints all)")
    return lines


def _decibels(value: float) -> str:
    return f"{value:.2f} dB" if math.isfinite(value) else "inf (equal pixels)"
