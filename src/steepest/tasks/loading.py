"""From a name, a task file or rows to a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from steepest import codec
from steepest.errors import TaskError, nearest
from steepest.tasks.datasets import Columns, Rows, question_key, read_examples
from steepest.tasks.metrics import Answer, extractor_of, gold_of, open_metric
from steepest.tasks.source import TaskSource, restore_task
from steepest.tasks.splitting import Splits, split
from steepest.tasks.task import Task, Template

BUNDLED: tuple[str, ...] = (
    "arithmetic",
    "counting",
    "shuffled",
    "navigation",
    "boolean",
    "sorting",
    "lies",
    "dates",
)
"""Tasks that come with the package, for the bundled model."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task as its user writes it down: the fields are the keys of a task file."""

    data: str | Path | Rows
    """A .csv, .tsv, .jsonl or .json file, or rows given from Python."""
    name: str = ""
    """Empty: the name of the data file."""
    input: str = "input"
    """The column with the question."""
    target: str = "target"
    """The column with the right answer."""
    id: str | None = None
    """The column with ids; None: ids are hashes of the content."""
    layout: str = "{input}\n{prompt}"
    """The user's turn: {input}, {prompt} and any further column, in braces."""
    system: str = ""
    """The system's turn."""
    answer: Answer = "auto"
    """What counts as right; see KINDS. "auto" looks at the targets."""
    prompt: str | tuple[str, ...] = "Answer the question."
    """Initial prompt, or several."""
    max_tokens: int = 256
    """Limit of one answer, reasoning included."""
    splits: Splits = Splits()
    folder: Path = Path()
    """What relative paths are relative to."""

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise TaskError(f"max_tokens must be at least 1, got {self.max_tokens}; give for example 256")
        if not all(prompt.strip() for prompt in self.prompts):
            raise TaskError("an initial prompt must not be empty; write what you would tell the model today")

    @property
    def prompts(self) -> tuple[str, ...]:
        """The initial prompts."""
        return (self.prompt,) if isinstance(self.prompt, str) else tuple(self.prompt)


def load_task(task: str | Path | Rows | TaskSpec) -> TaskSource:
    """The task that a name, a task file (.yaml), a run folder, rows or a spec describe. Raises TaskError.

    Names are those of BUNDLED. Rows are mappings with the columns "input" and "target"; for other columns, layouts or
    kinds of answer give a TaskSpec. A run folder gives the very rows of that run.
    """
    if isinstance(task, TaskSpec):
        return _from_spec(task)
    if not isinstance(task, str | Path):
        return _from_spec(TaskSpec(task, name="rows"))
    if str(task) in BUNDLED:
        from steepest import bundled

        return bundled.source(str(task))
    if Path(task).suffix.lower() in (".yaml", ".yml"):
        return _from_spec(read_task_file(Path(task)))
    if (Path(task) / "run.json").is_file():
        return restore_task(Path(task))
    raise TaskError(
        f"a task is a name, a .yaml file or a run folder, got {str(task)!r}; {nearest(str(task), BUNDLED)}; rows of "
        f"your own are given as data, not as a task"
    )


def read_task_file(path: Path) -> TaskSpec:
    """The spec in a YAML file; relative paths in it start from its folder."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    if not path.is_file():
        files = [str(each) for each in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise TaskError(f"a task file must exist, got {str(path)!r}; {nearest(str(path), [*files, *BUNDLED])}")
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8-sig"))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise TaskError(f"{path}{line}: not YAML, {error.problem}; correct the line") from None
    if not isinstance(content, dict) or "data" not in content:
        raise TaskError(f"{path}: a task file holds keys such as data, input and target, and at least data")
    return _spec(content, path)


_FILE_KEYS = tuple(field.name for field in fields(TaskSpec) if field.name != "folder")


def _spec(content: Mapping[str, Any], path: Path) -> TaskSpec:
    for key in content:
        if key not in _FILE_KEYS:
            raise TaskError(f"{path}: unknown key {key!r}; {nearest(str(key), _FILE_KEYS)}")
    texts = ("data", "name", "input", "target", "id", "layout", "system")
    values = {key: codec.decode(str, content[key], f"{path}: {key}", TaskError) for key in texts if key in content}
    if "max_tokens" in content:
        values["max_tokens"] = codec.decode(int, content["max_tokens"], f"{path}: max_tokens", TaskError)
    if "splits" in content:
        values["splits"] = _splits(content["splits"], path)
    if "prompt" in content:
        prompt = codec.decode(str | list[str], content["prompt"], f"{path}: prompt", TaskError)
        values["prompt"] = prompt if isinstance(prompt, str) else tuple(prompt)
    if "answer" in content:
        values["answer"] = codec.decode(str | dict[str, Any], content["answer"], f"{path}: answer", TaskError)
    return TaskSpec(**{"name": path.stem, **values}, folder=path.parent)


def _splits(content: Any, path: Path) -> Splits:
    known = {field.name for field in fields(Splits)}
    for key in content if isinstance(content, dict) else ():
        if key not in known:
            raise TaskError(f"{path}: splits: unknown key {key!r}; {nearest(str(key), known)}")
    splits: Splits = codec.decode(Splits, content, f"{path}: splits", TaskError)
    return splits


def _from_spec(spec: TaskSpec) -> TaskSource:
    template = Template(spec.layout, spec.system)
    shown = tuple(dict.fromkeys(slot for slot in template.slots if slot not in ("input", "prompt")))
    data = spec.folder / spec.data if isinstance(spec.data, str | Path) else spec.data
    examples = read_examples(data, Columns(spec.input, spec.target, spec.id, shown))
    metric = open_metric(spec.answer, [example.target for example in examples], spec.folder)
    examples = [replace(example, target=gold_of(metric, example.target)) for example in examples]
    parts = split(examples, spec.splits, lambda example: question_key(example, shown))
    task = Task(
        name=spec.name or _name(spec.data),
        train=parts.train,
        dev=parts.dev,
        template=template,
        metric=metric,
        extractor=extractor_of(metric),
        seeds=spec.prompts,
        max_tokens=spec.max_tokens,
    )
    return TaskSource(task, parts.test, str(Path(data).resolve()) if isinstance(data, Path) else "rows", parts.notes)


def _name(data: str | Path | Rows) -> str:
    return Path(data).stem if isinstance(data, str | Path) else "rows"
