"""Extractions of features in processes that import torch once a test file, and can be killed."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from shardtools.execution import Failed, ignore
from shardtools.features import FeatureOptions
from shardtools.features.launch import Extraction as Launch
from shardtools.features.writer import commit_features
from tests.helpers.rank_runs import RankRun


class Extraction(RankRun):
    """A run on its way, in processes of this machine; `done` does what the launcher does after them."""

    def __init__(self, wanted: FeatureOptions, log_folder: Path, num_processes: int = 1) -> None:
        self.launch = Launch(wanted, ignore)
        self.wanted, self.storage = wanted, self.launch.storage
        super().__init__("shardtools.pipelines.features.job", self.launch.begin(), log_folder, num_processes)

    def done(self) -> Self:
        """Waits for it to end well, and commits."""
        assert self.end().of(Failed) == []
        assert commit_features(self.storage, source=self.wanted.source) is not None
        return self

    def files(self) -> dict[str, bytes]:
        """Content of all files of the features."""
        return {
            stored.path: self.storage.read(stored.path)
            for stored in self.storage.list()
            if stored.path.startswith(("part-", "plan", "features"))
        }
