"""The embedded generator as it ships: its folder, its settings, and what it draws.

The drawn classes are checked with ridge regression on real test pictures, fitted here in
a few seconds, so that a broken or mislabelled model fails without a stored judge.
"""

from __future__ import annotations

import gzip
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "shardtools" / "models" / "fashion-sd"
DATA = Path("/usr/share/datasets/fashion-mnist")
MAX_FOLDER_BYTES = 10_000_000

# All lemmas and the WordNet 3.0 definition, in Fashion-MNIST's label order.
PROMPTS = (
    "jersey, T-shirt, tee shirt, a close-fitting pullover shirt",
    "trouser, pant, (usually in the plural) a garment extending from the waist to the knee or ankle, "
    "covering each leg separately",
    "pullover, slipover, a sweater that is put on by pulling it over the head",
    "dress, frock, a one-piece garment for a woman; has skirt and bodice",
    "coat, an outer garment that has sleeves and covers the body from shoulder down; worn outdoors",
    "sandal, a shoe consisting of a sole fastened by straps to the foot",
    "shirt, a garment worn on the upper half of the body",
    "gym shoe, sneaker, tennis shoe, a canvas shoe with a pliable rubber sole",
    "bag, handbag, pocketbook, purse, a container used for carrying money and small personal items or "
    "accessories (especially by women)",
    "boot, footwear that covers the whole foot and lower leg",
)


@pytest.fixture(scope="module")
def pipeline() -> Iterator[object]:
    threads = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(MODEL, dtype=torch.float32, local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    yield loaded
    torch.set_num_threads(threads)


def _draw(pipeline: object, prompts: list[str], *, seed: int, guidance_scale: float) -> np.ndarray:
    """`[N, 32, 32, 3]` in 0..1, ten steps of DPM++ (the fast sampler)."""
    fast = diffusers.StableDiffusionPipeline(**pipeline.components, requires_safety_checker=False)
    fast.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    fast.set_progress_bar_config(disable=True)
    return fast(
        prompts,
        num_inference_steps=10,
        guidance_scale=guidance_scale,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    ).images


def _real_test_pictures() -> tuple[np.ndarray, np.ndarray]:
    assert DATA.is_dir(), f"{DATA} is absent: install the Debian package dataset-fashion-mnist"
    arrays = []
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        raw = gzip.decompress((DATA / name).read_bytes())
        rank = raw[3]
        shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
        arrays.append(np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape))
    return arrays[0].astype(np.float32) / 255.0, arrays[1].astype(np.int64)


def _halve(images: np.ndarray) -> np.ndarray:
    """28x28 to 14x14 by averaging, flattened, with a constant for the bias."""
    small = images.reshape(len(images), 14, 2, 14, 2).mean((2, 4)).reshape(len(images), -1)
    return np.concatenate([small, np.ones((len(images), 1), np.float32)], axis=1)


def test_folder_is_small_and_holds_no_pickle() -> None:
    files = [f for f in MODEL.rglob("*") if f.is_file()]
    total = sum(f.stat().st_size for f in files)
    assert 1_000_000 < total <= MAX_FOLDER_BYTES, f"the folder holds {total} bytes"
    assert {f.suffix for f in files} <= {".json", ".safetensors", ".md", ".txt"}
    index = json.loads((MODEL / "model_index.json").read_text(encoding="utf-8"))
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["safety_checker"] == index["feature_extractor"] == [None, None]
    assert index["requires_safety_checker"] is False


def test_model_card_names_data_and_license() -> None:
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    header = card.split("---\n")[1]
    assert "license: apache-2.0" in header
    for fact in ("Fashion-MNIST", "Zalando", "WordNet 3.0", "not Stable Diffusion"):
        assert fact in card, f"the model card does not mention {fact}"


def test_scheduler_has_the_settings_of_stable_diffusion_1_4() -> None:
    stored = json.loads((MODEL / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    expected = {
        "_class_name": "PNDMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "clip_sample": False,
        "prediction_type": "epsilon",
    }
    assert {key: stored.get(key) for key in expected} == expected


def test_default_picture_is_32x32(pipeline: object) -> None:
    assert pipeline.unet.config.sample_size * pipeline.vae_scale_factor == 32
    assert pipeline.vae.config.scaling_factor != 1.0


def test_tokenizer_keeps_the_longest_prompt(pipeline: object) -> None:
    tokenizer = pipeline.tokenizer
    scene = "market outdoor in the natural history museum (outdoor)"
    for prompt in (*PROMPTS, *(f"{p} inside {scene}" for p in PROMPTS)):
        count = len(tokenizer(prompt).input_ids)
        assert count <= tokenizer.model_max_length, f"{count} tokens: {prompt}"
    assert tokenizer.model_max_length == pipeline.text_encoder.config.max_position_embeddings


def test_tokenizer_ignores_case_and_reads_any_text_back(pipeline: object) -> None:
    tokenizer = pipeline.tokenizer
    assert tokenizer("Tee Shirt").input_ids == tokenizer("tee shirt").input_ids
    for text in ("tee shirt inside ice skating rink", "zebra naïve 日本"):
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids[1:-1]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_drawn_products_are_the_prompted_classes(pipeline: object) -> None:
    real, labels = _real_test_pictures()
    features = _halve(real)
    targets = np.eye(10, dtype=np.float32)[labels] * 2 - 1
    gram = features.T @ features + 5.0 * np.eye(features.shape[1], dtype=np.float32)
    ridge = np.linalg.solve(gram, features.T @ targets)
    images = _draw(pipeline, [*PROMPTS, *PROMPTS], seed=0, guidance_scale=7.5)
    assert images.shape == (20, 32, 32, 3)
    predicted = (_halve(images.mean(3)[:, 2:30, 2:30]) @ ridge).argmax(1)
    correct = int((predicted == np.tile(np.arange(10), 2)).sum())
    # The ridge itself reads about 83 % of the real pictures.
    assert correct >= 14, f"{correct} of 20 drawn products read as their class: {predicted.tolist()}"
    corners = np.concatenate([images[:, :2, :2].ravel(), images[:, -2:, -2:].ravel()])
    assert corners.mean() < 0.05, "the background of a prompt without a scene is not black"


def test_same_seed_same_picture_other_seed_other_picture(pipeline: object) -> None:
    first, again, other = (_draw(pipeline, [PROMPTS[3]], seed=seed, guidance_scale=2.0) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


def test_scene_changes_the_background(pipeline: object) -> None:
    scenes = ["forest broadleaf", "ocean", "ski slope", "desert sand"]
    products = ("jersey, T-shirt, tee shirt, shirt", "gym shoe, sneaker, tennis shoe, shoe")
    prompts = [f"{product} inside {scene}" for scene in scenes for product in products]
    images = _draw(pipeline, prompts, seed=3, guidance_scale=7.5)
    # The border outside the product: top and bottom two rows and outer two columns.
    border = np.ones((32, 32), bool)
    border[2:30, 2:30] = False
    color = images[:, border].mean(1).reshape(len(scenes), 2, 3).mean(1)
    forest, ocean, snow, desert = color
    assert forest[1] > forest[2], f"a forest is not green: {forest}"
    assert ocean[2] > ocean[0], f"an ocean is not blue: {ocean}"
    assert snow.min() > 0.6, f"snow is not bright: {snow}"
    assert desert[0] > desert[2], f"a desert is not sandy: {desert}"
