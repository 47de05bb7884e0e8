"""Published protocols: which models they judge, and how they prepare images."""

from __future__ import annotations

from shardtools.evaluation.protocols.probing import PROBE_PROTOCOLS, ProbeProtocol
from shardtools.evaluation.protocols.protocol import Protocol, ProtocolModel, ProtocolStep
from shardtools.evaluation.protocols.seed001 import SEED001
from shardtools.evaluation.protocols.seed002 import SEED002, SEED002_PAIRS, SEED002_TRAINING

PROTOCOLS: dict[str, Protocol] = {"seed001": SEED001}
"""As it is typed -> the protocol, of those that say how images are prepared."""

__all__ = [
    "PROBE_PROTOCOLS",
    "PROTOCOLS",
    "SEED001",
    "SEED002",
    "SEED002_PAIRS",
    "SEED002_TRAINING",
    "ProbeProtocol",
    "Protocol",
    "ProtocolModel",
    "ProtocolStep",
]
