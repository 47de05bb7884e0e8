"""`python -m shardtools.pipelines.embedded_generator`: the block of `job.py` that runs it."""

from __future__ import annotations

import sys

from shardtools.errors import RunError
from shardtools.extras import GENERATING, require

if __name__ == "__main__":
    try:
        require("training the embedded generator", GENERATING, extra="train")
    except RunError as error:
        print(f"embedded_generator: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    from shardtools.pipelines.embedded_generator.job import main

    main()
