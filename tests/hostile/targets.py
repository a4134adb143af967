"""What is fuzzed, by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from hostile import programs, reading, wording
from hostile.target import Target

logging.getLogger("steepest").addHandler(logging.NullHandler())  # repairs of journals are said, by the thousand here
logging.getLogger("steepest").propagate = False

TARGETS: Mapping[str, Target] = {**reading.TARGETS, **wording.TARGETS, **programs.TARGETS}
