"""Pictures of meshes before photographs, every factor known: catalogues of both, plans of grids, scenes, pixels.

A mesh, a photograph and the values of the factors make a picture. `opengl` is the one module that knows OpenGL; what
is rendered is a source, so `writing` makes an ordinary dataset of it.
"""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand
from shardtools.rendering.backgrounds.options import BackgroundOptions
from shardtools.rendering.factors import CANONICAL_HUE, FACTORS, FactorValues

if TYPE_CHECKING:
    from shardtools.rendering.backgrounds.catalogue import Backgrounds, Photo, open_backgrounds
    from shardtools.rendering.backgrounds.making import LeftOut, MadeBackgrounds, make_backgrounds, notices
    from shardtools.rendering.mesh import Mesh, MeshPart, read_mesh, write_mesh
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CANONICAL_HUE",
    "FACTORS",
    "BackgroundOptions",
    "Backgrounds",
    "FactorValues",
    "LeftOut",
    "MadeBackgrounds",
    "Mesh",
    "MeshPart",
    "Photo",
    "make_backgrounds",
    "notices",
    "open_backgrounds",
    "read_mesh",
    "write_mesh",
]
