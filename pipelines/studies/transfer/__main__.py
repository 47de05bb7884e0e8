"""`python -m shardtools.pipelines.studies.transfer`: the block of `study.py` that runs it."""

from __future__ import annotations

from shardtools.pipelines.studies.transfer.study import main

if __name__ == "__main__":
    main()
