"""Class sets, WordNet synsets and the user's own classes."""

from shardtools.taxonomy.finding import find_classes
from shardtools.taxonomy.image_class import ImageClass
from shardtools.taxonomy.loading import load_classes
from shardtools.taxonomy.table import CLASS_SETS, DEFAULT_CLASSES, Synset, class_set_sizes

__all__ = ["CLASS_SETS", "DEFAULT_CLASSES", "ImageClass", "Synset", "class_set_sizes", "find_classes", "load_classes"]
