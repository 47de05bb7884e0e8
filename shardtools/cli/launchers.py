"""Whether another program started this process as one of many ranks."""

from __future__ import annotations

import os


def is_one_of_many() -> bool:
    """Whether torchrun, accelerate or Slurm started this process as a rank."""
    return "RANK" in os.environ or ("SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1)
