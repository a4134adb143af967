"""A local model several times over: one replica for each GPU or share of the cores, on one machine or on many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steepest import cluster
from steepest.errors import ModelError

if TYPE_CHECKING:
    from steepest.models.replicas.crew import Share
    from steepest.models.replicas.model import Replicas


def open_replicas(name: str, replicas: Any, address: str | None, options: Mapping[str, Any]) -> Replicas:
    """So many replicas of a local model, as `open_local` takes `name` and `options`, on the cluster at `address`.

    ModelError where the cluster has not got so many GPUs, or cores where it has no GPU; and for whatever keeps the model
    from being opened there.
    """
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
        raise ModelError(f"the number of replicas is a whole number from 1 on, got {replicas!r}; 0 is this process alone")
    ray = cluster.connect(address)
    share = _share(cluster.room(ray), replicas, options)
    from steepest.models.replicas.crew import Crew
    from steepest.models.replicas.model import InfillingReplicas, Replicas

    folder = Path(name).expanduser()
    where = str(folder.resolve()) if folder.is_dir() else name
    kind = InfillingReplicas if options.get("infill") else Replicas
    return kind(Crew(ray, replicas, share, where, dict(options)))


def _share(room: cluster.Room, replicas: int, options: Mapping[str, Any]) -> Share:
    """A GPU for each replica where there are any, and otherwise the cores shared out."""
    from steepest.models.replicas.crew import Share

    device = options.get("device")
    if device not in (None, "cpu", "cuda"):
        raise ModelError(f"replicas are put on devices by Ray, got device {device!r}; give cpu or cuda, or leave it out")
    if device != "cpu" and (room.gpus or device == "cuda"):
        if room.gpus < replicas:
            raise ModelError(f"every replica needs a GPU, got {replicas} replicas and {room.gpus} GPUs; ask for fewer")
        return Share(1, 1)
    # So that each fits on a node, whichever nodes Ray chooses.
    cores = room.smallest // -(-replicas // room.nodes)
    if not cores:
        raise ModelError(f"every replica needs a core, got {replicas} replicas and {room.cpus} cores; ask for fewer")
    return Share(cores, 0)
