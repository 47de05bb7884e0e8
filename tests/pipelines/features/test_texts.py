"""Texts through tiny encoders of transformers: pooling by hand, images found by text, classes, what is refused."""

from __future__ import annotations

import json
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from shardtools.cli.index import command as index
from shardtools.cli.text_features import command as text_features
from shardtools.errors import (
    AlreadyExistsError,
    DatasetError,
    FormatVersionError,
    OptionError,
    PlanMismatchError,
    PromptError,
)
from shardtools.execution import Progress, ignore, run_as_rank
from shardtools.features import FeatureOptions, Job, open_class_texts, open_features, write_features
from shardtools.features.launch import Extraction
from shardtools.loader import read_all
from shardtools.pipelines.encoders.local_models import Preprocessing, read_preprocessing
from shardtools.pipelines.encoders.trained import load_feature_encoder
from shardtools.pipelines.features.job import run_rank
from shardtools.pipelines.features.texts import load_text_encoder, pool_tokens
from shardtools.pipelines.ranks import Rank
from tests.helpers.feature_datasets import make_labeled, with_features
from tests.helpers.text_encoders import DIM, MAX_TOKENS, PREPROCESSING, SIDE, clip, sentences, siglip

TEXTS = ["a red shoe", "the photo of a blue shirt", "fish", "a photo of the red fish , a shoe - of the red blue shirt"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, make in (("clip", clip), ("siglip", siglip), ("sentences", sentences)):
        make(folder / name)
    return folder


def extract(world: Rank, job: Job, report: Progress) -> None:
    run_rank(job, world, report, threading.Event())


@pytest.fixture(scope="module")
def dataset(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve drawings with features of the dual encoder's image tower, through the whole pipeline."""
    url = make_labeled(tmp_path_factory.mktemp("searched") / "dataset", [n % 3 for n in range(12)])
    wanted = FeatureOptions(dataset=url, encoder=f"clip:{folders / 'clip'}", dtype="float32", device="cpu", threads=1)
    world = Rank(rank=0, world_size=1, device=torch.device("cpu"))
    run_as_rank(Extraction(wanted, ignore), world, partial(extract, world), threading.Event())
    return url


def loaded(folder: Path) -> tuple[Any, Any]:
    return AutoModel.from_pretrained(str(folder)).eval(), AutoTokenizer.from_pretrained(str(folder))


def run(command: Any, *arguments: str) -> Any:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False, standalone_mode=False)


# ---- texts ----


def test_a_dual_encoder_gives_what_its_text_tower_gives(folders: Path) -> None:
    encoder = load_text_encoder(str(folders / "clip"))
    model, tokenizer = loaded(folders / "clip")
    assert (encoder.facts.name, encoder.facts.pooling, encoder.facts.feature_dim) == (
        "transformers:clip",
        "projection",
        DIM,
    )
    features = encoder.features(TEXTS)
    for text, feature in zip(TEXTS, features, strict=True):
        tokens = tokenizer([text], truncation=True, return_tensors="pt")
        with torch.inference_mode():
            expected = model.text_projection(
                model.text_model(tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
            )[0]
        np.testing.assert_allclose(feature, expected, atol=1e-5)
    assert encoder.count_cut(TEXTS) == 1, "the last has 15 tokens of 12"
    again = load_text_encoder(f"clip:{folders / 'clip'}")
    assert (
        again.facts == encoder.facts
        and again.facts.fingerprint != load_text_encoder(str(folders / "siglip")).facts.fingerprint
    )


def test_texts_of_siglip_are_filled_up(folders: Path) -> None:
    model, tokenizer = loaded(folders / "siglip")
    tokens = tokenizer(TEXTS[:1], padding="max_length", max_length=MAX_TOKENS, return_tensors="pt")
    with torch.inference_mode():
        # Without a mask: that is how it was trained, and how its last place comes to stand for the text.
        states = model.text_model(tokens["input_ids"], attention_mask=tokens["attention_mask"])
    found = load_text_encoder(f"transformers:{folders / 'siglip'}").features(TEXTS[:1])
    np.testing.assert_allclose(found, states.pooler_output, atol=1e-5)


def test_tokens_are_averaged_where_they_are(folders: Path) -> None:
    encoder = load_text_encoder(str(folders / "sentences"))
    assert (encoder.facts.pooling, encoder.facts.feature_dim, encoder.facts.max_tokens) == ("mean", 16, MAX_TOKENS)
    model, tokenizer = loaded(folders / "sentences")
    found = encoder.features(TEXTS)
    for text, feature in zip(TEXTS, found, strict=True):
        tokens = tokenizer([text], truncation=True, return_tensors="pt")
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state[0]
        # Alone there is nothing that fills up: the plain mean.
        np.testing.assert_allclose(feature, states.mean(dim=0), atol=1e-5)
    np.testing.assert_array_equal(encoder.features(TEXTS[::-1])[::-1], found)
    with pytest.raises(OptionError, match=r"expected texts that are not empty, found \['a', ' '\]"):
        encoder.features(["a", " "])


def test_pooling_by_hand() -> None:
    states = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    assert pool_tokens(states, mask, "mean").tolist() == [[1.0, 2.0], [9.0, 10.0]]
    assert pool_tokens(states, mask, "cls").tolist() == [[0.0, 1.0], [8.0, 9.0]]


def test_a_folder_says_how_it_pools(tmp_path: Path) -> None:
    folder = Path(sentences(tmp_path / "model"))
    (folder / "1_Pooling").mkdir()
    settings = folder / "1_Pooling" / "config.json"
    settings.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 5}))
    modules = [{"type": f"sentence_transformers.models.{name}"} for name in ("Transformer", "Pooling", "Normalize")]
    (folder / "modules.json").write_text(json.dumps(modules))
    encoder = load_text_encoder(str(folder))
    assert (encoder.facts.pooling, encoder.facts.max_tokens) == ("cls", 5)
    model, tokenizer = loaded(folder)
    tokens = tokenizer(TEXTS[:2], padding=True, truncation=True, max_length=5, return_tensors="pt")
    with torch.inference_mode():
        np.testing.assert_allclose(encoder.features(TEXTS[:2]), model(**tokens).last_hidden_state[:, 0], atol=1e-5)
    settings.write_text(json.dumps({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}))
    with pytest.raises(OptionError, match=r"1_Pooling/config.json: expected pooling by mean or cls, found max, mean"):
        load_text_encoder(str(folder))
    for content in ([1], "mean", None):
        settings.write_text(json.dumps(content))
        with pytest.raises(OptionError, match=r"1_Pooling/config.json: expected an object, found something else"):
            load_text_encoder(str(folder))
    for wrong in ({"0": {}}, ["Transformer"], None):
        (folder / "modules.json").write_text(json.dumps(wrong))
        with pytest.raises(OptionError, match=r"modules.json: expected a list of modules"):
            load_text_encoder(str(folder))
    (folder / "modules.json").write_text(json.dumps([*modules, {"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(OptionError, match="has a module 'Dense': expected Transformer, Pooling, Normalize only"):
        load_text_encoder(str(folder))


def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    folder = Path(sentences(tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"any program")
    with pytest.raises(
        OptionError, match=r"found pytorch_model.bin, a pickle, .* convert it once: python -c"
    ) as caught:
        load_text_encoder(str(folder))
    assert "\n" not in str(caught.value)


# ---- images ----


def test_the_image_tower_sees_what_its_folder_says(dataset: str, folders: Path) -> None:
    store = open_features(dataset, "clip")
    facts = store.info.encoder
    assert (facts.name, facts.feature_dim, facts.crop) == ("transformers:clip", DIM, "center")
    assert (facts.image_size, facts.resize, facts.interpolation) == (SIDE, SIDE, "bicubic")
    assert facts.mean == tuple(PREPROCESSING["image_mean"]) and facts.std == tuple(PREPROCESSING["image_std"])
    assert facts.weights_sha256 == load_text_encoder(str(folders / "clip")).facts.weights_sha256
    encoder = load_feature_encoder(FeatureOptions(dataset=dataset, encoder=str(folders / "clip"), l2=True))
    model, _ = loaded(folders / "clip")
    images = torch.randn(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        expected = model.visual_projection(model.vision_model(images).pooler_output)
        torch.testing.assert_close(encoder(images), torch.nn.functional.normalize(expected, dim=1))
    squeezed = load_feature_encoder(FeatureOptions(dataset=dataset, encoder=f"transformers:{folders / 'siglip'}"))
    assert (squeezed.facts.crop, squeezed.facts.interpolation) == ("resize", "bilinear")


def test_images_are_found_by_text(dataset: str, folders: Path) -> None:
    store = open_features(dataset, "clip")
    found = json.loads(run(index, "search", dataset, "--text", "a red shoe", "-k", "12", "--json").stdout)
    model, tokenizer = loaded(folders / "clip")
    with torch.inference_mode():
        tokens = tokenizer(["a red shoe"], return_tensors="pt")
        outputs = model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values=torch.zeros(1, 3, SIDE, SIDE),
        )
    direction = outputs.text_embeds[0].numpy()
    features = store.array()
    cosines = features @ direction / np.linalg.norm(features, axis=1)
    assert [record["key"] for record in found] == [f"s{row:04d}" for row in np.argsort(-cosines)]
    np.testing.assert_allclose([1 - record["distance"] for record in found], np.sort(cosines)[::-1], atol=1e-5)
    assert found[0]["query"] == "a red shoe"


def test_the_image_that_is_a_text_comes_first(dataset: str, folders: Path, tmp_path: Path) -> None:
    facts = open_features(dataset, "clip").info.encoder
    direction = load_text_encoder(str(folders / "clip")).features(["blue shirt"])[0]
    features = np.random.default_rng(0).normal(size=(12, DIM)).astype(np.float32)
    features[7] = 3 * direction
    write_features(dataset, "own", features, read_all([dataset]).keys.to_pylist(), encoder=facts, out=tmp_path / "own")
    asked = ["search", dataset, "--features", str(tmp_path / "own"), "--text", "blue shirt", "-k", "1", "--json"]
    [record] = json.loads(run(index, *asked, "--encoder", str(folders / "clip")).stdout)
    assert record["key"] == "s0007" and record["distance"] == pytest.approx(0, abs=1e-5)
    with pytest.raises(OptionError, match="do not say what made them: give --encoder FOLDER"):
        run(index, *asked)
    other = clip(tmp_path / "other", seed=5)
    with pytest.raises(PlanMismatchError, match=r"holds transformers:clip with weights \w{8}\.\.\., the features at"):
        run(index, *asked, "--encoder", other)
    with pytest.raises(PlanMismatchError, match="holds transformers:bert"):
        run(index, *asked, "--encoder", str(folders / "sentences"))


def test_features_without_a_text_tower_are_not_searched_by_text(tmp_path: Path) -> None:
    url = make_labeled(tmp_path / "dataset", [0, 1, 2])
    with_features(url, np.eye(3, dtype=np.float32))
    with pytest.raises(OptionError, match=r"are of test, which reads no texts: extract them with a dual encoder"):
        run(index, "search", url, "--text", "a red shoe")
    with pytest.raises(Exception, match="give --key, --image or --text"):
        run(index, "search", url, "--text", "a red shoe", "--key", "s0000")


# ---- what is refused ----


def test_a_folder_that_is_none_is_refused(folders: Path, tmp_path: Path) -> None:
    for name in (f"clip:{tmp_path / 'none'}", str(tmp_path / "none")):
        with pytest.raises(OptionError, match=r"on this machine, found no such folder \(.*nothing is downloaded"):
            load_text_encoder(name)
    with pytest.raises(OptionError, match="found a folder without it"):
        load_feature_encoder(FeatureOptions(dataset="d", encoder=f"clip:{tmp_path}"))
    with pytest.raises(OptionError, match="BertModel, which has no image tower: expected a dual encoder"):
        load_feature_encoder(FeatureOptions(dataset="d", encoder=str(folders / "sentences")))
    with pytest.raises(OptionError, match="brings its weights: leave --weights out"):
        load_feature_encoder(FeatureOptions(dataset="d", encoder=str(folders / "clip"), weights="w"))
    with pytest.raises(OptionError, match="sees images of 16 pixels, found --image-size 32"):
        load_feature_encoder(FeatureOptions(dataset="d", encoder=str(folders / "clip"), image_size=32))


def test_a_folder_that_lacks_files_is_refused(tmp_path: Path) -> None:
    folder = Path(clip(tmp_path / "model"))
    weights = folder / "model.safetensors"
    state = load_file(weights)
    save_file({n: t for n, t in state.items() if n != "visual_projection.weight"}, weights, metadata={"format": "pt"})
    with pytest.raises(OptionError, match=r"lacks 1 weight of CLIPModel \(visual_projection.weight, \.\.\.\)"):
        load_text_encoder(str(folder))
    weights.write_bytes(b"no weights")
    with pytest.raises(OptionError, match=r"cannot be loaded as a network of transformers \("):
        load_text_encoder(str(folder))
    save_file(state, weights, metadata={"format": "pt"})
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(OptionError, match=r"has no preprocessor_config\.json, which says how images are prepared"):
        load_feature_encoder(FeatureOptions(dataset="d", encoder=str(folder)))
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(OptionError, match=r"has no tokenizer that can be loaded \("):
        load_text_encoder(str(folder))
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(OptionError, match=r"has no tokenizer: expected tokenizer\.json or a vocabulary"):
        load_text_encoder(str(folder))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Preprocessing(image_size=16, resize=16, interpolation="bicubic")),
        ({"size": 20, "crop_size": 16, "resample": 2}, Preprocessing(image_size=16, resize=20)),
        ({"do_center_crop": False, "size": 16}, Preprocessing(crop="resize", image_size=16, resize=16)),
        ({"crop_size": {"height": 16, "width": 8}}, r"found something else \(size is 16 x 8\)"),
        ({"do_resize": False}, "do_resize is false"),
        ({"rescale_factor": 1.0}, r"rescale_factor is 1\.0"),
        ({"size": None}, "expected squares that are resized"),
    ],
)
def test_preprocessing_is_read_or_refused(changes: dict[str, Any], expected: Any, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**PREPROCESSING, **changes}))
    if isinstance(expected, str):
        with pytest.raises(OptionError, match=expected):
            read_preprocessing(tmp_path)
        return
    found = read_preprocessing(tmp_path)
    assert (found.crop, found.image_size, found.resize) == (expected.crop, expected.image_size, expected.resize)


# ---- classes ----


@pytest.fixture
def classes(tmp_path: Path) -> str:
    path = tmp_path / "classes.csv"
    path.write_text("name,definition,id\nred shoe,a blue fish,c1\nred shoe,a blue shirt,c2\ntench,the fish,c3\n")
    return str(path)


def test_one_feature_a_class(classes: str, folders: Path, tmp_path: Path) -> None:
    out, folder = str(tmp_path / "out"), str(folders / "sentences")
    asked = ["--classes", classes, "--encoder", folder, "--out", out]
    record = json.loads(run(text_features, *asked, "--json").stdout)
    found = open_class_texts(out)
    assert found.wnids == ("c1", "c2", "c3") and found.class_indexes == (0, 1, 2)
    assert found.texts[0] == ("red shoe, a blue fish",) and found.settings["prompts"] == ["c, d_c"]
    encoder = load_text_encoder(folder)
    assert found.encoder == encoder.facts and record["encoder"]["pooling"] == "mean"
    expected = encoder.features([own[0] for own in found.texts])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.features, expected, atol=1e-6)
    cosines = expected @ expected.T - 2 * np.eye(3)
    assert [one["nearest_wnid"] for one in record["nearest"]] == [found.wnids[row] for row in cosines.argmax(axis=1)]
    assert record["nearest"][0]["cosine"] == pytest.approx(cosines[0].max(), abs=1e-5)

    with pytest.raises(AlreadyExistsError, match=r"texts\.json is there already: give replace \(--replace\)"):
        run(text_features, *asked)
    lines = run(text_features, *asked, "--prompt", "a photo of a c", "--prompt", "c", "--replace").stdout.splitlines()
    assert lines[0] == f"3 classes: features of 16 numbers by transformers:bert in {out}"
    assert lines[1] == "nearest classes:" and lines[3].split()[:2] == ["1.000", "c1"], "c1 and c2 have one name"
    found = open_class_texts(out)
    both = [encoder.features([own[place] for own in found.texts]) for place in range(2)]
    mean = sum(one / np.linalg.norm(one, axis=1, keepdims=True) for one in both)
    np.testing.assert_allclose(found.features, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-5)


def test_class_texts_that_cannot_be_made_or_read(classes: str, folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ["--classes", classes, "--encoder", str(folders / "clip"), "--out", str(out)]
    with pytest.raises(PromptError, match="expected a scene for b"):
        run(text_features, *asked, "--prompt", "c inside b")
    with pytest.raises(OptionError, match="prompt templates are different ones"):
        run(text_features, *asked, "--prompt", "c", "--prompt", "c")
    with pytest.raises(DatasetError, match=r"has no texts\.json: `shardtools text-features` makes it"):
        open_class_texts(out)
    run(text_features, *asked)
    content = (out / "texts.json").read_text()
    (out / "texts.json").write_text(content.replace('"format_version": 1', '"format_version": 7'))
    with pytest.raises(FormatVersionError, match="reads shardtools-class-texts version 1"):
        open_class_texts(out)
    (out / "texts.json").write_text(content)
    with open(out / "texts.npy", "ab") as stream:
        stream.write(b"more")
    with pytest.raises(DatasetError, match=r"is not a file of class texts \(texts\.npy was altered\)"):
        open_class_texts(out)
