"""Ray, connected: a cluster that runs already, or one that is started on this machine for this process alone."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from steepest.errors import ModelError

HERE = "local"
"""The address of a cluster that is started on this machine, and ends with this process."""
LOOPBACK = ("127.0.0.1", "localhost")
_STORE = 256 * 2**20
"""Bytes of shared memory for what is sent: token sets, rows, gradients."""
_SETTINGS = {
    # Nothing is reported to anybody.
    "RAY_USAGE_STATS_ENABLED": "0",
    # What later versions do with hidden accelerators, without a warning.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # By default Ray lets all other processes of a machine go before its workers, which do all the work here.
    "RAY_worker_niceness": "0",
}
# Ray's switch for systems on which it stays on loopback, named after those where that is the default. Its option
# `_node_ip_address` is no way: loopback addresses are replaced by the machine's own there.
_ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True, slots=True)
class Room:
    """What a cluster has, whether in use or not."""

    cpus: int
    gpus: int
    nodes: int
    smallest: int
    """CPUs of the node that has the fewest."""


class _Places(list[str]):
    """Where workers look for modules first: of what Ray adds, that in which this process looks as well.

    It adds the working folder, and what lies there may be someone else's.
    """

    def extend(self, places: Iterable[str]) -> None:
        own = {os.path.abspath(path) for path in sys.path}
        super().extend(place for place in places if os.path.abspath(place) in own)


def connect(address: str | None = None, cores: int | None = None) -> Any:
    """The module `ray`, connected to the cluster at `address`; without one, a cluster is started here, of all `cores`
    unless told.

    A connection that this process has already is kept, whatever the address. ModelError where ray is missing or nothing
    answers at `address`.
    """
    _prepare(address)
    try:
        import ray
    except ModuleNotFoundError as missing:
        raise ModelError(
            f"replicas and cells on Ray need {missing.name}, which is not installed; pip install 'steepest[ray]'"
        ) from None
    if not ray.is_initialized():
        with _own_signals():
            _start(ray, address, cores)
        # What it says of workers that die goes to standard output, which belongs to results; the log says it too.
        ray._private.worker._worker_logs_enabled = False
    return ray


def room(ray: Any) -> Room:
    """What the cluster has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    return Room(sum(cpus), int(sum(node.get("GPU", 0) for node in nodes)), len(nodes), min(cpus, default=0))


def _prepare(address: str | None) -> None:
    """Settings that Ray reads from the environment; a user's own are kept."""
    is_here = address in (None, HERE)
    told = dict(_SETTINGS)
    # Where it was imported before, it has read the others, and whoever did that has the say.
    if "ray" not in sys.modules:
        if is_here or str(address).rpartition(":")[0] in LOOPBACK:
            told |= _ON_LOOPBACK
        if is_here and "RAY_AUTH_MODE" not in os.environ:
            # Whoever reaches the ports may run code: also another user of this machine. In the environment, a token is
            # not left in the user's home, where it would turn authentication on for every other cluster too.
            told |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in told.items():
        os.environ.setdefault(name, value)


def _start(ray: Any, address: str | None, cores: int | None) -> None:
    job = ray.job_config.JobConfig()
    job._py_driver_sys_path = _Places()
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False, "job_config": job}
    if "://" in str(address):
        raise ModelError(
            f"a Ray cluster is joined from one of its machines by HOST:PORT, got {address!r}; start steepest there"
        )
    try:
        if address in (None, HERE):
            # Without the explicit address, Ray joins whatever cluster was started last on this machine.
            ray.init(address=HERE, num_cpus=cores, include_dashboard=False, object_store_memory=_STORE, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = "at its address" if address not in (None, HERE) else "where it is started"
        raise ModelError(
            f"a Ray cluster must answer {where}, got {address or HERE!r} ({_first_line(error)}); check `ray status` "
            "there, its logs in /tmp/ray, and RAY_AUTH_MODE and its token"
        ) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; how a command ends is the command's own business."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
