"""A run's prompt for other programs: the very messages that were scored, in the form that each of them takes.

A format is a function that writes files and one that makes messages of them again; see FORMATS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steepest.arguments import checked
from steepest.errors import SpecError, nearest
from steepest.exporting import dspy, langchain, lm_eval, mlflow, plain, promptfoo, script, task_file
from steepest.exporting.rebuilding import Rebuilt
from steepest.exporting.subject import Subject, subject_of
from steepest.types import Example


@dataclass(frozen=True, slots=True)
class Format:
    """A form that a prompt can be exported to."""

    about: str
    write: Callable[[Subject], Mapping[str, str]]
    """Contents of the files, by name."""
    rebuild: Callable[[Path, Subject, Sequence[Example]], Rebuilt]
    """The messages of rows, from the file or folder that was written."""
    is_folder: bool = False


FORMATS: Mapping[str, Format] = {
    "text": Format("the prompt alone", plain.write_text, plain.rebuild_text),
    "json": Format("messages with slots, decoding, scores", plain.write_json, plain.rebuild_json),
    "yaml": Format("a task file with rows, for steepest", task_file.write, task_file.rebuild, is_folder=True),
    "python": Format("a file without dependencies", script.write, script.rebuild),
    "dspy": Format("a DSPy program", dspy.write, dspy.rebuild),
    "langchain": Format("a LangChain ChatPromptTemplate", langchain.write, langchain.rebuild),
    "promptfoo": Format("a promptfoo configuration with rows", promptfoo.write, promptfoo.rebuild, is_folder=True),
    "lm-eval": Format("a task of the LM Evaluation Harness", lm_eval.write, lm_eval.rebuild, is_folder=True),
    "mlflow": Format("a script that registers the prompt in MLflow", mlflow.write, mlflow.rebuild),
}
"""What `steepest export --to` takes."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export consists of."""

    files: Mapping[str, str]
    """Contents by file name."""
    path: Path | None
    """The file or folder that was written; None where nothing was."""

    @property
    def text(self) -> str:
        """The content of the first file."""
        return next(iter(self.files.values()))


@checked
def export(
    folder: str | Path, to: str = "json", *, out: str | Path | None = None, which: str = "best", split: str = "dev"
) -> Exported:
    """A run's prompt for another program: the very messages that were scored, and how they were decoded.

        >>> steepest.export("runs/2026-11-20-greater-lies", "langchain", out="prompt_template.py")

    Args:
        folder: The run.
        to: "text", "json", "yaml", "python", "dspy", "langchain", "promptfoo", "lm-eval" or "mlflow".
        out: File to write, or folder for "yaml", "promptfoo" and "lm-eval"; nothing that exists is replaced. None:
            nothing is written.
        which: "best" or "initial".
        split: Which rows "promptfoo" and "lm-eval" are given, "dev" or "test".

    Raises:
        SteepestError: StateError where the folder holds no run, SpecError for names that are not known, for files
            that exist, and for a prompt that the format has no way to write.
    """
    form, subject = format_named(to), subject_of(Path(folder), which, split)
    files = form.write(subject)
    return Exported(files, None if out is None else store(files, Path(out), form.is_folder))


def format_named(to: str) -> Format:
    """A format by its name; SpecError for an unknown one."""
    if to not in FORMATS:
        raise SpecError(f"there is no export to {to!r}; {nearest(to, FORMATS)}")
    return FORMATS[to]


def store(files: Mapping[str, str], out: Path, is_folder: bool) -> Path:
    """Write files into the folder `out`, or the only one to the file `out`. SpecError where one is there already."""
    try:
        paths = {out / name if is_folder or out.is_dir() else out: text for name, text in files.items()}
        for path in paths:
            if path.exists() or path.is_symlink():
                raise SpecError(
                    f"an export replaces nothing, got {str(path)!r}, which exists; remove it or name another"
                )
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(text.encode())
    except OSError as refused:
        raise SpecError(
            f"an export needs a place that can be written, got {str(out)!r} ({refused.strerror}); name another"
        ) from None
    return out if is_folder else next(iter(paths))
