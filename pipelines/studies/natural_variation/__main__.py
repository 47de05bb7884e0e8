"""`python -m shardtools.pipelines.studies.natural_variation`: the block of `study.py` that runs it."""

from __future__ import annotations

from shardtools.pipelines.studies.natural_variation.study import main

if __name__ == "__main__":
    main()
