"""Processes of one run on this machine: how they are started, listened to, stopped, and how they end."""

from shardtools.processes.children import Child, Progress, run_children
from shardtools.processes.lifetime import die_with_parent, stop_on_sigterm

__all__ = ["Child", "Progress", "die_with_parent", "run_children", "stop_on_sigterm"]
