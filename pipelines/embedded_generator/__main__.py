"""`python -m shardtools.pipelines.embedded_generator`: the block of `job.py` that runs it."""

from __future__ import annotations

from shardtools.pipelines.embedded_generator.job import main

if __name__ == "__main__":
    main()
