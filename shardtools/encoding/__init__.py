"""Fewer bytes on purpose: images encoded anew, and how far they must be to be read fast enough."""

from shardtools.encoding.cost import DecodeCost, fit_decode_cost
from shardtools.encoding.encode import encode_sample, fit_size
from shardtools.encoding.options import DEFAULT_QUALITY, RAW_MODES, WRITE_MODES, EncodingOptions
from shardtools.encoding.plan import BytesPlan, PlannedEncoding, plan_bytes

__all__ = [
    "DEFAULT_QUALITY",
    "RAW_MODES",
    "WRITE_MODES",
    "BytesPlan",
    "DecodeCost",
    "EncodingOptions",
    "PlannedEncoding",
    "encode_sample",
    "fit_decode_cost",
    "fit_size",
    "plan_bytes",
]
