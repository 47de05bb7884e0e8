"""Class sets, WordNet synsets and the user's own classes."""

from shardtools.taxonomy.finding import find_classes, suggest
from shardtools.taxonomy.image_class import ImageClass
from shardtools.taxonomy.loading import is_identifier, load_classes, load_synset
from shardtools.taxonomy.table import CLASS_SETS, DEFAULT_CLASSES, Synset, class_set_sizes, find_synset, lemmas_of

__all__ = [
    "CLASS_SETS",
    "DEFAULT_CLASSES",
    "ImageClass",
    "Synset",
    "class_set_sizes",
    "find_classes",
    "find_synset",
    "is_identifier",
    "lemmas_of",
    "load_classes",
    "load_synset",
    "suggest",
]
