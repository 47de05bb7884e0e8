"""How jobs run: tasks and engines, ranks and launches, the processes of a run and what they tell."""

from shardtools.execution.channel import end_with_error, failure, open_channel
from shardtools.execution.children import Child, network_environment, run_children
from shardtools.execution.events import EventLog, read_events
from shardtools.execution.forks import GRACE_SECONDS, fork_ranks, importing, run_forks, serve
from shardtools.execution.launch import (
    CHILD_DECIDES,
    Held,
    Launch,
    World,
    launched_rank,
    ranks_on_this_machine,
    run_as_rank,
    run_in_child,
    translate_slurm,
)
from shardtools.execution.lifetime import die_with_parent, stop_on_sigterm
from shardtools.execution.messages import (
    Batch,
    Doing,
    Ended,
    EndReason,
    Failed,
    Joined,
    Message,
    Notice,
    Planned,
    Progress,
    Ready,
    TaskDone,
    TaskFacts,
    ignore,
)
from shardtools.execution.processes import run_in_processes
from shardtools.execution.threads import run_in_threads
from shardtools.execution.work import Executor, Job, Tally, Work, in_task_order, reporting, work_off

__all__ = [
    "CHILD_DECIDES",
    "GRACE_SECONDS",
    "Batch",
    "Child",
    "Doing",
    "EndReason",
    "Ended",
    "EventLog",
    "Executor",
    "Failed",
    "Held",
    "Job",
    "Joined",
    "Launch",
    "Message",
    "Notice",
    "Planned",
    "Progress",
    "Ready",
    "Tally",
    "TaskDone",
    "TaskFacts",
    "Work",
    "World",
    "die_with_parent",
    "end_with_error",
    "failure",
    "fork_ranks",
    "ignore",
    "importing",
    "in_task_order",
    "launched_rank",
    "network_environment",
    "open_channel",
    "ranks_on_this_machine",
    "read_events",
    "reporting",
    "run_as_rank",
    "run_children",
    "run_forks",
    "run_in_child",
    "run_in_processes",
    "run_in_threads",
    "serve",
    "stop_on_sigterm",
    "translate_slurm",
    "work_off",
]
