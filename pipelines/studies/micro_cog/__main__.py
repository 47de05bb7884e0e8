"""`python -m shardtools.pipelines.studies.micro_cog`: the block of `study.py` that runs it."""

from __future__ import annotations

from shardtools.pipelines.studies.micro_cog.study import main

if __name__ == "__main__":
    main()
