"""Pictures of meshes before photographs, every factor known: catalogues of both, plans of grids, scenes, pixels.

A mesh, a photograph and the values of the factors make a picture. `opengl` is the one module that knows OpenGL; what
is rendered is a source, so `writing` makes an ordinary dataset of it.
"""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand
from shardtools.rendering.backgrounds.options import BackgroundOptions
from shardtools.rendering.factors import CANONICAL_HUE, FACTORS, FactorValues, as_seen
from shardtools.rendering.meshes.options import FURNITURE_SOURCE, MeshOptions
from shardtools.rendering.options import GRIDS, RENDERED, RenderOptions
from shardtools.rendering.scene_options import SceneOptions

if TYPE_CHECKING:
    from shardtools.rendering.backgrounds.catalogue import Backgrounds, Photo, open_backgrounds
    from shardtools.rendering.backgrounds.making import MadeBackgrounds, make_backgrounds
    from shardtools.rendering.mesh import Mesh, MeshPart, read_mesh, write_mesh
    from shardtools.rendering.meshes.catalogue import MeshCatalogue, MeshObject, open_catalogue
    from shardtools.rendering.meshes.making import MeshResult, make_catalogue
    from shardtools.rendering.objects import ObjectName
    from shardtools.rendering.opengl import Renderer
    from shardtools.rendering.plan import PhotoName, PlannedImage, RenderPlan, image_key, make_plan
    from shardtools.rendering.scene import RENDERING_VERSION, build_scene
    from shardtools.rendering.source import RenderedSource, describe_renderer, open_rendered
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CANONICAL_HUE",
    "FACTORS",
    "FURNITURE_SOURCE",
    "GRIDS",
    "RENDERED",
    "RENDERING_VERSION",
    "BackgroundOptions",
    "Backgrounds",
    "FactorValues",
    "MadeBackgrounds",
    "Mesh",
    "MeshCatalogue",
    "MeshObject",
    "MeshOptions",
    "MeshPart",
    "MeshResult",
    "ObjectName",
    "Photo",
    "PhotoName",
    "PlannedImage",
    "RenderOptions",
    "RenderPlan",
    "RenderedSource",
    "Renderer",
    "SceneOptions",
    "as_seen",
    "build_scene",
    "describe_renderer",
    "image_key",
    "make_backgrounds",
    "make_catalogue",
    "make_plan",
    "open_backgrounds",
    "open_catalogue",
    "open_rendered",
    "read_mesh",
    "write_mesh",
]
