"""What a user may ask of the scene that all pictures of a dataset share.

Apart from the geometry, so that a command shows its help without NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.options import check_options, option

POSE_AXES = ("roll", "pitch", "yaw")


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """Camera, light and picture; what no factor varies.

    Attributes:
        image_size: Side of the picture in pixels.
        supersampling: Samples along each side of a pixel.
        elevation: Of the camera above the horizon, degrees.
        base_yaw: The object's turn about the vertical in its canonical pose, degrees: a three-quarter view.
        field_of_view: Vertical angle that the picture shows, degrees.
        span: Part of the frame's height that the bounding sphere takes at size 1.
        ambient: Part of the light that comes from everywhere, and is white.
        saturation: Of the key light where a hue is asked for; its value is 1.
        shadow: Opacity of the shadow on the photograph.
        pose_axis: What a pose turns the object about: the view axis, the picture's horizontal, or the vertical.
    """

    image_size: int = field(default=224, metadata=option("Side of the picture, pixels.", bounds=(16, 4096)))
    supersampling: int = field(default=2, metadata=option("Samples along each side of a pixel.", bounds=(1, 4)))
    elevation: float = field(default=15.0, metadata=option("Of the camera above the horizon, degrees.", bounds=(0, 85)))
    base_yaw: float = field(default=30.0, metadata=option("Canonical turn of the object, degrees.", bounds=(-180, 180)))
    field_of_view: float = field(default=35.0, metadata=option("Of the camera, vertical, degrees.", bounds=(5, 120)))
    span: float = field(
        default=0.62, metadata=option("Part of the frame that the bounding sphere takes at size 1.", bounds=(0.05, 1))
    )
    ambient: float = field(default=0.45, metadata=option("Light from everywhere, white.", bounds=(0, 1)))
    saturation: float = field(default=0.85, metadata=option("Of colored light.", bounds=(0, 1)))
    shadow: float = field(default=0.45, metadata=option("Opacity of the shadow on the photograph.", bounds=(0, 1)))
    pose_axis: str = field(
        default="roll",
        metadata=option("What a pose turns about: roll, in the picture's plane; pitch; yaw.", choices=POSE_AXES),
    )

    def __post_init__(self) -> None:
        check_options(self)
