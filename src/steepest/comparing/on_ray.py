"""Cells as Ray tasks: wherever a cluster has room, done again from their folders where a worker dies.

All machines of the cluster must see the folder under the same path, and have this package and what the models need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from steepest import api, cluster
from steepest.engine import Run
from steepest.errors import ModelError

_AGAIN = 3
"""So often a cell whose worker has died is begun anew before it has failed."""


class Cluster:
    """A Ray cluster that carries cells out."""

    def __init__(self, address: str, models: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """`models`: names and options of those that cells open. A cell that drives replicas needs little itself; others
        need a core, or a GPU where there are any and a model is opened in the cell.
        """
        self.ray = cluster.connect(address)
        room = cluster.room(self.ray)
        replicas = max((int(options.get("replicas") or 0) for _, options in models), default=0)
        needs_gpu = room.gpus and not replicas and any(name.startswith("hf:") for name, _ in models)
        self._resources = {"num_cpus": 0 if replicas else 1, "num_gpus": 1 if needs_gpu else 0}
        units = room.gpus if room.gpus and (replicas or needs_gpu) else room.cpus
        self.room = max(1, units // max(1, replicas))
        """Cells at once, so that each has what it needs."""

    def begin(self, what: Callable[..., Any], *arguments: Any) -> Any:
        """Have a function called in a worker; a task to wait for with `results`."""
        return self.ray.remote(max_retries=_AGAIN, **self._resources)(what).remote(*arguments)

    def results(self, tasks: Sequence[Any]) -> list[Any]:
        """What the functions return. Their errors are raised as they were there, ModelError for a dead worker."""
        try:
            found: list[Any] = self.ray.get(list(tasks))
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self.ray.exceptions.RayError as error:
            said = " ".join(str(error).split())[:200]
            raise ModelError(f"a worker must survive its cell, got one that died {_AGAIN + 1} times ({said})") from None
        return found

    def end(self, tasks: Sequence[Any]) -> None:
        """End at once what has not ended."""
        # Ray ends this process, too, where a task is cancelled whose result is on its way.
        left = self.ray.wait(list(tasks), num_returns=len(tasks), timeout=0)[1]
        for task in left:
            self.ray.cancel(task, force=True)
        if left:
            self.ray.wait(left, num_returns=len(left))


def carried_out(folder: Path) -> None:
    """Bring a cell to its result, in a worker."""
    with Run.open(folder) as run:
        api.carry_out(run)
