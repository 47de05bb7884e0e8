"""Similarity of classes, and gaps by it."""

from pathlib import Path

import numpy as np
import pytest

from shardtools.errors import OptionError, TaxonomyError
from shardtools.evaluation.variation import SimilarityPoint, VariationOptions, measure
from shardtools.evaluation.variation.similarity import (
    class_similarities,
    similarity_bins,
    similarity_correlation,
    wu_palmer,
)
from shardtools.features import ClassTexts, TextEncoderFacts
from shardtools.features.class_texts import write_class_texts
from shardtools.storage import open_storage
from tests.helpers.planted_gaps import make_planted, planted_rows
from tests.helpers.rendered_datasets import WNIDS

DOG, CAT = "n02084071", "n02121620"


def test_wu_palmer_is_that_of_nltk() -> None:
    # WordNet::Similarity and nltk give 0.857 for dog and cat, whose common ancestor is carnivore.
    assert wu_palmer(DOG, CAT) == pytest.approx(0.857142857)
    assert wu_palmer(DOG, DOG) == 1
    found, name = class_similarities(WNIDS, None)
    assert name.startswith("Wu and Palmer")
    assert (found == found.T).all()
    chair = found[WNIDS.index("n03001627")]
    assert chair[WNIDS.index("n04256520")] > chair[WNIDS.index("n04379243")] > 0


def point(wnid: str, similarity: float, gap: float, varied: str = "pose") -> SimilarityPoint:
    return SimilarityPoint(varied=varied, repeat=0, wnid=wnid, nearest="n", similarity=similarity, gap=gap)


def test_bins_hold_quantiles_and_the_correlation_is_of_ranks() -> None:
    points = [point(f"n{number}", number / 8, -1 + number / 10) for number in range(8)]
    low, high = similarity_bins(points, 2)
    assert (low.num_points, high.num_points) == (4, 4)
    assert (low.gap, high.gap) == pytest.approx((-0.85, -0.45))
    assert low.standard_error == pytest.approx(np.std([0, 0.1, 0.2, 0.3], ddof=1) / 2)
    assert (low.least, high.greatest) == (0, 7 / 8)
    found = similarity_correlation(points, seed=0)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))
    both = similarity_bins([*points, *(point(one.wnid, one.similarity, 0, "size") for one in points)], 2)
    assert [one.varied for one in both] == ["pose", "pose", "size", "size", "", ""]
    assert both[4].gap == pytest.approx(-0.425)


def test_equal_similarities_are_one_bin_without_a_correlation() -> None:
    points = [point("a", 0.5, -0.2), point("b", 0.5, -0.4)]
    [only] = similarity_bins(points, 4)
    assert (only.num_points, only.gap) == (2, pytest.approx(-0.3))
    assert similarity_correlation(points, seed=0) is None


def test_gaps_stand_where_classes_are_in_no_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_wnid: str) -> tuple[str, ...]:
        raise TaxonomyError("no such synset")

    monkeypatch.setattr("shardtools.evaluation.variation.similarity._parents", refuse)
    url = make_planted(tmp_path / "rooms", planted_rows())
    options = VariationOptions(datasets=(url,), features=("own",), setting="classes", num_folds=2, factors=("pose",))
    [model] = measure(options).models
    assert model.points == model.bins == ()
    assert "no similarity of classes: no such synset" in model.notes
    assert model.figure("variation_gap", varied="pose", group="unseen", measured="pose") is not None


def write_texts(folder: Path, wnids: tuple[str, ...], features: np.ndarray) -> str:
    facts = TextEncoderFacts(
        name="test", weights_sha256="0" * 64, tokenizer_sha256="0" * 64, feature_dim=2, pooling="mean", max_tokens=8
    )
    texts = ClassTexts(
        wnids=wnids,
        class_indexes=tuple(range(len(wnids))),
        texts=tuple((wnid,) for wnid in wnids),
        features=features.astype(np.float32),
        encoder=facts,
        settings={},
    )
    write_class_texts(open_storage(folder), texts)
    return str(folder)


def test_texts_go_before_the_tree_and_unseen_gaps_fall_into_their_bins(tmp_path: Path) -> None:
    # Bed and chair are alike, sofa and table are alike.
    angles = np.array([0.0, 0.1, 1.5, 1.6])
    texts = write_texts(tmp_path / "texts", WNIDS, np.stack([np.cos(angles), np.sin(angles)], axis=1))
    found, name = class_similarities(WNIDS, texts)
    assert name == "cosine of texts by test"
    assert found[0] == pytest.approx(np.cos(angles))
    few = write_texts(tmp_path / "few", WNIDS[:3], np.eye(3, 2))
    with pytest.raises(OptionError, match="no text of class n04379243"):
        class_similarities(WNIDS, few)
    url = make_planted(tmp_path / "rooms", planted_rows(num_classes=4))
    options = VariationOptions(
        datasets=(url,),
        features=("own",),
        setting="classes",
        num_folds=2,
        halves=4,
        C=100.0,
        factors=("background",),
        text_features=texts,
        bins=1,
    )
    result = measure(options)
    [model] = result.models
    assert len(model.points) == 8
    for one in model.points:
        assert one.similarity == pytest.approx(found[WNIDS.index(one.wnid), WNIDS.index(one.nearest)])
    [only] = model.bins
    assert only.gap == pytest.approx(-1 / 2)
    rows = [row for row in result.results if "similarity" in row.split]
    assert [row.value for row in rows] == pytest.approx([-1 / 2])
