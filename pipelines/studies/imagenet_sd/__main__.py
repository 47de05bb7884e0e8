"""`python -m shardtools.pipelines.studies.imagenet_sd`: the block of `study.py` that runs it."""

from __future__ import annotations

from shardtools.pipelines.studies.imagenet_sd.study import main

if __name__ == "__main__":
    main()
