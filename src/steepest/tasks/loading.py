"""From a name, a task file or rows to a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from steepest import codec
from steepest.errors import TaskError, nearest
from steepest.objects import full_name, names_code
from steepest.tasks import benchmarks
from steepest.tasks.answers import Kind, asked_in_chinese
from steepest.tasks.datasets import Columns, Read, first_columns, joined, question_key, read_rows, read_text
from steepest.tasks.duplicates import find
from steepest.tasks.metrics import Answer, extractor_of, is_judge, open_metric
from steepest.tasks.notes import skipped
from steepest.tasks.source import SPLITS, TaskSource, restore_task
from steepest.tasks.splitting import Parts, Splits, split, split_given
from steepest.tasks.tables import Rows
from steepest.tasks.targets import constant, rare, settled, with_gold
from steepest.tasks.task import Language, Task, Template, slots_of
from steepest.types import Example

DEFAULT_TARGET = "target"
GivenSplits = Mapping[str, str | Path | Rows]
"""Rows that are split already: those of "train", "dev" and "test"."""
_DEEPEST = 20
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

    data: str | Path | Rows | GivenSplits
    """A .csv, .tsv, .jsonl, .json or .parquet file, or rows given from Python: dicts, or a table; or three of these as
    "train", "dev" and "test"."""
    name: str = ""
    """Empty: the name of the data file."""
    input: str | None = None
    """The column with the question; None: "input", or the first slot of a prompt that has slots."""
    target: str = DEFAULT_TARGET
    """The column with the right answer; it may be absent or empty where a judge rates."""
    id: str | None = None
    """The column with ids; None: ids are hashes of the content."""
    layout: str | None = None
    """The user's turn: {input}, {prompt} and any further column, in braces. None: "{prompt}" where the prompt has
    columns in braces itself, else "{input}\\n{prompt}"."""
    system: str = ""
    """The system's turn."""
    answer: Answer = "auto"
    """What counts as right; see KINDS. "auto" looks at the targets. A function of yours not in a task file."""
    criteria: str = ""
    """When an answer is good, for a judge to rate by; stands in for `answer`."""
    description: str = ""
    """What the task is, for the judge and for methods that tell the optimizer."""
    language: Language | Literal["auto"] = "auto"
    """Of the rows; "auto" counts Chinese characters."""
    prompt: str | tuple[str, ...] = "Answer the question."
    """Initial prompt, or several."""
    max_tokens: int = 256
    """Limit of one answer, reasoning included."""
    splits: Splits = Splits()
    skip_bad_rows: bool = False
    """Whether rows that cannot be used are left out and named in the notes, instead of being an error."""
    folder: Path = Path()
    """What relative paths are relative to."""

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise TaskError(f"max_tokens must be at least 1, got {self.max_tokens}; give for example 256")
        if self.criteria and self.answer != "auto":
            raise TaskError(f"criteria make a judge the metric, got answer {self.answer!r} beside them; give one")
        if not all(prompt.strip() for prompt in self.prompts):
            raise TaskError("an initial prompt must not be empty; write what you would tell the model today")
        if isinstance(self.data, Mapping) and self.splits != Splits():
            raise TaskError("splits are shares of rows in one piece, got them with rows split already; leave them out")

    @property
    def prompts(self) -> tuple[str, ...]:
        """The initial prompts."""
        return (self.prompt,) if isinstance(self.prompt, str) else tuple(self.prompt)


def load_task(
    task: str | Path | Rows | GivenSplits | TaskSpec,
    prompt: str | None = None,
    *,
    data_dir: str | Path | None = None,
    skip_bad_rows: bool = False,
    answer: Answer | None = None,
) -> TaskSource:
    """The task that a name, a task file (.yaml), a run folder, rows or a spec describe. Raises TaskError.

    Names are those of BUNDLED and of the benchmarks ("gsm8k", "bbh/navigate"), whose original files are looked for in
    `data_dir`, or asked of the hub. Rows are mappings with the columns "input" and "target"; for other columns,
    layouts or kinds of answer give a TaskSpec. A run folder gives the very rows of that run. `prompt` is an initial
    prompt instead of the task's own. With `skip_bad_rows`, rows that cannot be used are left out and named in the
    notes. `answer` is what counts as right, instead of the task file's own; a function of yours is named here, for a
    task file runs no code.
    """
    spec = _spec_of(task, answer)
    if data_dir is not None and (spec is not None or str(task) not in benchmarks.names()):
        _refuse_folder(task)
    if spec is not None:
        spec = replace(spec, skip_bad_rows=spec.skip_bad_rows or skip_bad_rows)
        return _from_spec(spec if prompt is None else replace(spec, prompt=prompt))
    source = _named(str(task), data_dir, skip_bad_rows)
    return source if prompt is None else source.with_prompt(prompt)


def _spec_of(task: str | Path | Rows | GivenSplits | TaskSpec, answer: Answer | None) -> TaskSpec | None:
    """How the rows are to be read; None for what has rows already."""
    given: dict[str, Any] = {} if answer is None else {"answer": answer}
    if isinstance(task, TaskSpec):
        return replace(task, **given)
    if not isinstance(task, str | Path):
        return TaskSpec(task, name="rows", **given)
    if is_task_file(task):
        spec = read_task_file(Path(task))
        if answer is None:
            refuse_code(spec.answer, Path(task))
        # A function that is named beside the file is looked for where the name was given.
        return replace(spec, answer=_from_here(answer)) if answer is not None else spec
    if given:
        raise TaskError(f"an answer goes with rows or a task file, got {answer!r} with the task {task!r}; leave it out")
    return None


def is_task_file(task: str | Path) -> bool:
    """Whether a task's name is that of a task file."""
    return str(task) not in BUNDLED and Path(task).suffix.lower() in (".yaml", ".yml")


def refuse_code(answer: Answer, path: Path) -> None:
    """TaskError where a task file has a function for its metric: whoever wrote the file would run code here."""
    name = answer.get("use") if isinstance(answer, Mapping) else answer
    if isinstance(name, str) and names_code(name):
        raise TaskError(
            f"{path}: a task file names no code to be run, got answer {name!r}; if the code is yours, name it beside "
            f"the file: --answer {name}"
        )


def _from_here(answer: Answer) -> Answer:
    return full_name(answer) if isinstance(answer, str) else answer


def _refuse_folder(task: str | Path | Rows | GivenSplits | TaskSpec) -> NoReturn:
    name = repr(task) if isinstance(task, str) else "rows of your own"
    hint = nearest(task, benchmarks.names()) if isinstance(task, str) else "leave it out"
    raise TaskError(f"a folder of data is for a benchmark, got {name}; {hint}")


def _named(task: str, data_dir: str | Path | None, skip_bad: bool) -> TaskSource:
    """A bundled task, that of a run, or a benchmark."""
    if task in BUNDLED:
        from steepest import bundled

        return bundled.source(task)
    if _is_file(Path(task) / "run.json"):
        return restore_task(Path(task), to_score=True)
    if task.partition("/")[0] in benchmarks.stems():
        return benchmarks.load(task, data_dir, skip_bad)
    raise TaskError(
        f"a task is a name, a .yaml file or a run folder, got {task!r}; {_near(task)}; rows of your own are given as "
        f"data, not as a task"
    )


def _near(task: str) -> str:
    """The nearest name; where none is near, what to name instead of all of them."""
    hint = nearest(task, [*BUNDLED, *benchmarks.names()])
    return hint if hint.startswith("did") else f"known: {', '.join((*BUNDLED, *benchmarks.stems()))}"


def read_task_file(path: Path) -> TaskSpec:
    """The spec in a YAML file; relative paths in it start from its folder."""
    if not _is_file(path):
        files = [str(each) for each in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise TaskError(f"a task file must exist, got {str(path)!r}; {nearest(str(path), [*files, *BUNDLED])}")
    content = _parsed(read_text(path), path)
    if not isinstance(content, dict) or "data" not in content:
        raise TaskError(f"{path}: a task file holds keys such as data, input and target, and at least data")
    return _spec(content, path)


def _parsed(text: str, path: Path) -> Any:
    """What YAML text says, by the safe reader. TaskError for what is not YAML, or repeats itself by reference."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

    depth = 0
    try:
        # A few lines of references to references stand for more than any memory holds.
        for event in YAML(typ="safe", pure=True).parse(text):
            place = f"{path}, line {event.start_mark.line + 1}"
            if isinstance(event, AliasEvent):
                raise TaskError(f"{place}: a task file has no references, got *{event.anchor}; write it out")
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > _DEEPEST:
                raise TaskError(f"{place}: lists lie at most {_DEEPEST} deep in each other, got more; correct the line")
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise TaskError(f"{path}{line}: not YAML, {error.problem}; correct the line") from None
    except (YAMLError, ValueError, TypeError, RecursionError) as error:
        # Characters that YAML lacks, dates that no calendar has, lists in lists without end.
        problem = " ".join(str(error).split())
        raise TaskError(f"{path}: not YAML that can be read, {problem}; correct the file") from None


def _is_file(path: Path) -> bool:
    """Whether a file is there; no for a path that no file can have."""
    try:
        return path.is_file()
    except OSError:  # such as one that is too long
        return False


_FILE_KEYS = tuple(field.name for field in fields(TaskSpec) if field.name != "folder")


def _spec(content: Mapping[str, Any], path: Path) -> TaskSpec:
    for key in content:
        if key not in _FILE_KEYS:
            raise TaskError(f"{path}: unknown key {key!r}; {nearest(str(key), _FILE_KEYS)}")
    texts = ("name", "input", "target", "id", "layout", "system", "criteria", "description")
    values: dict[str, Any] = {
        key: codec.decode(str, content[key], f"{path}: {key}", TaskError) for key in texts if key in content
    }
    values["data"] = codec.decode(str | dict[str, str], content["data"], f"{path}: data", TaskError)
    if "language" in content:
        values["language"] = codec.decode(
            Language | Literal["auto"], content["language"], f"{path}: language", TaskError
        )
    if "max_tokens" in content:
        values["max_tokens"] = codec.decode(int, content["max_tokens"], f"{path}: max_tokens", TaskError)
    if "skip_bad_rows" in content:
        where = f"{path}: skip_bad_rows"
        values["skip_bad_rows"] = codec.decode(bool, content["skip_bad_rows"], where, TaskError)
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
    given = _given(spec)
    first = next(iter(given.values()))
    template, columns = _placed(spec, first)
    answer = {"judge": {"criteria": spec.criteria}} if spec.criteria else spec.answer
    may_lack = is_judge(answer) and (spec.target == DEFAULT_TARGET or spec.target in first_columns(first))
    columns = replace(columns, target_may_lack=may_lack)
    read = {part: _within(part, read_rows, data, columns, spec.skip_bad_rows) for part, data in given.items()}
    targets = [example.target for each in read.values() for example in each.examples]
    metric = open_metric(settled(answer, targets), targets, spec.folder)
    how = (spec.target, spec.skip_bad_rows)
    read = {part: _within(part, with_gold, read[part], metric, data, *how) for part, data in given.items()}
    every = joined(read)
    language = language_of(example.input for example in every.examples) if spec.language == "auto" else spec.language
    if language == "zh" and isinstance(metric, Kind):
        metric = asked_in_chinese(metric)
    parts = _parts(read, spec, columns.shown)
    task = Task(
        name=spec.name or _name(spec.data),
        train=parts.train,
        dev=parts.dev,
        template=template,
        metric=metric,
        extractor=extractor_of(metric),
        seeds=spec.prompts,
        max_tokens=spec.max_tokens,
        language=language,
        description=spec.description,
    )
    rows = {"train": parts.train, "dev": parts.dev, "test": parts.test}
    places = {name: place for each in read.values() for name, place in each.place_of().items()}
    doubles = find(rows, columns.shown, places)
    notes = (*skipped(every.faults), *rare(every, metric), *constant(every, metric), *parts.notes, *doubles.notes())
    origin = str(first.resolve()) if isinstance(first, Path) and len(given) == 1 else "rows"
    return TaskSource(task, parts.test, origin, notes)


def _given(spec: TaskSpec) -> dict[str, str | Path | Rows]:
    """The rows as they were given, by split; those that are yet to be split by no name."""
    if not isinstance(spec.data, Mapping):
        return {"": _located(spec, spec.data)}
    if {*spec.data} != {*SPLITS}:
        raise TaskError(
            f"rows in a mapping are those of train, dev and test, got {', '.join(map(str, spec.data)) or 'nothing'}; "
            "name all three, or give a list of rows to be split"
        )
    return {part: _located(spec, spec.data[part]) for part in SPLITS}


def _located(spec: TaskSpec, data: str | Path | Rows) -> str | Path | Rows:
    """Rows, or the path of their file from here."""
    return spec.folder / data if isinstance(data, str | Path) else data


def _within(part: str, do: Callable[..., Read], *given: Any) -> Read:
    """`do(*given)`, whose errors say which part of the rows they are about."""
    try:
        return do(*given)
    except TaskError as error:
        raise TaskError(f"{part}: {error}" if part else str(error)) from None


def _parts(read: Mapping[str, Read], spec: TaskSpec, shown: Sequence[str]) -> Parts:
    """The rows in three splits: by hash, or as they were given."""

    def question(example: Example) -> str:
        return question_key(example, shown)

    if "" in read:
        return split(read[""].examples, spec.splits, question, read[""].places)
    return split_given(read, question)


def _placed(spec: TaskSpec, data: str | Path | Rows) -> tuple[Template, Columns]:
    """Where the rows enter, and which columns that takes: through the layout, or through the prompts' own slots."""
    slots = tuple(dict.fromkeys(slot for prompt in spec.prompts for slot in slots_of(prompt)))
    layout = spec.layout or ("{prompt}" if slots else "{input}\n{prompt}")
    template = Template(layout, spec.system)
    if not template.is_filled_by_prompt:
        slots = ()
    _check_slots(slots, spec, data)
    names = dict.fromkeys(slot for slot in (*template.slots, *slots) if slot not in ("input", "prompt"))
    question = spec.input or ("input" if "input" in slots else next(iter(slots), "input"))
    return template, Columns(question, spec.target, spec.id, tuple(names))


def _check_slots(slots: Sequence[str], spec: TaskSpec, data: str | Path | Rows) -> None:
    """Every slot of a prompt must be a column that the model may see; TaskError otherwise."""
    if not slots:
        return
    known = {*first_columns(data), *(["input"] if spec.input else [])} - {spec.target}
    for slot in slots:
        if slot not in known:
            raise TaskError(
                f"a prompt's slots must be columns with what is asked, got {{{slot}}}; {nearest(slot, known)}; to keep "
                "braces as they are, give a layout with {input}"
            )


def language_of(texts: Iterable[str]) -> Language:
    """Chinese where more than 30 % of the characters are, white space apart; otherwise English."""
    characters = [character for text in texts for character in text if not character.isspace()]
    chinese = sum("\u3400" <= character <= "\u9fff" for character in characters)
    return "zh" if chinese > 0.3 * len(characters) else "en"


def _name(data: str | Path | Rows | GivenSplits) -> str:
    return Path(data).stem if isinstance(data, str | Path) else "rows"
