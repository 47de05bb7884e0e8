"""Fewer bytes on purpose: images encoded anew, and how far they must be to be read fast enough."""

from typing import TYPE_CHECKING

from shardtools.encoding.options import DEFAULT_QUALITY, RAW_MODES, WRITE_MODES, EncodingOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.encoding.choosing import BytesChoice, TriedEncoding, plan_bytes
    from shardtools.encoding.cost import DecodeCost, fit_decode_cost
    from shardtools.encoding.encode import encode_sample, fit_size
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "DEFAULT_QUALITY",
    "RAW_MODES",
    "WRITE_MODES",
    "BytesChoice",
    "DecodeCost",
    "EncodingOptions",
    "TriedEncoding",
    "encode_sample",
    "fit_decode_cost",
    "fit_size",
    "plan_bytes",
]
