"""The published sets, and the names that a user may give them."""

from __future__ import annotations

from shardtools.errors import OptionError
from shardtools.sources.published.aircraft import AIRCRAFT
from shardtools.sources.published.cars import CARS
from shardtools.sources.published.cct20 import CCT20, CCT20_BOXES
from shardtools.sources.published.description import PublishedSet
from shardtools.sources.published.dtd import DTD
from shardtools.sources.published.eurosat import EUROSAT, EUROSAT_STUDY
from shardtools.sources.published.flowers import FLOWERS
from shardtools.sources.published.food101 import FOOD101
from shardtools.sources.published.hpa import HPA, HPA_RGBY
from shardtools.sources.published.inaturalist import INAT2018, INAT2019
from shardtools.sources.published.kaggle import APTOS, CASSAVA
from shardtools.sources.published.melanoma import MELANOMA
from shardtools.sources.published.pets import PETS
from shardtools.sources.published.sun397 import SUN397

PUBLISHED_SETS: dict[str, PublishedSet] = {
    one.name: one
    for one in (
        AIRCRAFT,
        CARS,
        DTD,
        EUROSAT,
        FLOWERS,
        PETS,
        FOOD101,
        SUN397,
        INAT2018,
        INAT2019,
        CCT20,
        CCT20_BOXES,
        APTOS,
        HPA,
        HPA_RGBY,
        MELANOMA,
        CASSAVA,
        EUROSAT_STUDY,
    )
}
"""Name -> description, the ten of the thesis first."""

_TORCHVISION = {
    "fgvcaircraft": "aircraft",
    "stanfordcars": "cars196",
    "flowers102": "flowers",
    "oxfordiiitpet": "pets",
    "inaturalist2018": "inat2018",
    "inaturalist2019": "inat2019",
}
"""What torchvision calls those that it calls otherwise, in lower case."""


def find_set(name: str) -> PublishedSet:
    """The set of a name, ours or torchvision's, in any case.

    Raises:
        OptionError: There is none.
    """
    wanted = name.lower()
    found = PUBLISHED_SETS.get(_TORCHVISION.get(wanted, wanted))
    if found is None:
        raise OptionError(f"no published set is called {name!r}: expected one of {', '.join(PUBLISHED_SETS)}")
    return found
