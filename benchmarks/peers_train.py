"""One contender of `benchmarks/train.py`, once, in this process: the last line says how fast it trained.

    python benchmarks/peers_train.py ours --data /tmp/train-data --steps 120

`ours` is the training of `shardtools train`, from its options to its loop. `synthetic` is the same with one batch of
the data over and over, on the device and decoded once: what training would be if data cost nothing. `torchvision` is
the plain script: ImageFolder, DataLoader, the same network and optimiser. `heads` times cosine softmax and Online Class
Means in turns, on the same batch: a whole step, and its parts.

What is measured has the first `WARM_UP` steps left out, in which libraries plan, compile and fill caches.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.process_tree import MemoryPeak

WARM_UP = 10
Report = dict[str, Any]


def recipe(arguments: argparse.Namespace) -> Any:
    """A small network on a CPU, ResNet-50 at 224 pixels in bfloat16 on a GPU; one crop, a linear head."""
    from shardtools.training import Recipe

    return Recipe(
        name="benchmark",
        encoder=arguments.encoder,
        augmentation="plain",
        image_size=arguments.size,
        eval_resize=arguments.size,
        epochs=10_000,
        warmup_epochs=1.0,
        batch_size=arguments.batch_size,
        precision=arguments.precision,
        sync_batch_norm=False,
    )


def _device(arguments: argparse.Namespace) -> Any:
    import torch

    torch.set_num_threads(arguments.compute_threads)
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda", 0) if arguments.device == "cuda" else torch.device("cpu")


def _wait(device: Any) -> None:
    """Until the device has done what it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Fed:
    """In the place of a run's batches: hands them out, or the first one for ever, and ends the run in time."""

    def __init__(self, batches: Any, stop: threading.Event, num_steps: int, *, is_synthetic: bool) -> None:
        self._batches, self._stop, self._left, self._is_synthetic = batches, stop, num_steps, is_synthetic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)

    @property
    def is_epoch_over(self) -> bool:
        """Never of one batch for ever."""
        return not self._is_synthetic and bool(self._batches.is_epoch_over)

    def epoch(self, epoch: int) -> Iterator[Any]:
        """As of the batches; the run ends after the last step that is asked for, or after the epoch it is in."""
        for batch in self._repeated() if self._is_synthetic else self._batches.epoch(epoch):
            self._left -= 1
            if self._left <= 0:
                self._stop.set()
            yield batch

    def _repeated(self) -> Iterator[Any]:
        epoch = self._batches.epoch(0)
        batch = next(epoch)
        # The loader's threads end: nothing is decoded beside the steps.
        epoch.close()
        while True:
            yield batch


def ours(arguments: argparse.Namespace) -> Report:
    """The engine on the dataset."""
    return _engine(arguments, is_synthetic=False)


def synthetic(arguments: argparse.Namespace) -> Report:
    """The engine on one batch."""
    return _engine(arguments, is_synthetic=True)


def _engine(arguments: argparse.Namespace, *, is_synthetic: bool) -> Report:
    from shardtools.pipelines.train.run import Run
    from shardtools.training import TrainOptions, read_metrics
    from shardtools.training.data import Share

    device, stop = _device(arguments), threading.Event()
    with tempfile.TemporaryDirectory() as out:
        options = TrainOptions(
            datasets=(str(arguments.data / "tar"),),
            out=out,
            recipe=recipe(arguments),
            decoder=arguments.decoder,
            channels_last=True,
            log_steps=WARM_UP,
            tensorboard=False,
        )

        def hear(_message: Report) -> None:
            pass

        run = Run(options, Share(threads=arguments.threads), device, hear, stop)
        parts: Any = run._trainer.parts
        parts.batches = _Fed(parts.batches, stop, arguments.steps, is_synthetic=is_synthetic)
        run.train()
        run.close()
        metrics = read_metrics(out)["step"]
    kept = [number for number, step in enumerate(metrics["step"]) if step > WARM_UP and step % WARM_UP == 0]
    speeds, waits = ([float(metrics[name][n]) for n in kept] for name in ("images_per_second", "data_wait"))
    return {"images_per_second": speeds, "data_wait": waits}


def torchvision(arguments: argparse.Namespace) -> Report:
    """What people write first."""
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from shardtools.pipelines.train.models import build_classifier, parameter_groups

    device, wanted = _device(arguments), recipe(arguments)
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(wanted.image_size, scale=(wanted.scale, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(wanted.mean, wanted.std),
        ]
    )
    dataset = ImageFolder(str(arguments.data / "files"), transform)
    workers = {"num_workers": arguments.threads, "persistent_workers": True, "pin_memory": device.type == "cuda"}
    loader = DataLoader(dataset, batch_size=wanted.batch_size, shuffle=True, drop_last=True, **workers)
    model = build_classifier(wanted, len(dataset.classes), seed=0).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(parameter_groups(model, wanted.weight_decay), lr=0.1, momentum=wanted.momentum)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=wanted.precision == "bf16")

    def steps() -> Iterator[int]:
        while True:
            for images, labels in loader:
                images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
                with autocast:
                    logits = model(images)
                functional.cross_entropy(logits.float(), labels.to(device, non_blocking=True)).backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                yield len(labels)

    speeds, images, since = [], 0, time.perf_counter()
    for number, count in enumerate(steps(), 1):
        images += count
        if number % WARM_UP == 0:
            _wait(device)
            now = time.perf_counter()
            speeds.append(images / (now - since))
            images, since = 0, now
        if number > arguments.steps:
            break
    return {"images_per_second": speeds[1:]}


def heads(arguments: argparse.Namespace) -> Report:
    """Milliseconds of a step with each head and of its parts, one after the other, again and again."""
    import torch
    from torch.nn import functional

    from shardtools.pipelines.train.models import build_classifier, parameter_groups
    from shardtools.training.classes import read_names

    device, base = _device(arguments), recipe(arguments)
    shapes = {"projector_layers": 1, "projector_hidden": arguments.hidden, "projector_bottleneck": 256}
    num_classes = len(read_names(str(arguments.data / "tar")))
    images = torch.randn(base.batch_size, 3, base.image_size, base.image_size, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.arange(base.batch_size, device=device) % num_classes
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=base.precision == "bf16")
    models, optimizers = {}, {}
    for name in ("cosine", "ocm"):
        model = build_classifier(replace(base, head=name, **shapes), num_classes, seed=0)
        models[name] = model.to(device, memory_format=torch.channels_last)
        optimizers[name] = torch.optim.SGD(parameter_groups(model, 1e-4), lr=0.01, momentum=0.9)
    memory: Any = models["ocm"].head
    # As the projector gives them, with a gradient to make for them.
    embeddings = torch.randn(base.batch_size, 256, device=device, requires_grad=True)

    def step(name: str) -> None:
        with autocast:
            logits = models[name](images)
        functional.cross_entropy(logits.float(), labels).backward()
        if name == "ocm":
            with autocast:
                memory.update(models["ocm"], images, labels)
        optimizers[name].step()
        optimizers[name].zero_grad(set_to_none=True)

    def head(name: str) -> None:
        functional.cross_entropy(models[name].head(embeddings), labels).backward()
        if name == "ocm":
            memory.write(embeddings.detach(), labels)

    def average() -> None:
        with torch.no_grad(), autocast:
            memory.average(images)

    parts: dict[str, Callable[[], None]] = {
        "step_cosine": lambda: step("cosine"),
        "step_ocm": lambda: step("ocm"),
        "head_cosine": lambda: head("cosine"),
        "head_ocm": lambda: head("ocm"),
        "averaged_forward": average,
        "averaging": lambda: memory.update_average(models["ocm"].encoder, models["ocm"].projector),
    }
    return {"milliseconds": _in_turns(parts, arguments.steps // 4, device)}


def _in_turns(parts: dict[str, Callable[[], None]], num_rounds: int, device: Any) -> dict[str, float]:
    """Median milliseconds of each, the first two rounds left out."""
    found: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(2 + num_rounds):
        for name, part in parts.items():
            _wait(device)
            begun = time.perf_counter()
            part()
            _wait(device)
            if number >= 2:
                found[name].append(1e3 * (time.perf_counter() - begun))
    return {name: statistics.median(times) for name, times in found.items()}


CONTENDERS: dict[str, Callable[[argparse.Namespace], Report]] = {
    "ours": ours,
    "synthetic": synthetic,
    "torchvision": torchvision,
    "heads": heads,
}
"""Name -> measures it."""


def fill(arguments: argparse.Namespace) -> None:
    """What was not asked for: of a small study on a CPU, of ImageNet on a GPU."""
    import torch

    is_gpu = torch.cuda.is_available() and arguments.device != "cpu"
    cores = len(os.sched_getaffinity(0))
    standard: Report = {
        "device": "cuda" if is_gpu else "cpu",
        "encoder": "resnet50" if is_gpu else "resnet-micro",
        "size": 224 if is_gpu else 64,
        "batch_size": 256 if is_gpu else 64,
        "precision": "bf16" if is_gpu else "fp32",
        "threads": cores,
        "compute_threads": 1 if is_gpu else cores,
        "hidden": 2048 if is_gpu else 256,
    }
    for name, value in standard.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options that both scripts take; what is left out depends on the device (`fill`)."""
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    parser.add_argument("--decoder", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--encoder")
    parser.add_argument("--precision", choices=("fp32", "bf16"))
    for name in ("size", "batch-size", "threads", "compute-threads", "hidden"):
        parser.add_argument(f"--{name}", type=int)


def measure(words: Sequence[str]) -> Report:
    """What a command line asks for; importing libraries counts as memory and not as time."""
    parser = argparse.ArgumentParser(description="One contender of benchmarks/train.py, once.")
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--data", type=Path, required=True, help="made by benchmarks/read_data.py: files and tar")
    add_settings(parser)
    arguments = parser.parse_args(words)
    with MemoryPeak() as memory:
        fill(arguments)
        found = CONTENDERS[arguments.contender](arguments)
    import torch

    if arguments.device == "cuda":
        found["peak_gpu_mb"] = torch.cuda.max_memory_allocated() / 1e6
        found["gpu"] = torch.cuda.get_device_name()
    names = ("device", "encoder", "size", "batch_size", "precision", "threads", "compute_threads", "hidden")
    return {**found, **memory.found, "settings": {name: getattr(arguments, name) for name in names}}


def main() -> None:
    """Measures and prints."""
    # Libraries print what they like.
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)
        output.write(json.dumps(measure(sys.argv[1:])) + "\n")
        output.flush()
    sys.stdout.flush()
    # Workers of a DataLoader need not end by themselves.
    os._exit(0)


if __name__ == "__main__":
    main()
