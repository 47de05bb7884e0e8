"""Renders with ranks that are forks of one process: what they import is imported once, so they start at once.

python -m tests.helpers.render_ranks MESHES BACKGROUNDS OUT NUM_RANKS RENDERER
"""

from __future__ import annotations

import os
import sys
import threading

from shardtools.execution import Work, die_with_parent, ignore, work_off
from shardtools.rendering import RenderOptions, SceneOptions
from shardtools.storage import open_storage
from shardtools.writing import WriteOptions
from shardtools.writing.rendering import Catalogues
from shardtools.writing.targets import NewTarget
from shardtools.writing.tasks import make_shard

OPTIONS = RenderOptions(values=3, objects=3)
SCENE = SceneOptions(image_size=32, supersampling=1)
PER_SHARD = 3


def main(meshes: str, backgrounds: str, out: str, num_ranks: str, renderer: str) -> None:
    # The renderer's name is given: a fork of a process that has drawn cannot draw.
    source = Catalogues(meshes, backgrounds).source(OPTIONS, SCENE, renderer)
    job = NewTarget(open_storage(out), WriteOptions(source=source, out=out, samples_per_shard=PER_SHARD)).begin(
        source, "ranks"
    )
    ranks = []
    for rank in range(int(num_ranks)):
        parent = os.getpid()
        process_id = os.fork()
        if not process_id:
            die_with_parent(parent)
            work_off(Work(job=job, make_task=make_shard), rank, int(num_ranks), ignore, threading.Event())
            os._exit(0)
        ranks.append(process_id)
    for process_id in ranks:
        os.waitpid(process_id, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
