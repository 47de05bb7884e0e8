"""Features: one vector an image, in memory-mapped parts beside the manifest, with the encoder's fingerprint."""

from typing import TYPE_CHECKING

from shardtools.features.options import FeatureOptions, FeatureResult
from shardtools.features.protocols import FEATURE_PROTOCOLS, FeatureProtocol
from shardtools.features.text_options import ClassTextOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.features.class_texts import (
        CLASS_TEXTS_VERSION,
        ClassTexts,
        TextEncoderFacts,
        open_class_texts,
    )
    from shardtools.features.features_file import (
        FEATURES_VERSION,
        EncoderFacts,
        FeaturePart,
        FeaturePlan,
        FeaturesInfo,
        Skipped,
        check_same_encoder,
    )
    from shardtools.features.importing import import_features
    from shardtools.features.keyed_rows import KeyedRows
    from shardtools.features.launch import Extraction, Job, extract_features, require_feature_libraries
    from shardtools.features.rows_file import RowsFile, places_of, read_rows_file
    from shardtools.features.store import FeatureStore, feature_names, only_features, open_features, remove_features
    from shardtools.features.writer import FeatureWriter, features_storage, make_plan, write_features
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CLASS_TEXTS_VERSION",
    "FEATURES_VERSION",
    "FEATURE_PROTOCOLS",
    "ClassTextOptions",
    "ClassTexts",
    "EncoderFacts",
    "Extraction",
    "FeatureOptions",
    "FeaturePart",
    "FeaturePlan",
    "FeatureProtocol",
    "FeatureResult",
    "FeatureStore",
    "FeatureWriter",
    "FeaturesInfo",
    "Job",
    "KeyedRows",
    "RowsFile",
    "Skipped",
    "TextEncoderFacts",
    "check_same_encoder",
    "extract_features",
    "feature_names",
    "features_storage",
    "import_features",
    "make_plan",
    "only_features",
    "open_class_texts",
    "open_features",
    "places_of",
    "read_rows_file",
    "remove_features",
    "require_feature_libraries",
    "write_features",
]
