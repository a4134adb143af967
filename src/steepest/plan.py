"""What a run is made from, and the checks before anything is written or paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from steepest import spec
from steepest._version import __version__
from steepest.context import FAIL_ON, Context, checked_share, require
from steepest.costs import Costs
from steepest.errors import SpecError, TaskError, nearest
from steepest.ledger import Limits, Price
from steepest.models import Generates, WhiteBox
from steepest.models.opening import Opened
from steepest.runfolder import FORMAT, ModelInfo, RunInfo, git_revision, library_versions
from steepest.tasks.judge import Judge
from steepest.tasks.metrics import describe_metric
from steepest.tasks.notes import Note
from steepest.tasks.source import TaskInfo
from steepest.tasks.task import Task
from steepest.types import Example, Scored


class Method(Protocol):
    """A prompt optimiser: a frozen dataclass of plain fields and parts, whose step is a function of its state."""

    State: ClassVar[type]
    """A frozen dataclass with a JSON form, nested in the class; all that is kept from step to step."""
    needs: ClassVar[Mapping[str, type]]
    """Role -> capability that its model must have; checked before anything is paid."""
    version: ClassVar[int]
    """Raised when State or the meaning of a step changes; runs of another version are not continued."""

    def init(self, ctx: Context) -> Any:
        """The state to begin with."""
        ...

    def step(self, state: Any, ctx: Context) -> Any:
        """The next state."""
        ...

    def best(self, state: Any) -> Scored:
        """The prompt to recommend after `state`."""
        ...

    def costs(self, task: Task) -> Costs:
        """The most calls that `init` and a step make of each role, by the paper's formula; known beforehand."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made from. The initial prompt is `task.seeds[0]`."""

    method: Method
    task: Task
    test: Sequence[Example]
    """Opened once, by `Run.finish`; methods never see it."""
    models: Mapping[str, Opened]
    """Role -> model; "task" answers the task."""
    seed: int = 0
    limits: Limits = Limits()
    passed: Mapping[str, Any] = field(default_factory=dict)
    """The arguments as the user gave them, for the record."""
    origin: str = ""
    """Where the rows came from."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Role -> price of its model."""
    fail_on: float = FAIL_ON
    """Share of a batch that may go unanswered, see `World.fail_on`."""
    notes: tuple[Note, ...] = ()
    """What reading the rows brought up."""

    @property
    def roles(self) -> dict[str, Any]:
        """Role -> the model itself."""
        return {role: opened.model for role, opened in self.models.items()}


def check(plan: Plan) -> RunInfo:
    """What run.json will say; an error from the tree if the run could not be carried out or told later."""
    _check_rows(plan.task, plan.test)
    _check_prompts(plan.task, plan.test)
    _check_roles(plan)
    _check_whitebox(plan)
    check_prices(plan.models, plan.prices, plan.limits)
    checked_share(plan.fail_on)
    _check_room(plan)
    _check_answers(plan)
    _check_method(plan)
    task = plan.task
    return RunInfo(
        format=FORMAT,
        steepest=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        method=spec.describe(plan.method),
        method_version=plan.method.version,
        passed=plan.passed,
        task=TaskInfo(
            name=task.name,
            layout=task.template.layout,
            system=task.template.system,
            extractor=task.extractor,
            metric=describe_metric(task.metric),
            max_tokens=task.max_tokens,
            seeds=tuple(task.seeds),
            origin=plan.origin,
            language=task.language,
            description=task.description,
            notes=plan.notes,
        ),
        models={role: ModelInfo(o.name, o.options, o.model.id) for role, o in plan.models.items()},
        prompt=task.seeds[0],
        seed=plan.seed,
        limits=plan.limits,
        prices=plan.prices,
        fail_on=plan.fail_on,
        versions=library_versions(),
        git=git_revision(),
    )


def is_free(opened: Opened) -> bool:
    """Whether the model is known to run in this process, where tokens cost nothing."""
    return opened.name in ("bundled", "scripted") or opened.name.startswith("hf:") or isinstance(opened.model, WhiteBox)


def check_prices(models: Mapping[str, Opened], prices: Mapping[str, Price], limits: Limits) -> None:
    """SpecError where a price has no role, or dollars are limited and a role has no price."""
    for role in prices:
        if role not in models:
            raise SpecError(f"a price is that of a role of this run, got {role!r}; {nearest(role, models)}")
    if limits.dollars is None:
        return
    for role, opened in models.items():
        if role not in prices and isinstance(opened.model, Generates) and not is_free(opened):
            raise SpecError(
                f"a limit on dollars needs a price for every role, got none for {role!r} ({opened.name}); start a run "
                f"with dollars per million tokens, such as --price {role}=0.15/0.60 (0/0 where it is free)"
            )


def checked_method(method: Any) -> Method:
    """`method`, if it has all that one takes; SpecError otherwise."""
    needed = ("State", "needs", "version", "init", "step", "best", "costs")
    if missing := [name for name in needed if name not in dir(method)]:
        raise SpecError(
            f"a method has {', '.join(needed)}, got {type(method).__name__} without {', '.join(missing)}; add it"
        )
    found: Method = method
    return found


def _check_method(plan: Plan) -> None:
    """The method has all it takes, and no part of it a budget that is too small for these rows."""
    checked_method(plan.method).costs(plan.task)


def _check_rows(task: Task, test: Sequence[Example]) -> None:
    seen: dict[str, str] = {}
    for name, rows in (("train", task.train), ("dev", task.dev), ("test", test)):
        if not rows:
            raise TaskError(f"a run needs rows for train, dev and test, got none for {name}; give more rows")
        for example in rows:
            if example.id in seen:
                raise TaskError(
                    f"the ids of rows must differ, got {example.id!r} in {seen[example.id]} and {name}; "
                    "remove the duplicate"
                )
            seen[example.id] = name


def _check_prompts(task: Task, test: Sequence[Example]) -> None:
    if not task.seeds or not task.seeds[0].strip():
        raise SpecError("a run needs an initial prompt that is not blank, got none; try 'Answer the question.'")
    for prompt in task.seeds:
        if task.template.is_filled_by_prompt and not task.template.prompt_slots(prompt):
            raise TaskError(
                f"rows must enter through {{input}} in the layout or a column in braces in the prompt, got the layout "
                f"{task.template.layout!r} and the prompt {prompt!r}; add one of the two"
            )
        for example in (*task.train, *task.dev, *test):
            task.template.render(prompt, example)


def _check_roles(plan: Plan) -> None:
    """Everyone who will be asked must be able to answer."""
    judge = {"judge": Generates} if isinstance(plan.task.metric, Judge) else {}
    require(plan.roles, "task", Generates)
    for role, capability in {**judge, **plan.method.needs}.items():
        require(plan.roles, role, capability)


def _check_whitebox(plan: Plan) -> None:
    """A method that follows gradients of answers needs answers, and a prompt that stands in one piece."""
    if plan.method.needs.get("task") is not WhiteBox:
        return
    name, task = spec.describe(plan.method)["use"], plan.task
    if isinstance(task.metric, Judge):
        raise TaskError(f"{name} follows the gradient of right answers, got a judge; give targets and a kind of answer")
    if task.template.is_filled_by_prompt:
        raise TaskError(
            f"{name} needs a prompt without slots, got {task.seeds[0]!r}; give a layout with {{input}} and the columns"
        )


def _check_room(plan: Plan) -> None:
    """Every row under the initial prompt must fit the models that can tell how much they hold."""
    task = plan.task
    model = plan.models["task"].model
    if not isinstance(model, WhiteBox):
        return
    for example in (*task.train, *task.dev, *plan.test):
        messages = task.template.render(task.seeds[0], example)
        tokens = sum(len(model.encode(message.content)) for message in messages)
        if tokens >= model.context:
            raise SpecError(
                f"question and prompt must leave room for an answer in the model's {model.context:,} tokens, "
                f"got {tokens:,} with row {example.id!r}; shorten the prompt, drop the row or take another model"
            )


def _check_answers(plan: Plan) -> None:
    """A gradient is taken of the answers, so the tokeniser must be able to write them where they are asked for."""
    task, model = plan.task, plan.models["task"].model
    if plan.method.needs.get("task") is not WhiteBox or not task.extractor:
        return
    for example in task.train:
        ids = model.encode(f" {example.target}", task.extractor)
        written = model.decode(ids)
        if not ids or written.split() != example.target.split():
            raise TaskError(
                f"the model's tokeniser must be able to write every answer after {task.extractor!r}, got "
                f"{example.target!r} of row {example.id!r}, which it reads back as {written!r}; "
                "correct the answer, drop the row or take another model"
            )
