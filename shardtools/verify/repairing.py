"""`repair`: finds the bad shards of a generated dataset and makes only those again.

Owns what is made again and in which order: whatever can fail without a write (the plan, the model) is looked up first,
then shard after shard, `dataset.json` last and only where its content changes. The price of repairing under the lease:
no run may extend the dataset meanwhile.
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from shardtools.dataset import Lease, PlanFile, acquire, commit_dataset
from shardtools.errors import DatasetBusyError, DatasetError, PlanError
from shardtools.execution import EventLog, Progress
from shardtools.generation import generator_settings, rebuild_plan
from shardtools.generation.plan import TEMPLATE_SETTING, GeneratorSettings, Plan
from shardtools.rendering import RENDERED
from shardtools.shards import parse_part_path
from shardtools.storage import open_storage
from shardtools.verify.checks import verify_parts
from shardtools.verify.options import RepairOptions, VerifyOptions
from shardtools.verify.part_check import load_part
from shardtools.verify.regenerator import Regenerator, RegeneratorSetup, find_model, on_device
from shardtools.verify.remake import RepairedShard, holds_all_rows, read_back, remake_from_plan, remake_tars
from shardtools.verify.report import PART_LOST, SHARD_LOST, Problem, VerifyReport
from shardtools.verify.rows import attempt_of
from shardtools.verify.state import State, read_state

_COMMIT_KINDS = ("commit", "compact", "part-content")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """The result of `repair`.

    Attributes:
        repaired: The shards that were made again.
        committed: Whether `dataset.json` was written anew.
        report: What is still wrong.
    """

    repaired: tuple[RepairedShard, ...]
    committed: bool
    report: VerifyReport


def repair(
    url: str | os.PathLike[str], options: RepairOptions | None = None, *, progress: Progress | None = None
) -> RepairReport:
    """Checks the generated dataset at `url` and makes its bad shards again; removes nothing.

    Args:
        url: A folder or s3:// address.
        options: Model and device.
        progress: As in `verify`, for the check before the repair.

    Raises:
        DatasetError: There is no dataset, or its images are real.
        DatasetBusyError: Another run writes to it.
        ModelError: The model that made it is not here.
        PlanError: A part is lost and the plan cannot be rebuilt.
        RunError: Generating failed; what is repaired stays, and the same command goes on.
    """
    options = options or RepairOptions()
    storage = open_storage(url)
    _refuse_real(read_state(storage))
    storage.check_writable()
    with acquire(storage, purpose="repair") as lease:
        storage.clean_temporary()
        # Again, now that nobody else writes.
        state = read_state(storage)
        checks = VerifyOptions(num_workers=options.num_workers)
        before = verify_parts(state, checks, progress=progress)
        if before.sound:
            return RepairReport(repaired=(), committed=False, report=before)
        repaired = _Repair(state, before.problems, options, lease).run()
        changed = [one for one in repaired if not one.identical]
        committed = False
        if changed or any(problem.kind in _COMMIT_KINDS for problem in before.problems):
            committed = _commit(read_state(storage))
        parts = {one.part for one in repaired}
        # Only what was made again is read again; the rest was read a moment ago, and its problems are carried over.
        after = verify_parts(read_state(storage), checks, only_shards_of=parts)
    return RepairReport(
        repaired=tuple(repaired), committed=committed, report=_carry_over(before.problems, after, parts)
    )


def bad_files(problems: tuple[Problem, ...]) -> dict[str, set[str]]:
    """Part -> its files that are to be made again: the part itself, tars, or both."""
    found: dict[str, set[str]] = {}
    for problem in problems:
        if problem.part is not None and problem.kind in PART_LOST | SHARD_LOST:
            found.setdefault(problem.part, set()).add(problem.path)
    return found


class _Repair:
    """One repair of a dataset whose problems are known."""

    def __init__(self, state: State, problems: tuple[Problem, ...], options: RepairOptions, lease: Lease) -> None:
        self._state = state
        self._storage = state.storage
        self._bad = bad_files(problems)
        self._options = options
        self._lease = lease
        self._listed = state.listed_shards()
        self._entries = {entry.path: entry for entry in state.info.parts} if state.info else {}
        self._log = EventLog(self._storage, f"repair-{uuid.uuid4().hex[:8]}")

    def run(self) -> list[RepairedShard]:
        """Makes the bad shards again, in the order of shards."""
        # What can be read back needs neither plan nor model, so only what cannot makes them necessary.
        lost = [path for path, files in self._bad.items() if path in files]
        to_read_back = {path for path in lost if self._can_read_back(path)}
        needs_order = any(len(self._listed[path]) > 1 for path in to_read_back)
        plan = self._plan() if needs_order or set(lost) - to_read_back else None
        repaired = []
        with self._regenerator(needed=set(self._bad) != to_read_back) as regenerator:
            for path in sorted(self._bad, key=parse_part_path):
                # Before each shard, as generating takes long.
                if self._lease.lost:
                    raise DatasetBusyError(
                        f"{self._storage.url}: another run took the dataset over: let it finish, then run the same "
                        "command again"
                    )
                if regenerator is None or path in to_read_back:
                    one = self._read_back(path, plan)
                else:
                    one = self._generate(path, path in lost, plan, regenerator)
                self._log.add("repair", part=one.part, files=list(one.files), how=one.how, identical=one.identical)
                repaired.append(one)
        self._log.flush()
        return repaired

    def _can_read_back(self, path: str) -> bool:
        entry, shards = self._entries.get(path), self._listed.get(path, [])
        return entry is not None and self._bad[path] == {path} and holds_all_rows(self._storage, shards, entry.num_rows)

    def _read_back(self, path: str, plan: Plan | None) -> RepairedShard:
        order = [row.key for row in plan.shard_rows(parse_part_path(path)[1])] if plan else None
        return read_back(self._storage, self._entries[path], self._listed[path], order)

    def _generate(self, path: str, is_lost: bool, plan: Plan | None, regenerator: Regenerator) -> RepairedShard:
        if is_lost and plan is not None:
            return remake_from_plan(
                self._storage,
                path,
                plan,
                regenerator,
                latest_attempt=self._latest_attempt(),
                entry=self._entries.get(path),
                listed=self._listed.get(path, []),
            )
        part, problems = load_part(self._storage, path, self._entries.get(path))
        if part is None:
            raise DatasetBusyError(f"{problems[0].message} (it changed during the repair): run the same command again")
        batch_size = self._settings().batch_size
        return remake_tars(self._storage, path, part, self._bad[path], regenerator, batch_size)

    def _plan_file(self) -> PlanFile:
        plan_file, info = self._state.plan, self._state.info
        if plan_file is None or (info is not None and info.plan_id != plan_file.plan_id):
            raise DatasetError(
                f"{self._storage.url} has no plan.json of its own, which says how its images are made: restore it, "
                "then repair"
            )
        return plan_file

    def _plan(self) -> Plan:
        try:
            return rebuild_plan(self._plan_file())
        except PlanError as error:
            raise PlanError(f"{self._storage.url}: a manifest part is lost and {error}") from None

    def _settings(self) -> GeneratorSettings:
        return generator_settings(self._plan_file())

    def _regenerator(self, *, needed: bool) -> AbstractContextManager[Regenerator | None]:
        """A renderer, started by its first batch; the model is looked up now, before anything is written."""
        if not needed:
            return nullcontext()
        plan_file, settings = self._plan_file(), self._settings()
        model = find_model(plan_file, self._options.model, settings.model_digest)
        return Regenerator(
            RegeneratorSetup(
                model_path=model.path,
                model_id=str(plan_file.notes["model_id"]),
                plan_id=plan_file.plan_id,
                prompt_template=str(plan_file.settings[TEMPLATE_SETTING]),
                settings=on_device(settings, self._options.device),
            )
        )

    def _latest_attempt(self) -> int:
        """The highest attempt that the intact parts and the commit know of."""
        attempts = [attempt_of(shard.path) for shards in self._listed.values() for shard in shards]
        for path in self._state.part_paths:
            part, _ = load_part(self._storage, path, self._entries.get(path))
            if part is not None:
                attempts += [attempt or 1 for attempt in part.table["attempt"].unique().to_pylist()]
        return max(attempts, default=1)


def _refuse_real(state: State) -> None:
    if state.kind == RENDERED:
        raise DatasetError(
            f"{state.storage.url} holds rendered images: remove the bad shards with their parts in manifest/, and run "
            "the same shardtools render again, it makes those alone and the same bytes"
        )
    if state.kind != "generated":
        raise DatasetError(
            f"{state.storage.url} holds real images, which cannot be made again: restore the bad files from a copy, or "
            "write the dataset again from its source with shardtools write"
        )


def _commit(state: State) -> bool:
    """Writes `dataset.json` for the parts it listed, or, where it is lost, for all clones that are whole."""
    info, plan = state.info, state.plan
    if info is not None:
        paths = [entry.path for entry in info.parts]
        kind, plan_id, scale, parent = info.kind, info.plan_id, info.scale, info.parent
    elif plan is not None and plan.num_shards is not None and len(state.part_paths) >= plan.num_shards:
        per_clone = plan.num_shards // plan.scale
        kind, plan_id, scale, parent = plan.kind, plan.plan_id, len(state.part_paths) // per_clone, None
        paths = list(state.part_paths[: scale * per_clone])
    else:
        return False
    commit_dataset(state.storage, kind=kind, plan_id=plan_id, scale=scale, part_paths=paths, parent=parent)
    return True


def _carry_over(before: tuple[Problem, ...], after: VerifyReport, repaired: set[str]) -> VerifyReport:
    """Adds the problems inside shards that were not read a second time."""
    kept = [
        problem
        for problem in before
        if problem.path.startswith("shards/") and problem.part is not None and problem.part not in repaired
    ]
    return dataclasses.replace(after, problems=(*after.problems, *kept))
