"""How published protocols prepare images for an encoder.

Frozen. "trex" is what naver/cog (feature_ops.py) and naver/trex (transfer/) do for every network that they compare: the
shorter side to S by bicubic interpolation, the centre of S by S pixels, S being 224 but for the few below. Pixels are
scaled as the network was trained with, as they do it too. Features get their length 1 from the probe, where its solver
wants that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureProtocol:
    """How images are prepared.

    Attributes:
        interpolation: Of the resize to the square's side.
        size: Side of the square in pixels.
        sizes: Network, without its library and the tag of its weights -> another side.
    """

    interpolation: str
    size: int
    sizes: Mapping[str, int]

    def size_of(self, network: str) -> int:
        """Side of the square for a network: "timm:tf_efficientnet_b4.ns_jft_in1k"."""
        plain = network.rpartition(":")[2].partition(".")[0].removeprefix("tf_")
        return self.sizes.get(plain, self.size)


FEATURE_PROTOCOLS: dict[str, FeatureProtocol] = {
    "trex": FeatureProtocol(
        interpolation="bicubic",
        size=224,
        sizes={
            "inception_v3": 299,
            "deit_base_distilled_patch16_384": 384,
            "efficientnet_b1": 240,
            "efficientnet_b4": 380,
        },
    )
}
"""As it is typed -> the protocol."""
