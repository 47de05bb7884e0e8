"""The peers of benchmarks/render.py, in an interpreter of their own: `python render_peer.py pyvista|pyrender`.

Needs numpy, Pillow and one of

    pip install pyvista==0.49.1 pyrender==0.1.45

pyrender asks for PyOpenGL 3.1.0 and wants EGL named; this does it. Requests and answers are lines of JSON. A request
names a prepared mesh and values (pose, size, hue); an answer holds CPU seconds of the pictures, of loading, and the
number of different pictures. Both draw at twice the size and average, like shardtools; neither draws a shadow, or a
photograph.

pyvista 0.49.1 renders only the first time that `screenshot` is called (its issue 3698): here each picture has a call
of Render() of its own, and the count of different pictures would show it if not.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
import math
import os
import sys
import time
import zipfile
from typing import Any, Protocol

os.environ.setdefault("LP_NUM_THREADS", "0")
os.environ.setdefault("PYOPENGL_PLATFORM", "egl")

import numpy as np
from PIL import Image

SIDE = 224
DISTANCE = 2.606
"""Of the camera: a sphere of diameter 1 takes 62 % of the frame at 35 degrees."""

AMBIENT = 0.45
ELEVATION = math.radians(15)


class Peer(Protocol):
    """What draws one mesh again and again."""

    def load(self, mesh: dict[str, Any]) -> None: ...
    def draw(self, matrix: np.ndarray, color: tuple[float, float, float]) -> np.ndarray: ...


def read(path: str) -> dict[str, Any]:
    """A prepared mesh: see shardtools/rendering/mesh.py."""
    with zipfile.ZipFile(path) as archive:
        table = json.loads(archive.read("mesh.json"))
        mesh: dict[str, Any] = {
            name: np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")))
            for name in ("positions", "normals", "uvs", "triangles")
        }
        mesh["textures"] = [
            Image.open(io.BytesIO(archive.read(f"texture{number}"))).convert("RGBA")
            for number in range(table["textures"])
        ]
    return {**mesh, "parts": table["parts"]}


def rotation(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    """Rodrigues' formula, [3, 3]."""
    x, y, z = axis
    angle = math.radians(degrees)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return math.cos(angle) * np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * np.outer(axis, axis)


def placed(pose: float, size: float) -> np.ndarray:
    """The object's matrix, [4, 4]: roll about the view axis after a turn of 30 degrees, then size."""
    matrix = np.eye(4)
    view = (0.0, math.sin(ELEVATION), math.cos(ELEVATION))
    matrix[:3, :3] = size * rotation(view, pose) @ rotation((0.0, 1.0, 0.0), 30.0)
    return matrix


class PyVista:
    """VTK through pyvista."""

    def __init__(self) -> None:
        import pyvista

        self._pyvista = pyvista
        self._plotter: Any = None

    def load(self, mesh: dict[str, Any]) -> None:
        pyvista = self._pyvista
        if self._plotter is not None:
            self._plotter.close()
        self._plotter = plotter = pyvista.Plotter(off_screen=True, window_size=(2 * SIDE, 2 * SIDE), lighting="none")
        self._actors = []
        for part in mesh["parts"]:
            rows = mesh["triangles"][part["first"] : part["first"] + part["count"]]
            used, inverse = np.unique(rows.ravel(), return_inverse=True)
            surface = pyvista.PolyData.from_regular_faces(mesh["positions"][used], inverse.reshape(-1, 3))
            surface.point_data["Normals"] = mesh["normals"][used]
            surface.point_data.active_normals_name = "Normals"
            *color, opacity = part["color"]
            texture = None
            if part["texture"] is not None:
                surface.active_texture_coordinates = mesh["uvs"][used]
                texture = pyvista.Texture(np.asarray(mesh["textures"][part["texture"]]))
                texture.mipmap = True
            shown = plotter.add_mesh(surface, color=color, opacity=opacity, texture=texture, reset_camera=False)
            shown.prop.ambient, shown.prop.diffuse = AMBIENT, 1 - AMBIENT
            shown.prop.interpolation = "Phong"
            self._actors.append(shown)
        self._light = pyvista.Light(position=(0.55, 1.0, 0.75), focal_point=(0, 0, 0))
        plotter.add_light(self._light)
        plotter.camera.position = (0.0, DISTANCE * math.sin(ELEVATION), DISTANCE * math.cos(ELEVATION))
        plotter.camera.focal_point, plotter.camera.up = (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)
        plotter.camera.view_angle, plotter.camera.clipping_range = 35.0, (0.5, 10.0)
        plotter.show(auto_close=False)

    def draw(self, matrix: np.ndarray, color: tuple[float, float, float]) -> np.ndarray:
        from vtkmodules.util.numpy_support import vtk_to_numpy
        from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter

        for shown in self._actors:
            shown.user_matrix = matrix
        self._light.diffuse_color = color
        window = self._plotter.render_window
        window.Render()
        reader = vtkWindowToImageFilter()
        reader.SetInput(window)
        reader.ShouldRerenderOff()
        reader.ReadFrontBufferOff()
        reader.Update()
        pixels = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars())
        return np.ascontiguousarray(pixels.reshape(2 * SIDE, 2 * SIDE, -1)[::-1, :, :3])


class PyRender:
    """pyrender."""

    def __init__(self) -> None:
        # pyrender 0.1.45 says np.infty, which NumPy 2 took away.
        np.infty = np.inf  # type: ignore[attr-defined]
        import pyrender

        self._pyrender = pyrender
        self._renderer = pyrender.OffscreenRenderer(2 * SIDE, 2 * SIDE)

    def load(self, mesh: dict[str, Any]) -> None:
        pyrender = self._pyrender
        self._scene = pyrender.Scene(bg_color=(1.0, 1.0, 1.0, 1.0), ambient_light=(AMBIENT,) * 3)
        primitives = []
        for part in mesh["parts"]:
            rows = mesh["triangles"][part["first"] : part["first"] + part["count"]]
            used, inverse = np.unique(rows.ravel(), return_inverse=True)
            picture = None if part["texture"] is None else np.asarray(mesh["textures"][part["texture"]])
            # glTF's v grows downwards.
            uvs = mesh["uvs"][used] * np.array([1, -1]) + np.array([0, 1])
            material = pyrender.MetallicRoughnessMaterial(
                baseColorFactor=part["color"],
                baseColorTexture=None if picture is None else pyrender.Texture(source=picture, source_channels="RGBA"),
                metallicFactor=0.0,
                roughnessFactor=1.0,
                alphaMode="OPAQUE" if part["color"][3] > 0.999 else "BLEND",
                doubleSided=True,
            )
            primitives.append(
                pyrender.Primitive(
                    positions=mesh["positions"][used],
                    normals=mesh["normals"][used],
                    texcoord_0=uvs.astype(np.float32) if picture is not None else None,
                    indices=inverse.reshape(-1, 3).astype(np.uint32),
                    material=material,
                    mode=4,
                )
            )
        self._node = self._scene.add(pyrender.Mesh(primitives))
        view = np.eye(4)
        back = np.array([0.0, math.sin(ELEVATION), math.cos(ELEVATION)])
        view[:3, :3] = np.stack([[1.0, 0.0, 0.0], np.cross(back, [1.0, 0.0, 0.0]), back], axis=1)
        view[:3, 3] = DISTANCE * back
        self._scene.add(pyrender.PerspectiveCamera(yfov=math.radians(35)), pose=view)
        self._light = pyrender.DirectionalLight(color=np.ones(3), intensity=3.0)
        self._scene.add(self._light, pose=view)

    def draw(self, matrix: np.ndarray, color: tuple[float, float, float]) -> np.ndarray:
        self._scene.set_pose(self._node, matrix)
        self._light.color = np.array(color)
        pixels, _ = self._renderer.render(self._scene)
        return np.ascontiguousarray(pixels[..., :3])


PEERS = {"pyvista": PyVista, "pyrender": PyRender}


def main() -> None:
    """Answers requests until there are none."""
    peer: Peer = PEERS[sys.argv[1]]()
    for line in sys.stdin:
        request = json.loads(line)
        mesh = read(request["mesh"])
        begun = time.process_time()
        peer.load(mesh)
        peer.draw(placed(1.0, 1.0), (1.0, 1.0, 1.0))
        loading, digests, seconds = time.process_time() - begun, set(), 0.0
        for pose, size, hue in request["values"]:
            begun = time.process_time()
            samples = peer.draw(placed(pose, size), colorsys.hsv_to_rgb(hue, 0.85, 1.0))
            picture = np.asarray(Image.fromarray(samples).reduce(2))
            seconds += time.process_time() - begun
            digests.add(hashlib.sha256(picture.tobytes()).hexdigest())
        if request.get("show"):
            Image.fromarray(picture).save(request["show"])
        answer = {"seconds": seconds / len(request["values"]), "loading": loading, "different": len(digests)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
