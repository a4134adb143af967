"""Size is a design signal. A `# size:` comment with a reason on the first line of a thing lifts its limit."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "steepest"
FUNCTION, MODULE, PARAMETERS = 40, 400, 8


def breaches(source: str) -> Iterator[str]:
    """What in a module is too large."""
    lines = source.splitlines()
    if len(lines) > MODULE and not excused(lines[0]):
        yield f"module: {len(lines)} lines"
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if any(excused(line) for line in lines[node.lineno - 1 : node.body[0].lineno]):
            continue
        if isinstance(node, ast.ClassDef):
            count = len(dataclass_fields(node))
            if count > PARAMETERS and takes_all_fields(node):
                yield f"{node.name}: {count} constructor parameters"
            continue
        if (length := length_of(node)) > FUNCTION:
            yield f"{node.name}: {length} lines"
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        if len([a for a in arguments if a.arg not in ("self", "cls")]) > PARAMETERS:
            yield f"{node.name}: {len(arguments)} parameters"


def excused(line: str) -> bool:
    return bool(line.partition("# size:")[2].strip())


def length_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, its docstring apart."""
    assert node.end_lineno is not None
    whole = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is None:
        return whole
    assert first.end_lineno is not None
    return whole - (first.end_lineno - first.lineno + 1)


def dataclass_fields(node: ast.ClassDef) -> list[str]:
    """Names that the class's constructor takes, if it is a dataclass."""
    return [
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and not ast.unparse(item.annotation).startswith("ClassVar")
    ]


def takes_all_fields(node: ast.ClassDef) -> bool:
    """Whether it is a component that users construct: a dataclass with a default for every field."""
    is_dataclass = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    return is_dataclass and all(item.value is not None for item in fields)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_too_large(path: Path) -> None:
    found = list(breaches(path.read_text(encoding="utf-8")))
    assert not found, f"{path.name}: {'; '.join(found)}: split it, or give the reason in a `# size:` comment"


def test_the_test_sees_what_is_too_large() -> None:
    body = "\n".join("    x = 1" for _ in range(FUNCTION))
    docstring = '    """' + "\n    doc" * 50 + '"""\n'
    assert list(breaches(f"def f():\n{body}\n")) == ["f: 41 lines"]
    assert not list(breaches(f"def f():\n{docstring}{body[:-10]}\n"))
    assert not list(breaches(f"def f():  # size: a table\n{body}\n"))
    assert list(breaches(f"def f():  # size:\n{body}\n"))
    assert list(breaches("def f(a, b, c, d, e, g, h, i, j): ...")) == ["f: 9 parameters"]
    assert not list(breaches("def f(self, a, b, c, d, e, g, h, i): ..."))
    assert list(breaches("\n" * (MODULE + 1))) == ["module: 401 lines"]
    nine = "\n".join(f"    a{i}: int = 0" for i in range(9))
    assert list(breaches(f"@dataclass\nclass C:\n{nine}\n")) == ["C: 9 constructor parameters"]
    assert not list(breaches(f"class C:\n{nine}\n"))
