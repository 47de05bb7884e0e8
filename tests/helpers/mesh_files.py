"""Small outside meshes, right and wrong, and archives like Debian's furniture."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CUBE = """mtllib cube.mtl
v -1 0 -2
v 1 0 -2
v 1 4 -2
v -1 4 -2
v -1 0 2
v 1 0 2
v 1 4 2
v -1 4 2
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl wood
f 1/1 4/4 3/3 2/2
f 5/1 6/2 7/3 8/4
f 1/1 2/2 6/3 5/4
usemtl steel
f 4/1 8/2 7/3 3/4
f 1/1 5/2 8/3 4/4
f 2/1 3/2 7/3 6/4
"""
"""A box 2 wide, 4 high, 4 deep, standing on the ground."""

MATERIALS = "newmtl wood\nKd 0.5 0.25 0.125\nmap_Kd wood.png\nnewmtl steel\nKd 0.2 0.4 0.6\nd 0.5\n"


def write_folder(folder: Path, files: Mapping[str, str | bytes]) -> str:
    """Writes files below a folder; returns it as an address."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(folder)


def gltf(**changes: Any) -> dict[str, Any]:
    """The header of one red triangle, with its numbers beside it (`TRIANGLE`) as binary chunk."""
    header: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [0.5, 0.0, 0.0, 1.0]}}],
        "buffers": [{"byteLength": len(TRIANGLE)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 12},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
        ],
    }
    return header | changes


TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0]], "<f4").tobytes() + np.array([0, 1, 2], "<u4").tobytes()


def glb(header: Mapping[str, Any], content: bytes = TRIANGLE) -> bytes:
    """A .glb file."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(content), b"BIN\0") + content
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body
