"""One thread that does not spin, no network, and a list of trusted runs of the tests' own: set before torch is imported
anywhere. One Ray for all tests of it.
"""

import gc
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
_STATE = tempfile.TemporaryDirectory()
os.environ["XDG_STATE_HOME"] = _STATE.name


@pytest.fixture(scope="session")
def ray_here() -> Iterator[Any]:
    """Ray on this machine as we start it, with room for two models of two replicas and for cells."""
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    from steepest import cluster

    # Workers find what the tests define, as this process does.
    places = str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    with chdir(_STATE.name):
        ray = cluster.connect(cores=8)
    yield ray
    with warnings.catch_warnings():
        # Ray does not wait for the processes that it ends.
        warnings.simplefilter("ignore", ResourceWarning)
        ray.shutdown()
        gc.collect()
