"""A local model several times over: one replica for each GPU or share of the cores, on one machine or on many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steepest import cluster
from steepest.errors import ModelError

if TYPE_CHECKING:
    from steepest.models.replicas.model import Replicas


def open_replicas(
    name: str, replicas: Any, address: str | None, timeout: float | None, options: Mapping[str, Any]
) -> Replicas:
    """So many replicas of a local model, as `open_local` takes `name` and `options`, on the cluster at `address`; one
    that works and says nothing for `timeout` seconds is begun again.

    ModelError where the cluster has not got so many GPUs, or cores where it has no GPU, and for whatever keeps the
    model from being opened there.
    """
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
        raise ModelError(
            f"the number of replicas is a whole number from 1 on, got {replicas!r}; 0 is this process alone"
        )
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0):
        raise ModelError(f"the timeout of a replica is a number of seconds above 0, got {timeout!r}; correct it")
    ray = cluster.connect(address)
    place = _place(cluster.room(ray), replicas, options)
    from steepest.models.replicas.crew import TIMEOUT, Crew
    from steepest.models.replicas.model import InfillingReplicas, Replicas

    folder = Path(name).expanduser()
    where = str(folder.resolve()) if folder.is_dir() else name
    kind = InfillingReplicas if options["infill"] else Replicas
    told = {**options, "threads": place.threads}
    return kind(Crew(ray, replicas, place.gpus, where, told, TIMEOUT if timeout is None else timeout))


@dataclass(frozen=True, slots=True)
class _Place:
    """What a replica has of its machine."""

    threads: int | None
    gpus: int


def _place(room: cluster.Room, replicas: int, options: Mapping[str, Any]) -> _Place:
    """A GPU for each replica where there are any, and otherwise the cores shared out."""
    device, threads = options["device"], options["threads"]
    if device not in (None, "cpu", "cuda"):
        raise ModelError(
            f"replicas are put on devices by Ray, got device {device!r}; give cpu or cuda, or leave it out"
        )
    if device == "cuda" or (device is None and room.gpus):
        if room.gpus < replicas:
            raise ModelError(f"every replica needs a GPU, got {room.gpus} for {replicas}; ask for fewer replicas")
        return _Place(threads, 1)
    if room.cpus < replicas:
        raise ModelError(f"every replica needs a core, got {room.cpus} for {replicas}; ask for fewer replicas")
    return _Place(threads or max(1, room.smallest // -(-replicas // room.nodes)), 0)
