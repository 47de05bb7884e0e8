"""WordNet's graph and the funnel, put together once."""

from __future__ import annotations

import pytest

from shardtools.evaluation.cog import Funnel, Hierarchy, eligible_concepts


@pytest.fixture(scope="session")
def cog_funnel() -> Funnel:
    return eligible_concepts()


@pytest.fixture(scope="session")
def cog_graph(cog_funnel: Funnel) -> Hierarchy:
    return cog_funnel.hierarchy
