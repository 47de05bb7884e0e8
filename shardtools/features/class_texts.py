"""Features of classes out of their texts: one vector a class, in a folder of their own.

    FOLDER/texts.npy        float32 [C, D], rows of length 1
           texts.parquet    wnid, class_index, texts
           texts.json       the encoder, the templates, the digests of both; after them

Owns the format. A row is the mean over the prompt templates of the texts' features, each of length 1 (Radford et al.:
"Learning Transferable Visual Models From Natural Language Supervision", 2021, section 3.1.4), brought to length 1
again. The price of float32: 4 bytes a number, 86 MB for 21,000 classes of 1024.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.arrays import Float32s
from shardtools.documents import Document, Format
from shardtools.errors import AlreadyExistsError, DatasetError, NotFoundError, first_line
from shardtools.features.text_options import ClassTextOptions
from shardtools.manifest import digest
from shardtools.prompts import PromptOptions, check_template, fill_template, parse_template
from shardtools.storage import Storage, open_storage
from shardtools.taxonomy import ImageClass, load_classes

CLASS_TEXTS_VERSION = 1
TEXTS_FILE = "texts.json"

_FEATURES_FILE = "texts.npy"
_ROWS_FILE = "texts.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoderFacts:
    """Everything that decides on a text's feature, but the text.

    Attributes:
        name: Kind of the network: "transformers:clip", "transformers:bert".
        weights_sha256: Digest of its weights; of a dual encoder that of both towers, as in its images' features.
        tokenizer_sha256: Digest of what makes tokens of a text.
        feature_dim: D.
        pooling: "projection" (a dual encoder's own), "mean" over tokens, or "cls", the first one.
        max_tokens: Tokens that are read of a text; the others are cut.
    """

    name: str
    weights_sha256: str
    tokenizer_sha256: str
    feature_dim: int
    pooling: str
    max_tokens: int

    @property
    def fingerprint(self) -> str:
        """sha256 over all fields, in hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassTexts:
    """Features of classes.

    Attributes:
        wnids: Of the classes, C of them.
        class_indexes: Places in their class set.
        texts: What was read of each, one text a template.
        features: float32 [C, D], rows of length 1.
        encoder: What made them.
        settings: "classes", "prompts", "lemmas", "hypernyms".
    """

    wnids: tuple[str, ...]
    class_indexes: tuple[int, ...]
    texts: tuple[tuple[str, ...], ...]
    features: Float32s
    encoder: TextEncoderFacts
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _TextsFile(Document):
    """The content of `texts.json`; the digests are those of the two other files."""

    format: ClassVar[Format] = Format(
        name="shardtools-class-texts",
        version=CLASS_TEXTS_VERSION,
        what="a file of class texts",
        remedy="make them again with --replace",
    )

    encoder: TextEncoderFacts
    settings: Mapping[str, Any]
    features_sha256: str
    rows_sha256: str


def class_texts(options: ClassTextOptions) -> tuple[list[ImageClass], list[tuple[str, ...]]]:
    """The classes and the texts of each, one a template.

    Raises:
        TaxonomyError: Unknown classes.
        PromptError: A template that the classes cannot fill, or one with scenes, which classes do not have.
    """
    classes = load_classes(options.classes)
    texts: list[list[str]] = [[] for _ in classes]
    for text in options.prompt_templates:
        template = parse_template(text)
        wanted = PromptOptions(template=text, lemmas=options.lemmas, hypernyms=options.hypernyms)
        check_template(template, classes, wanted)
        for own, entry in zip(texts, classes, strict=True):
            own.append(fill_template(template, entry, None, wanted))
    return classes, [tuple(own) for own in texts]


def averaged(features: Float32s, num_templates: int) -> Float32s:
    """One row a class of length 1 out of its texts' rows, [C * T, D] to [C, D]; the texts of a class lie together."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    means = unit.reshape(-1, num_templates, features.shape[1]).mean(axis=1)
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12), np.float32)


def check_target(out: str | os.PathLike[str], *, replace: bool) -> Storage:
    """The place of class texts, before their encoder is loaded.

    Raises:
        AlreadyExistsError: Some are there, and `replace` is not given.
        AccessError: It cannot be written.
    """
    storage = open_storage(out)
    storage.check_writable()
    if storage.exists(TEXTS_FILE) and not replace:
        raise AlreadyExistsError(
            f"{storage.object_url(TEXTS_FILE)} is there already: give replace (--replace) to write it anew, or another "
            "folder (--out)"
        )
    return storage


def write_class_texts(storage: Storage, found: ClassTexts) -> None:
    """Writes features of classes; `texts.json` is the commit.

    Raises:
        DatasetError: A feature is not finite.
        NoSpaceError: The disk is full.
    """
    wrong = np.flatnonzero(~np.isfinite(found.features).all(axis=1))
    if len(wrong):
        raise DatasetError(
            f"the feature of class {found.wnids[int(wrong[0])]} is not finite: are the encoder's weights damaged?"
        )
    # Without its commit there are no class texts: it goes first where some are replaced, and comes last below.
    storage.delete(TEXTS_FILE)
    sink = io.BytesIO()
    np.save(sink, found.features, allow_pickle=False)
    features = sink.getvalue()
    table = pa.table(
        {
            "wnid": pa.array(found.wnids, pa.string()),
            "class_index": pa.array(found.class_indexes, pa.int64()),
            "texts": pa.array(found.texts, pa.list_(pa.string())),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    rows = sink.getvalue()
    storage.write(_FEATURES_FILE, features)
    storage.write(_ROWS_FILE, rows)
    content = _TextsFile(
        encoder=found.encoder,
        settings=dict(found.settings),
        features_sha256=digest(features),
        rows_sha256=digest(rows),
    )
    storage.write(TEXTS_FILE, content.to_json())


def open_class_texts(folder: str | os.PathLike[str]) -> ClassTexts:
    """Reads features of classes.

    Raises:
        DatasetError: There are none, or they are damaged.
        FormatVersionError: Another release wrote them.
    """
    storage = open_storage(folder)
    where = storage.object_url(TEXTS_FILE)
    try:
        file = _TextsFile.from_json(storage.read(TEXTS_FILE), where=where)
        features = _read(storage, _FEATURES_FILE, file.features_sha256)
        rows = pq.read_table(io.BytesIO(_read(storage, _ROWS_FILE, file.rows_sha256)))
        return ClassTexts(
            wnids=tuple(rows["wnid"].to_pylist()),
            class_indexes=tuple(rows["class_index"].to_pylist()),
            texts=tuple(map(tuple, rows["texts"].to_pylist())),
            features=np.load(io.BytesIO(features), allow_pickle=False),
            encoder=file.encoder,
            settings=file.settings,
        )
    except NotFoundError:
        raise DatasetError(f"{storage.url} has no {TEXTS_FILE}: `shardtools text-features` makes it") from None
    except (ValueError, KeyError, pa.ArrowException) as error:
        raise DatasetError(
            f"{where} is not a file of class texts ({first_line(error)}): make them again with --replace"
        ) from None


def same_space(one: TextEncoderFacts, weights_sha256: str) -> bool:
    """Whether texts of an encoder may be compared with what other weights made: only within one dual encoder."""
    return one.pooling == "projection" and one.weights_sha256 == weights_sha256


def _read(storage: Storage, path: str, sha256: str) -> bytes:
    content = storage.read(path)
    if digest(content) != sha256:
        raise ValueError(f"{path} was altered")
    return content
