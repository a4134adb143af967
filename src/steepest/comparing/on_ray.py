"""Cells as Ray tasks: wherever a cluster has room, done again from their folders where a worker dies.

All machines of the cluster must see the folder under the same path, and have this package and what the models need.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steepest import api, cluster
from steepest.engine import Run
from steepest.errors import SteepestError
from steepest.models.opening import Opened

_AGAIN = 3
"""So often a cell whose worker has died is begun anew before it has failed."""


class Cluster:
    """A Ray cluster that carries cells out."""

    def __init__(self, address: str, models: Mapping[str, Opened]) -> None:
        """`models`: those of the cells. Cells that drive replicas need little themselves, others a core, or a GPU for
        models that are opened there.
        """
        self.ray = cluster.connect(address)
        room = cluster.room(self.ray)
        replicas = max((int(each.options.get("replicas") or 0) for each in models.values()), default=0)
        needs_gpu = room.gpus and not replicas and any(each.name.startswith("hf:") for each in models.values())
        resources = {"num_cpus": 0 if replicas else 1, "num_gpus": 1 if needs_gpu else 0}
        units = room.gpus if room.gpus and (replicas or needs_gpu) else room.cpus
        self.room = max(1, units // max(1, replicas))
        """Cells at once, so that each has what it needs."""
        self._task = self.ray.remote(max_retries=_AGAIN, **resources)(carried_out)

    def begin(self, folder: Path) -> Any:
        """Have a cell carried out; what `ray.get` waits for, and `ray.cancel` ends."""
        return self._task.remote(folder.resolve())


def carried_out(folder: Path) -> str:
    """A cell brought to its result, in a worker; why it failed, or nothing."""
    try:
        with Run.open(folder) as run:
            api.carry_out(run)
    except SteepestError as error:
        return str(error)
    return ""
