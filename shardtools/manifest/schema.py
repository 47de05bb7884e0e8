"""The manifest's columns: names, types and meaning.

Owns the schema and its version. The price of one wide schema for real and generated images: rows of real images carry
nulls in the generation columns (Parquet stores a run of nulls in a few bytes).
"""

from __future__ import annotations

import pyarrow as pa

FORMAT_VERSION = 2
"""Version of the dataset format that this release writes, and the only one it reads."""

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "key": (pa.string(), "unique in the dataset; the stem of the sample's members in its shard"),
    "split": (pa.string(), "train, val, test"),
    "shard": (pa.string(), "path of the shard in the dataset; null where there are no bytes"),
    "sample_index": (pa.int32(), "0-based position among the samples of its shard; null where there are no bytes"),
    "member_offset": (pa.int64(), "byte offset of the image's payload in the shard"),
    "num_bytes": (pa.int64(), "length of the image's payload"),
    "sha256": (pa.string(), "lower-case hexadecimal digest of the image's payload"),
    "image_format": (pa.string(), "jpg, png, webp, ...; raw: rows of 8-bit RGB pixels"),
    "width": (pa.int32(), "pixels"),
    "height": (pa.int32(), "pixels"),
    "mode": (pa.string(), "Pillow's pixel layout: RGB, L, CMYK, ..."),
    "wnid": (pa.string(), "WordNet 3.0 id, or the user's own class name"),
    "class_index": (pa.int32(), "0-based label; null where an image may have several"),
    "class_indexes": (
        pa.list_(pa.int32()),
        "0-based labels, rising, of an image that may have several or none; null where it has one class at most",
    ),
    "label_source": (pa.string(), "prompt, folder, cls, idx, label, ..."),
    "source": (pa.string(), "real, generated, rendered, corrupted, attacked"),
    "status": (pa.string(), "ok, or why there are no bytes: black, nan, undecodable, unsafe, ..."),
    "reason": (
        pa.string(),
        "one line of detail: why status is not ok; of an ok row, which part of its prompt was cut off",
    ),
    "source_path": (pa.string(), "where the image lay in its source: file, archive and member, or row"),
    "exif_orientation": (
        pa.int8(),
        "1 to 8, as EXIF says the stored pixels should be turned; null where it says nothing",
    ),
    "corruption": (pa.string(), "what was done to the picture on purpose: defocus_blur, ..."),
    "severity": (pa.int32(), "strength of the corruption, 1 to 5"),
    "frame": (pa.int32(), "0-based position in the sequence of pictures that the image was taken from"),
    "object_id": (pa.string(), "the rendered object: its name in the catalogue of meshes"),
    "mesh_sha256": (pa.string(), "digest of the prepared mesh"),
    "mesh_license": (pa.string(), "the mesh's license"),
    "mesh_author": (pa.string(), "who made the mesh"),
    "background": (pa.string(), "the photograph behind the object: type/name"),
    "background_type": (pa.string(), "sky, water, city, home, grass, or the user's own"),
    "background_sha256": (pa.string(), "digest of the photograph's file"),
    "background_license": (pa.string(), "the photograph's license"),
    "background_author": (pa.string(), "who took the photograph"),
    "grid": (pa.string(), "which plan of factors the image is of: canonical, single, pairs, all"),
    "varied": (pa.string(), "factors that the grid varies here, joined by +: pose, pose+size; empty: canonical"),
    "is_canonical": (pa.bool_(), "whether every factor has its canonical value, in any grid"),
    "pose": (pa.float64(), "degrees about `pose_axis`"),
    "pose_axis": (pa.string(), "roll, pitch, yaw"),
    "size": (pa.float64(), "1: the object's bounding sphere spans 62 % of the frame"),
    "position": (pa.float64(), "half-frames to the right"),
    "hue": (pa.float64(), "hue of the light, 0 to 1; null: white"),
    "camera": (pa.string(), "JSON: elevation, base yaw, field of view, light and the like"),
    "renderer": (pa.string(), "what drew the image: GL_RENDERER and GL_VERSION; bits are compared only within one"),
    "source_sha256": (
        pa.string(),
        "digest of the source's image where it was encoded anew; null where bytes were kept",
    ),
    "source_num_bytes": (pa.int64(), "its length"),
    "source_width": (pa.int32(), "its width in pixels"),
    "source_height": (pa.int32(), "its height in pixels"),
    "jpeg_quality": (pa.int32(), "quality that the image was encoded anew with, 1 to 100"),
    "plan_id": (pa.string(), "fingerprint of the plan that made the image"),
    "replica": (pa.int32(), "0-based number of the image within its class, over all clones"),
    "prompt": (pa.string(), "the text given to the generator"),
    "prompt_template": (pa.string(), "the template the prompt was made from"),
    "scene": (pa.string(), "the scene that filled `b`"),
    "seed": (pa.int64(), "seed of the image's initial noise, 0 to 2**63 - 1, unique in the plan"),
    "negative_prompt": (pa.string(), "null where none was given"),
    "guidance_scale": (pa.float64(), "classifier-free guidance"),
    "num_inference_steps": (pa.int32(), "denoising steps"),
    "scheduler": (pa.string(), "class name of the diffusers scheduler"),
    "model_id": (pa.string(), "folder name or hub id of the pipeline"),
    "model_digest": (pa.string(), "sha256 over the pipeline's files"),
    "batch_size": (pa.int32(), "images denoised together (the last batch of a shard is padded)"),
    "threads_per_process": (pa.int32(), "CPU threads of one generating process"),
    "dtype": (pa.string(), "float32, float16, bfloat16"),
    "device": (pa.string(), "cpu, or the accelerator's name"),
    "library_versions": (pa.string(), "JSON: torch, diffusers, transformers, pillow"),
    "nsfw_detected": (pa.bool_(), "verdict of the pipeline's safety checker; null where it did not run"),
    "attempt": (pa.int32(), "1 for the first try; one more each time --retry-failed made the image again"),
}
"""Column name -> (Arrow type, what it holds). The order is the order in the files."""

SCHEMA = pa.schema([pa.field(name, arrow_type) for name, (arrow_type, _) in COLUMNS.items()])

_RENDERED = frozenset(tuple(COLUMNS)[tuple(COLUMNS).index("object_id") : tuple(COLUMNS).index("source_sha256")])

ADDED_COLUMNS = (frozenset({"class_indexes"}), frozenset({"class_indexes"}) | _RENDERED)
"""Columns that parts of this version lack, and are null there, by the time they were written: before images had several
labels, and before there were rendered images, too."""

PROVENANCE_COLUMNS = tuple(COLUMNS)[tuple(COLUMNS).index("source_path") :]
"""Columns that say where an image comes from; a `Sample.provenance` may hold exactly these."""

GENERATED_COLUMNS = tuple(COLUMNS)[tuple(COLUMNS).index("plan_id") :]
"""Those of them that only generated images fill."""
