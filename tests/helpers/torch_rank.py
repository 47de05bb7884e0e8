"""Two processes of a distributed run, forked by one that imports torch once; they leave what they got for the test.

python -m tests.helpers.torch_rank DATASET FOLDER
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import sys
from pathlib import Path

import torch.distributed

from shardtools.pipelines.batches.torch_batches import TorchBatches
from tests.helpers.loader_datasets import options


def main(rank: int, dataset: str, folder: Path) -> None:
    # What torchrun sets for each rank.
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.distributed.init_process_group("gloo")
    batches = TorchBatches(options(dataset, last="short"))
    taken = []
    for images, labels in itertools.islice(batches, 4):
        total = images.sum(dtype=torch.int64)
        torch.distributed.all_reduce(total)
        taken.append({"images": images.numpy().tolist(), "labels": labels.tolist(), "total": int(total)})
    (folder / f"{rank}.json").write_text(json.dumps({"batches": taken, "state": batches.state_dict()}))
    batches.close()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=main, args=(rank, sys.argv[1], Path(sys.argv[2]))) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in ranks))
