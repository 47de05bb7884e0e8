"""What a .gltf or .glb file announces, before anything of it is unpacked.

Owns the limits: a file of a few hundred bytes may announce a billion vertices, one mesh a million times, or nodes in a
circle, and a reader that believes it never comes back.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from shardtools.errors import SourceError
from shardtools.rendering.meshes.outside import MAX_BYTES
from shardtools.rendering.meshes.shaping import MAX_TRIANGLES

_MAX_VALUES = 20 * MAX_TRIANGLES
_MAX_NODES = 100_000
_VALUES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
# What is needed to see the triangles, and is not read; materials and lights may be left out.
_NOT_READ = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_mesh_quantization")


def check_gltf(name: str, content: bytes) -> None:
    """Refuses a file that announces more than is read.

    Raises:
        SourceError: It does, its nodes are no tree, or it is no glTF.
    """
    try:
        header = json.loads(_json_of(content))
        _check(name, header)
    except SourceError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error, RecursionError) as error:
        said = " ".join(str(error).split())[:120]
        raise SourceError(f"{name} is no glTF 2.0 ({type(error).__name__}: {said})") from None


def _json_of(content: bytes) -> bytes:
    if content[:4] != b"glTF":
        return content
    version, length = struct.unpack_from("<II", content, 4)
    if version != 2:
        raise ValueError(f"version {version}")
    if length != len(content):
        raise ValueError(f"{len(content):,} bytes, announced are {length:,}: cut short")
    (size,) = struct.unpack_from("<I", content, 12)
    return content[20 : 20 + size]


def _check(name: str, header: dict[str, Any]) -> None:
    needed = [one for one in header.get("extensionsRequired", []) if one in _NOT_READ]
    if needed:
        raise SourceError(f"{name} is packed with {', '.join(needed)}, which is not read: export it without")
    accessors = header.get("accessors", [])
    for one in accessors:
        if not isinstance(one["count"], int) or one["count"] < 0:
            raise ValueError(f"a count of {one['count']!r}")
    values = sum(one["count"] * _VALUES[one["type"]] for one in accessors)
    if values > _MAX_VALUES:
        raise SourceError(f"{name} announces {values:,} numbers, at most {_MAX_VALUES:,} are read")
    num_bytes = sum(int(one["byteLength"]) for one in header.get("bufferViews", []))
    if num_bytes > 2 * MAX_BYTES:
        raise SourceError(f"{name} announces {num_bytes:,} bytes of views, at most {2 * MAX_BYTES:,} are read")
    nodes = header.get("nodes", [])
    if len(nodes) > _MAX_NODES:
        raise SourceError(f"{name} has {len(nodes):,} nodes, at most {_MAX_NODES:,} are read")
    corners = [sum(_corners(one, accessors) for one in mesh["primitives"]) for mesh in header.get("meshes", [])]
    drawn = sum(corners) + sum(corners[one["mesh"]] for one in nodes if "mesh" in one)
    if drawn > 6 * MAX_TRIANGLES:
        raise SourceError(f"{name} draws {drawn // 3:,} triangles or more, at most {MAX_TRIANGLES:,} are read")
    children = [child for one in nodes for child in one.get("children", [])]
    roots = [root for scene in header.get("scenes", []) for root in set(scene.get("nodes", []))]
    if len(set(children)) < len(children) or set(children) & set(roots) or (nodes and len(children) >= len(nodes)):
        raise SourceError(f"{name}: its nodes are no tree, one is below two others or below itself")


def _corners(primitive: dict[str, Any], accessors: list[dict[str, Any]]) -> int:
    vertices = int(accessors[primitive["attributes"]["POSITION"]]["count"])
    # A triangle strip has nearly a triangle a corner.
    strip = 3 if primitive.get("mode", 4) == 5 else 1
    indices = int(accessors[primitive["indices"]]["count"]) if "indices" in primitive else vertices
    return max(vertices, strip * indices)
