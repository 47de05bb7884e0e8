"""Images made worse in known ways: nineteen corruptions (ImageNet-C), fourteen sequences of frames (ImageNet-P).

Pixels, a severity and the sample's seed make pixels, whatever the batch, the threads and the processor. The work is
done by the native core (`shardtools/_native/corruption`).
"""

from typing import TYPE_CHECKING

from shardtools.corruption.options import CORRUPTION_SETS, IMAGENET_C, SEQUENCE_SETS, CorruptOptions
from shardtools.corruption.perturbations import LEVELS, PERTURBATIONS, Perturbation
from shardtools.corruption.registry import CORRUPTION_VERSION, CORRUPTIONS, SEVERITIES, Corruption
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.corruption.native import corrupt
    from shardtools.corruption.seeds import sample_seed
    from shardtools.corruption.sequences import perturb
    from shardtools.corruption.source import CorruptedSource, open_corrupted
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CORRUPTIONS",
    "CORRUPTION_SETS",
    "CORRUPTION_VERSION",
    "IMAGENET_C",
    "LEVELS",
    "PERTURBATIONS",
    "SEQUENCE_SETS",
    "SEVERITIES",
    "CorruptOptions",
    "CorruptedSource",
    "Corruption",
    "Perturbation",
    "corrupt",
    "open_corrupted",
    "perturb",
    "sample_seed",
]
