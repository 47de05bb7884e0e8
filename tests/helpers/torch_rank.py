"""One process of a distributed run: leaves what it got where the test finds it.

torchrun --nproc-per-node 2 tests/helpers/torch_rank.py DATASET FOLDER
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import torch.distributed

from shardtools.pipelines.batches.torch_batches import TorchBatches
from tests.helpers.loader_datasets import options


def main(dataset: str, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
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
    main(sys.argv[1], Path(sys.argv[2]))
