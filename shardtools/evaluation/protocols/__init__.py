"""Published protocols: which models they judge, and how they prepare images."""

from __future__ import annotations

from shardtools.evaluation.protocols.protocol import Protocol, ProtocolModel, ProtocolStep
from shardtools.evaluation.protocols.seed001 import SEED001

PROTOCOLS: dict[str, Protocol] = {"seed001": SEED001}
"""As it is typed -> the protocol."""

__all__ = [
    "PROTOCOLS",
    "SEED001",
    "Protocol",
    "ProtocolModel",
    "ProtocolStep",
]
