"""What a task is, and how one is made from a name, a task file or rows."""

from steepest.tasks.answers import Choice, Number, Text, YesNo, infer
from steepest.tasks.loading import BUNDLED, TaskSpec, load_task
from steepest.tasks.metrics import KINDS, describe_metric, open_metric
from steepest.tasks.source import TaskSource
from steepest.tasks.splitting import Splits
from steepest.tasks.task import Judgement, Metric, Task, Template

__all__ = [
    "BUNDLED",
    "KINDS",
    "Choice",
    "Judgement",
    "Metric",
    "Number",
    "Splits",
    "Task",
    "TaskSource",
    "TaskSpec",
    "Template",
    "Text",
    "YesNo",
    "describe_metric",
    "infer",
    "load_task",
    "open_metric",
]
