"""Which GPU each process of a run trains on.

Owns the dealing: the n-th process of a machine takes the n-th GPU, in turn. GPUs are counted without loading torch, as
the environment or the system's device files have them; the price is that only NVIDIA's are seen.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

_VARIABLE = "CUDA_VISIBLE_DEVICES"
_DEVICE = re.compile(r"nvidia(\d+)")


def take_gpu(slot: int, environment: MutableMapping[str, str], devices: str | os.PathLike[str] = "/dev") -> None:
    """Leaves one GPU of the machine to this process and its children; none where there is none.

    Args:
        slot: 0-based number of this process on the machine.
        environment: This process's.
        devices: Folder of the system's device files.
    """
    if _VARIABLE in environment:
        # One that was taken before is the only one left: it is taken again.
        found = [one for one in environment[_VARIABLE].split(",") if one]
    else:
        names = (_DEVICE.fullmatch(one.name) for one in Path(devices).iterdir())
        found = sorted((name[1] for name in names if name is not None), key=int)
    if found:
        environment[_VARIABLE] = found[slot % len(found)]
