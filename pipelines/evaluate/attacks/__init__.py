"""Attacks on classifiers: one file an attack, all with the contract of `contract.Attack`."""

from __future__ import annotations

from shardtools.pipelines.evaluate.attacks.ball import check_inside, distances, to_bytes
from shardtools.pipelines.evaluate.attacks.contract import Attack, Found, Images, Network, Victim, prepare
from shardtools.pipelines.evaluate.attacks.registry import ATTACKS

__all__ = [
    "ATTACKS",
    "Attack",
    "Found",
    "Images",
    "Network",
    "Victim",
    "check_inside",
    "distances",
    "prepare",
    "to_bytes",
]
