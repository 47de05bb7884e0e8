"""Generates batches on request: the process behind `shardtools verify --repair` and `--regenerate`.

    shardtools verify DATASET --regenerate 8         (starts the process itself)

Hardware: that of the dataset, or the images differ in their last bits. Metric: bit-exact images (docs/verify.md).

Owns no state beside the loaded pipeline: a pickled `RegeneratorSetup` and then `RegeneratorRequest`s come in on
standard input, a list of samples or an error goes out for each. The price of one batch at a time: decoding does not
overlap denoising.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import Any

from shardtools.errors import RunError, ShardtoolsError
from shardtools.execution import die_with_parent, failure
from shardtools.sample import Sample
from shardtools.verify import RegeneratorRequest, RegeneratorSetup


class Answerer:
    """A loaded pipeline that makes samples of rows."""

    def __init__(self, setup: RegeneratorSetup) -> None:
        from shardtools.pipelines.generate.engine import Engine
        from shardtools.pipelines.generate.finishing import common_provenance
        from shardtools.pipelines.ranks import join_world

        world = join_world(setup.settings.device, setup.settings.threads_per_process)
        self._settings = setup.settings
        self._engine = Engine(setup.model_path, setup.settings, world.device)
        self._provenance = common_provenance(
            setup.settings,
            prompt_template=setup.prompt_template,
            plan_id=setup.plan_id,
            model_id=setup.model_id,
            device=world.device,
        )

    def samples(self, request: RegeneratorRequest) -> list[Sample]:
        """The samples of one batch, made as `generate` makes them."""
        from shardtools.pipelines.generate.finishing import make_sample
        from shardtools.pipelines.generate.job import denoise_batch

        decoded = self._engine.decode(denoise_batch(self._engine, request.rows, self._settings.batch_size))
        return [
            make_sample(
                row,
                image,
                finite=bool(finite),
                nsfw=nsfw,
                generator=self._settings,
                provenance=self._provenance,
                attempt=request.attempt,
            )
            for row, image, finite, nsfw in zip(request.rows, decoded.images, decoded.finite, decoded.nsfw, strict=True)
        ]


def worker_main(parent_pid: int) -> None:
    """Answers requests until standard input ends.

    Args:
        parent_pid: The process that asks; this one does not outlive it.
    """
    die_with_parent(parent_pid)
    channel = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not mix with the answers.
    os.dup2(2, 1)
    setup: RegeneratorSetup = pickle.load(sys.stdin.buffer)
    answerer: Answerer | None = None
    while True:
        try:
            request: RegeneratorRequest = pickle.load(sys.stdin.buffer)
        except EOFError:
            os._exit(0)
        answer: Any
        try:
            # With the first request: what goes wrong while the model is loaded is then an answer like any other.
            answerer = answerer or Answerer(setup)
            answer = answerer.samples(request)
        except ShardtoolsError as error:
            answer = error
        except Exception as error:
            traceback.print_exc()
            line = failure(error).text
            answer = RunError(f"generating failed: {line}: mend the cause and run it again")
        pickle.dump(answer, channel)
        channel.flush()


if __name__ == "__main__":
    worker_main(int(sys.argv[1]))
