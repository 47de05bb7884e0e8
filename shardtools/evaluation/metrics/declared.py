"""What the metrics are called, what their values mean, and which way is better.

Owns the names that rows of results have under `metric`, and how a value is printed. Values are stored as they are
computed: a share is 0 to 1 in every file and every function, and only what people read is in percent. The price: a
published "76.38" is 0.7638 here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFacts:
    """What is known of a metric.

    Attributes:
        meaning: One line.
        is_share: Whether it is a part of one, which is printed in percent.
        better: "higher", "lower", or "" where neither is.
        short: Title of its column.
    """

    meaning: str
    is_share: bool = True
    better: str = "higher"
    short: str


METRICS: dict[str, MetricFacts] = {
    "top1_accuracy": MetricFacts(short="top-1", meaning="the likeliest class is the given one"),
    "top5_accuracy": MetricFacts(short="top-5", meaning="the given class is among the five likeliest"),
    "top1_deviation": MetricFacts(
        short="top-1 ±", better="", meaning="standard deviation (of the population) of top-1 accuracy over seeds"
    ),
    "mean_class_accuracy": MetricFacts(short="mean class acc.", meaning="accuracy of each class, mean of the classes"),
    "quadratic_weighted_kappa": MetricFacts(
        short="QWK", is_share=False, meaning="agreement of grades beyond chance, by squared distance"
    ),
    "macro_f1": MetricFacts(short="macro F1", meaning="F1 of each class, mean of the classes"),
    "roc_auc": MetricFacts(
        short="ROC AUC", meaning="how often a sample of a class scores higher than another, mean of the classes"
    ),
    "average_precision": MetricFacts(short="AP", meaning="mean precision over the samples of a class"),
    "adversarial_accuracy": MetricFacts(short="adv. acc.", meaning="top-1 accuracy under an attack"),
    "rms_calibration_error": MetricFacts(
        short="RMS calib.", better="lower", meaning="root of the mean squared gap of confidence and accuracy, by bins"
    ),
    "rms_calibration_error_as_published": MetricFacts(
        short="RMS calib. (as published)", better="lower", meaning="the same as ImageNet-A's code has it"
    ),
    "mad_calibration_error": MetricFacts(
        short="MAD calib.", better="lower", meaning="mean absolute gap of confidence and accuracy, by bins"
    ),
    "mad_calibration_error_as_published": MetricFacts(
        short="MAD calib. (as published)", better="lower", meaning="the same as ImageNet-A's code has it"
    ),
    "expected_calibration_error": MetricFacts(
        short="ECE", better="lower", meaning="mean absolute gap over 15 bins of equal width"
    ),
    "soft_f1": MetricFacts(short="soft F1", meaning="F1 of doubt as a detector of wrong answers"),
    "aurra": MetricFacts(short="AURRA", meaning="mean accuracy of the most confident answers, over all their numbers"),
    "aurra_as_published": MetricFacts(
        short="AURRA (as published)", meaning="the same, ties in the order of a sort, as ImageNet-A's code has it"
    ),
    "error": MetricFacts(short="error", better="lower", meaning="share of wrong answers"),
    "mean_corruption_error": MetricFacts(
        short="mCE", better="lower", meaning="error over AlexNet's, mean of 15 corruptions"
    ),
    "relative_mean_corruption_error": MetricFacts(
        short="rel. mCE", better="lower", meaning="rise of error by corruption over AlexNet's rise"
    ),
    "mean_error": MetricFacts(short="mean error", better="lower", meaning="mean error of corruptions and severities"),
    "clean_error": MetricFacts(short="clean error", better="lower", meaning="error without corruption"),
    "flip_probability": MetricFacts(
        short="flips", better="lower", meaning="share of frames whose answer differs from the one before"
    ),
    "mean_flip_rate": MetricFacts(short="mFR", better="lower", meaning="flip probability over AlexNet's, mean"),
    "mean_top5_distance": MetricFacts(short="mT5D", better="lower", meaning="top-5 distance over AlexNet's, mean"),
    "top5_distance": MetricFacts(
        short="T5D", is_share=False, better="lower", meaning="how far the five likeliest classes move between frames"
    ),
    "zipf_distance": MetricFacts(
        short="Zipf", is_share=False, better="lower", meaning="the same over all ranks, weighted by one over the rank"
    ),
    "shape_bias": MetricFacts(short="shape bias", better="", meaning="shape decisions of shape and texture decisions"),
    "cue_accuracy": MetricFacts(short="shape or texture", meaning="decisions for the shape or the texture of all"),
    "error_ratio": MetricFacts(
        short="error ratio", is_share=False, better="lower", meaning="error where a factor is on, over the error of all"
    ),
    "background_gap": MetricFacts(
        short="BG-gap", better="lower", meaning="accuracy on backgrounds of the class less that on random ones"
    ),
    "variation_gap": MetricFacts(
        short="gap",
        meaning="accuracy where a factor varies less that on canonical pictures of the same held-out objects",
    ),
    "variation_gap_change": MetricFacts(short="gap change", meaning="the gap less that of the model without variation"),
    "variation_gap_from_baseline": MetricFacts(
        short="gap from no variation",
        meaning="accuracy where a factor varies less the canonical accuracy of the model without variation",
    ),
    "sparsity": MetricFacts(short="sparsity", better="", meaning="values of features near 0, at length 1"),
    "intra_class_distance": MetricFacts(
        short="distance", is_share=False, better="", meaning="mean distance of two samples of a class, at length 1"
    ),
    "redundancy": MetricFacts(
        short="redundancy", is_share=False, better="", meaning="mean absolute correlation of two dimensions"
    ),
    "coding_length": MetricFacts(
        short="coding", is_share=False, better="", meaning="nats that a sample needs, eps^2 = 0.5"
    ),
    "pearson": MetricFacts(short="Pearson", is_share=False, better="", meaning="linear correlation"),
    "spearman": MetricFacts(short="Spearman", is_share=False, better="", meaning="correlation of ranks"),
    "slope": MetricFacts(short="slope", is_share=False, better="", meaning="points of one accuracy a point of another"),
    "normalized_slope": MetricFacts(
        short="norm. slope", is_share=False, better="", meaning="the slope with metrics on a scale of 0 to 1"
    ),
    "spread_slope": MetricFacts(
        short="spread slope", is_share=False, better="", meaning="the slope with networks from the worst to the best"
    ),
    "log_odds": MetricFacts(short="log odds", is_share=False, meaning="logarithm of right over wrong"),
}
"""Name of a metric -> what is known of it."""


def printed_value(metric: str, value: float | None) -> str:
    """A value as people read it: shares in percent with two decimals, others with three; "-" for none.

    Args:
        metric: Any name; one that is not in `METRICS` is no share.
        value: As stored.
    """
    if value is None:
        return "-"
    facts = METRICS.get(metric)
    return f"{100 * value:.2f}" if facts is not None and facts.is_share else f"{value:.3f}"
