"""How good the models are at what they were pretrained on: a number of the study file, or a row of results.

Owns the look-up, so that an accuracy measured here or published is named where it is from and not typed again.
"""

from __future__ import annotations

from statistics import fmean

from shardtools.errors import OptionError
from shardtools.evaluation.results import REFERENCE_NAMES, read_results, reference_results
from shardtools.transfer.study import Study, StudyModel

METRIC = "top1_accuracy"


def accuracies(study: Study) -> dict[str, float | None]:
    """Name of a model -> its accuracy in pretraining, 0 to 1; `None` where the study has none.

    Raises:
        OptionError: A row that the study names is not there, or there are several that differ in more than the seed.
        NotFoundError: There is no such file.
        SourceError: It is no table of results.
    """
    return {model.name: _accuracy(study, model) for model in study.models}


def _accuracy(study: Study, model: StudyModel) -> float | None:
    if not model.accuracy_from:
        return None if model.accuracy is None else float(model.accuracy)
    address, wanted = model.accuracy_from, model.accuracy_model or model.name
    rows = reference_results(address) if address in REFERENCE_NAMES else read_results([address])
    measured = [row for row in rows if row.metric == METRIC and row.dataset == study.pretraining.lower()]
    own = [row for row in measured if row.model == wanted and not row.split]
    if not own:
        names = ", ".join(sorted({row.model for row in measured})[:5])
        raise OptionError(
            f"model {model.name}: {address} has no {METRIC} of {wanted!r} on {study.pretraining.lower()!r}, expected "
            f"one of {names or 'none there'}: give accuracy_model, or accuracy itself"
        )
    if len({row.protocol for row in own}) > 1:
        raise OptionError(
            f"model {model.name}: {address} has {METRIC} of {wanted!r} by several protocols: give accuracy itself"
        )
    return fmean(row.value for row in own)
