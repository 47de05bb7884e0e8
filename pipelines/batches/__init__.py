"""Batches of a loader as tensors, decoded on the CPU or on a GPU."""

from shardtools.pipelines.batches.torch_batches import TorchBatches, of_this_process, to_tensors

__all__ = [
    "TorchBatches",
    "of_this_process",
    "to_tensors",
]
