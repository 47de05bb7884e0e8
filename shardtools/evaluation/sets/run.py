"""`shardtools eval ood`: what is missing is predicted, every set is judged, one table comes of it.

Owns the order, and how each set's files reach the model: those that have the size at which they are to be judged go in
as they are, all others as the model's own preprocessing has it. The price of asking `predict` about every model: it
loads the model to compare its weights with those of predictions that are there; `--no-predict` does without, and holds
the predictions of all sets to the same weights instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from shardtools.errors import DatasetError
from shardtools.evaluation.model_options import ModelOptions
from shardtools.evaluation.predictions import (
    Predictions,
    PredictOptions,
    open_predictions,
    predict,
    predictions_name,
    require_prediction_libraries,
    shortened,
)
from shardtools.evaluation.sets.joining import check_not_corrupted, view_of
from shardtools.evaluation.sets.judging import SetInputs, judge_set
from shardtools.evaluation.sets.ood_options import OodOptions, SetRequest
from shardtools.evaluation.sets.rows import ModelOnSet, OodTable, with_gaps
from shardtools.execution import Progress, ignore
from shardtools.options import default_of

_ALL_LOGITS = frozenset({"cues", "categories", "sequences"})
"""Kinds that need every logit, as restriction does."""

_OTHER_LABELS = frozenset({"cues", "categories", "backgrounds", "sequences"})
"""Kinds whose classes are no classes of a model, or are not asked for."""


def evaluate_ood(
    options: OodOptions,
    *,
    report: Callable[[str], None] = lambda _line: None,
    shown: Callable[[], AbstractContextManager[Progress]] | None = None,
) -> OodTable:
    """Judges each model on each set.

    Args:
        options: Which.
        report: Called with a line before each run of predictions.
        shown: Makes what shows the messages of one run of predictions.

    Raises:
        OptionError: A model's classes do not fit, files would be resized twice, or a set needs a file.
        DatasetError: A dataset, or predictions of it, are not what a set needs.
        RunError: The run was stopped; called again it goes on.
    """
    for request in options.requests:
        if options.on_the_fly and request.test_set.kind == "corrupted":
            check_not_corrupted(request.dataset)
    pairs: list[ModelOnSet] = []
    for model in options.models:
        if options.predict:
            for wanted in _runs(model, options):
                require_prediction_libraries(wanted)
                report(f"{model} on {', '.join(wanted.datasets)}")
                with (shown or (lambda: nullcontext(ignore)))() as progress:
                    predict(wanted, progress=progress)
        pairs += _judged(model, options)
    return OodTable(pairs=with_gaps(pairs))


def prediction_options(model: str, request: SetRequest, options: OodOptions) -> PredictOptions:
    """What is predicted for one set.

    Predictions that depend on more than the model have a name that says so: those of files that are taken as they are,
    of a protocol, of a split.

    Args:
        model: As `ModelOptions.model`.
        request: The set.
        options: How.
    """
    test_set = request.test_set
    is_corrupted_here = options.on_the_fly and test_set.kind == "corrupted"
    as_is = test_set.is_native and not is_corrupted_here and not options.force_resize and options.protocol is None
    corruption = options.corruption if is_corrupted_here else ()
    needs_all = test_set.is_restricted or test_set.kind in _ALL_LOGITS
    # Of a protocol's own sets each may be prepared in its own way.
    protocol = () if options.protocol is None else (options.protocol, test_set.name.replace("-", "_"))
    own = ("as_is",) if as_is else ("resized",) if options.force_resize else ()
    name = "_".join(
        (predictions_name(_called(model, options.models), corruption), *protocol, *own, *_of_split(options.split))
    )
    return PredictOptions(
        datasets=(request.dataset,),
        model=ModelOptions(
            model=model,
            weights=options.weights,
            pretrained=options.pretrained,
            protocol=options.protocol,
            protocol_set=None if options.protocol is None else test_set.name,
            crop="resize" if as_is else None,
            precision=options.precision,
            force_resize=options.force_resize,
        ),
        name=options.name or shortened(name),
        split=options.split,
        labels_by="none" if test_set.kind in _OTHER_LABELS else "wnid",
        corruption=corruption,
        seed=options.seed if corruption else default_of(PredictOptions, "seed"),
        logits="all" if needs_all else None,
        batch_size=options.batch_size,
        num_processes=options.num_processes,
        threads=options.threads,
        compute_threads=options.compute_threads,
        device=options.device,
        replace=options.replace,
    )


def _called(model: str, models: tuple[str, ...]) -> str:
    """What predictions are named after: the model, with its folder where another one has its name."""
    is_alone = [predictions_name(one) for one in models].count(predictions_name(model)) == 1
    return model if is_alone else "_".join(Path(model).parts[-2:])


def _of_split(split: str | None) -> tuple[str, ...]:
    """What the name of predictions says of a split, in letters that it may have: "val" of "Val"."""
    plain = re.sub(r"[^a-z0-9]+", "_", (split or "").lower()).strip("_")
    return (plain,) if plain else ()


def shown_names(models: tuple[str, ...]) -> dict[str, str]:
    """Model as it was given -> its name in tables: of a training run the folder's, unless two have the same."""
    short = {model: Path(model).name if "/" in model.rstrip("/") else model for model in models}
    return {model: name if list(short.values()).count(name) == 1 else model for model, name in short.items()}


def _runs(model: str, options: OodOptions) -> list[PredictOptions]:
    """What is predicted, in as few runs as loads of the model: sets that are prepared alike go together."""
    found: dict[PredictOptions, list[str]] = {}
    for request in options.requests:
        wanted = prediction_options(model, request, options)
        found.setdefault(replace(wanted, datasets=("any",)), []).append(request.dataset)
    return [replace(wanted, datasets=tuple(dict.fromkeys(datasets))) for wanted, datasets in found.items()]


def _judged(model: str, options: OodOptions) -> Iterator[ModelOnSet]:
    inputs = SetInputs(
        real_labels=options.real_labels,
        factors=options.imagenet_x,
        prototypes=options.imagenet_x_prototypes,
        in9_map=options.in9_map,
    )
    first: Predictions | None = None
    for request in options.requests:
        wanted = prediction_options(model, request, options)
        predictions = open_predictions(request.dataset, wanted.overlay_name)
        first = first or predictions
        if predictions.model.weights_sha256 != first.model.weights_sha256:
            raise DatasetError(
                f"{predictions.overlay.url} was made with other weights ({predictions.model.name}) than "
                f"{first.overlay.url} ({first.model.name}), and both are taken for {model}: predict again without "
                "--no-predict, with --replace"
            )
        view = view_of(predictions, request.test_set, force=options.force_resize)
        yield ModelOnSet(
            model=shown_names(options.models)[model],
            request=request,
            judgement=judge_set(request.test_set, view, inputs, request.part),
            preprocessing=view.preprocessing,
            source=view.source,
        )
