"""The card of a dataset, its README.md: facts, classes, licenses, and text that is no markup."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.describe import DescribeOptions
from shardtools.describe.card import cell, scalar, table
from shardtools.describe.facts import MAX_VALUES
from shardtools.sample import Sample
from tests.helpers.described_datasets import SAID, described, front_matter, make, sample


def test_the_card(tmp_path: Path) -> None:
    make(tmp_path, parent="f" * 64)
    _, files = described(tmp_path, SAID)
    card = files["README.md"].decode()
    assert front_matter(files["README.md"]) == {
        "pretty_name": "Tiny photos",
        "license": "cc-by-4.0",
        "task_categories": ["image-classification"],
        "size_categories": ["n<1K"],
        "tags": ["shardtools", "croissant", "webdataset"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": "shards/train-*.tar"},
                    {"split": "val", "path": "shards/val-*.tar"},
                ],
            }
        ],
    }
    for line in (
        "| train | 10 | 8 | 0.01 MB |",
        "| train | undecodable | 2 |",
        "Images by format: 11 jpg. Width 48, height 36 pixels.",
        "| 0 | n01440764 | tench, Tinca tinca | 4 |",
        "| 2 | &lt;b&gt;\\|\\`x\\`\\\\ | &lt;b&gt;\\|\\`x\\`\\\\ | 4 |",
        f"| parent: sha256 of the dataset.json it was derived from | {'f' * 64} |",
        "- Creator: A. Name",
        "@misc{photos}",
    ):
        assert line in card.splitlines()
    for tool in ("webdataset", "load_dataset", "fn.readers.webdataset", "wids", "shardtools sql", "duckdb"):
        assert tool in card
    assert "<b>" not in card


def test_the_card_of_a_generated_dataset(tmp_path: Path) -> None:
    made = {
        "model_id": "fashion-sd", "prompt_template": "c, d_c | <b>", "guidance_scale": 2.0,
        "num_inference_steps": 50, "scheduler": "PNDMScheduler", "prompt": "not listed",
    }  # fmt: skip
    samples = [
        sample(number, source="generated", provenance={**made, "seed": number, "jpeg_quality": number % 90 + 1})
        for number in range(MAX_VALUES + 10)
    ]
    make(tmp_path, {("train", 0): samples}, kind="generated", scale=10)
    _, files = described(tmp_path)
    lines = files["README.md"].decode().splitlines()
    for line in (
        "| source | generated |",
        "| model\\_id | fashion-sd |",
        "| prompt\\_template | c, d\\_c \\| &lt;b&gt; |",
        "| guidance\\_scale | 2.0 |",
        "| num\\_inference\\_steps | 50 |",
        "| scheduler | PNDMScheduler |",
        "| jpeg\\_quality | many |",
        "| scale (clones) | 10 |",
    ):
        assert line in lines
    assert "synthetic" in front_matter(files["README.md"])["tags"]
    assert not any("not listed" in line for line in lines)


def test_the_card_of_a_rendered_dataset_names_who_made_what_it_shows(tmp_path: Path) -> None:
    def rendered(number: int, **facts: str | None) -> Sample:
        known = {"object_id": f"chair{number}", "mesh_license": "CC-BY-4.0", "mesh_author": "A. Maker", "grid": "all"}
        photo = {"background": f"sky/{number % 2}", "background_license": "CC0-1.0", "background_author": "<b>"}
        return sample(number, source="rendered", provenance={**known, **photo, **facts})

    samples = [rendered(0), rendered(1), rendered(2, mesh_license=None, mesh_author=None)]
    make(tmp_path, {("train", 0): samples}, kind="rendered")
    _, files = described(tmp_path)
    lines = files["README.md"].decode().splitlines()
    for line in (
        "| mesh | CC-BY-4.0 | A. Maker | 2 | 2 |",
        "| mesh | not stated | not stated | 1 | 1 |",
        "| photograph | CC0-1.0 | &lt;b&gt; | 2 | 3 |",
        "- mesh by A. Maker, CC-BY-4.0: chair0, chair1",
        "- mesh, no license stated: chair2",
        "- photograph by &lt;b&gt;, CC0-1.0: sky/0, sky/1",
        "| grid | all |",
    ):
        assert line in lines
    assert "synthetic" in front_matter(files["README.md"])["tags"]


def test_a_dataset_without_an_image(tmp_path: Path) -> None:
    make(tmp_path, {("train", 0): [sample(4, wnid=None, class_index=None)]})
    _, files = described(tmp_path)
    assert list(files) == ["croissant.json", "README.md"]
    assert "configs" not in front_matter(files["README.md"])
    assert "0 images (real), 0.00 MB" in files["README.md"].decode()


def test_images_without_a_label_are_counted(tmp_path: Path) -> None:
    make(tmp_path, {("train", 0): [sample(0), sample(1, wnid=None, class_index=None)]})
    assert "1 class; 1 image without a label.\n" in described(tmp_path)[1]["README.md"].decode()


def test_hundreds_of_classes_are_not_all_on_the_card(tmp_path: Path) -> None:
    make(tmp_path, {("train", 0): [sample(0, key=f"k{n}", wnid=f"c{n}", class_index=n) for n in range(120)]})
    card = described(tmp_path)[1]["README.md"].decode()
    assert "120 classes. The first 20 of them:" in card
    assert card.count("| c1") == 2 * 11


def test_a_license_by_address(tmp_path: Path) -> None:
    make(tmp_path)
    _, files = described(tmp_path, DescribeOptions(license="https://example.org/terms"))
    found = front_matter(files["README.md"])
    assert (found["license"], found["license_link"]) == ("other", "https://example.org/terms")


@given(text=st.text(max_size=60))
@settings(max_examples=80)
def test_any_text_is_one_yaml_scalar_and_one_cell(text: str) -> None:
    loaded = yaml.safe_load(f"key: {scalar(text)}\n")["key"]
    assert len(loaded) == len(text)
    assert all(one == other or other == " " for one, other in zip(text, loaded, strict=True))
    row = table(("a",), [(text,)]).splitlines()[2]
    assert not re.search(r"(?<!\\)(\\\\)*[|]", cell(text))
    assert "<" not in row and row.startswith("| ") and row.endswith(" |")
