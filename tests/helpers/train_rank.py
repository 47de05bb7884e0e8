"""Two processes with gloo: leaves what batch norm and the memory of class means got where the test finds it.

python -m tests.helpers.train_rank FOLDER

Both are forks of one process, which imports torch once.
"""

from __future__ import annotations

import multiprocessing
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional

from shardtools.pipelines.train.models import Classifier, build_classifier
from shardtools.pipelines.train.ocm import OnlineClassMeans
from shardtools.pipelines.train.sync_batch_norm import convert_sync_batch_norm
from shardtools.training.recipe import Recipe

SPLIT = (5, 3)
"""Images of each rank: parts of a batch need not be alike."""

RECIPE = Recipe(
    name="small",
    encoder="resnet-micro",
    head="ocm",
    projector_layers=1,
    projector_hidden=16,
    projector_bottleneck=8,
    memory_size=12,
)


def norms() -> dict[str, nn.Module]:
    """Small networks with a norm of each kind, alike in all processes."""
    torch.manual_seed(0)
    return {
        "images": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 2)).double(),
        "rows": nn.Sequential(nn.Flatten(), nn.Linear(108, 6), nn.BatchNorm1d(6, momentum=None), nn.GELU()).double(),
        "plain": nn.Sequential(nn.BatchNorm2d(3, affine=False), nn.Conv2d(3, 2, 3)),
        "bfloat16": nn.Sequential(nn.BatchNorm2d(3)),
    }


def batches(step: int) -> torch.Tensor:
    """The whole batch of a step, [8, 3, 6, 6], off 0."""
    return 5 + torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(step))


def run_norm(name: str, model: nn.Module, part: slice) -> dict[str, torch.Tensor]:
    """Two steps on a part of each batch: outputs, gradients (sums over the part) and all that the model holds."""
    found = {}
    for step in range(2):
        dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
        images = batches(step).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
        own = images[part]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=name == "bfloat16"):
            output = model(own.bfloat16() if name == "bfloat16" else own)
        weights = torch.randn(8, *output.shape[1:], generator=torch.Generator().manual_seed(9))[part]
        (output * weights).sum().backward()
        assert images.grad is not None
        found |= {f"output{step}": output.detach(), f"input{step}": images.grad[part]}
    found |= {f"gradient {name}": parameter.grad for name, parameter in model.named_parameters()}
    return found | model.state_dict()


def ocm() -> tuple[Classifier, OnlineClassMeans]:
    model = build_classifier(RECIPE, 3, seed=0)
    assert isinstance(model.head, OnlineClassMeans)
    return model, model.head


def run_ocm(part: slice, *, synchronised: bool) -> dict[str, torch.Tensor]:
    """Two steps of the whole head on a part of each batch of eight."""
    model, head = ocm()
    if synchronised:
        model = convert_sync_batch_norm(model, "cpu")
    for step in range(2):
        generator = torch.Generator().manual_seed(step)
        images, labels = torch.randn(8, 3, 16, 16, generator=generator), torch.arange(8) % 3
        loss = functional.cross_entropy(model(images[part]), labels[part], reduction="sum") / len(images)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter, gradient in zip(trained, torch.autograd.grad(loss, trained), strict=True):
            if synchronised:
                dist.all_reduce(gradient)
            # By hand: importing torch's optimisers costs each run of this file seconds.
            parameter.data.sub_(0.1 * gradient)
        head.update(model, images[part], labels[part])
    return model.state_dict()


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    part = slice(0, SPLIT[0]) if rank == 0 else slice(SPLIT[0], None)
    found = {name: run_norm(name, convert_sync_batch_norm(model, "cpu"), part) for name, model in norms().items()}
    found["ocm"] = run_ocm(slice(4 * rank, 4 * rank + 4), synchronised=True)
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=main, args=(rank, Path(sys.argv[1]))) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in ranks))
