"""Chinese from end to end: columns, numerals, labels, prompts, meta-prompts, report and exports."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli.commands import Shell

SUMS = "请回答问题。"
FEELINGS = "判断这条评论。"
FILES = {
    "模型.py": """
import json
import re
from pathlib import Path

from steepest.models.scripted import Scripted, text_of

DIGITS = "零一二三四五六七八九十"


def numeral(n):
    tens, ones = divmod(n, 10)
    head = "" if not tens else "十" if tens == 1 else DIGITS[tens] + "十"
    return head + (DIGITS[ones] if ones or not tens else "")


NUMERALS = [numeral(n) for n in range(100)]


def solve(request):
    text = text_of(request.prompt)
    if "逐步" not in text:
        return "我想答案是零。"
    start, more = (NUMERALS.index(found) for found in re.findall(f"[{DIGITS}]+", text.partition("\\n")[0])[:2])
    return f"一开始有{numeral(start)}个，后来加{numeral(more)}个。答案是{numeral(start + more)}。"


def feel(request):
    text = text_of(request.prompt)
    if "语气" in text:
        return "答案是负面。" if re.search("差|慢|坏", text.partition("判断")[0]) else "答案是正面。"
    return "答案是正面。"


def write(request):
    text = text_of(request.prompt)
    with Path("asked.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(text, ensure_ascii=False) + "\\n")
    if "<reason>" in text:
        return "<reason>提示词没有说要看语气。</reason>"
    word = "判断语气，再判断这条评论。" if "评论" in text else "请逐步计算，再回答问题。"
    return f"<prompt>{word}</prompt>"


class Sums(Scripted):
    def __init__(self):
        super().__init__(solve, "算术模型")


class Feelings(Scripted):
    def __init__(self):
        super().__init__(feel, "评论模型")


class Writer(Scripted):
    def __init__(self):
        super().__init__(write, "作者")
""",
}


def numeral(n: int) -> str:
    tens, ones = divmod(n, 10)
    digits = "零一二三四五六七八九"
    return ("" if not tens else "十" if tens == 1 else f"{digits[tens]}十") + (digits[ones] if ones or not tens else "")


def sums() -> list[dict[str, str]]:
    """Questions in Chinese numerals; the model answers in them, too."""
    who = ("小明", "小红", "老王", "李老师")
    return [
        {
            "问题": f"{who[i % 4]}有{numeral(3 + i)}个苹果，又买了{numeral(2 + i % 7)}个，现在有几个？",
            "答案": f"{5 + i + i % 7}",
        }
        for i in range(60)
    ]


def feelings() -> list[dict[str, str]]:
    said = {"正面": ("味道很好", "送货很快", "非常满意"), "负面": ("质量太差", "送货很慢", "一用就坏")}
    return [
        {"评论": f"第{numeral(i + 1)}号商品，{said[label][i % 3]}。", "标签": label}
        for i in range(60)
        for label in [("正面", "负面")[i * 7 % 3 % 2]]
    ]


@pytest.fixture
def place(shell: Shell) -> Shell:
    for name, rows in (("算术.jsonl", sums()), ("评论.jsonl", feelings())):
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        (shell.folder / name).write_text("\n".join(lines), encoding="utf-8")
    for name, text in FILES.items():
        (shell.folder / name).write_text(text, encoding="utf-8")
    return shell


def asked(shell: Shell) -> list[str]:
    """What the optimizer was told."""
    lines = (shell.folder / "asked.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def page(run: Path) -> str:
    """The report without its tags."""
    return (run / "report.html").read_text(encoding="utf-8")


def test_opro_on_sums_with_chinese_numerals(place: Shell) -> None:
    columns = ("--data", "算术.jsonl", "--input", "问题", "--target", "答案", "--answer", "number")
    models = ("--model", "模型.py:Sums", "--optimizer", "模型.py:Writer")
    said = place("run", "opro", *columns, *models, "--prompt", SUMS, "--set", "samples=2", "--steps", "1", "--json")
    assert said.code == 0, said.err
    assert said.json["prompt"]["best"] == "请逐步计算，再回答问题。" and "请逐步计算" in said.out
    assert said.json["verdict"] == "better" and said.json["test"]["best"]["mean"] == 1.0
    assert said.json["answers"]["best"]["unextracted"] == 0
    assert all("以前的提示词，附有0到100的分数" in text and "请写一条新的提示词" in text for text in asked(place))
    assert not any(set(re.findall("[A-Za-z]+", text)) - {"slot", "prompt"} for text in asked(place))
    (run,) = place.runs
    rows = [json.loads(line) for line in (run / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(row["best"]["score"] == 1.0 and numeral(int(row["target"])) in row["best"]["output"] for row in rows)
    # Characters are compared one by one: what both prompts share is not struck out.
    shown = page(run)
    assert re.search(r"请(?:</span>)?<ins[^>]*>逐步计算，再</ins>(?:<span[^>]*>)?回答问题。", shown)
    assert "算术模型" in shown or "模型.py:Sums" in shown
    assert "\ufffd" not in shown and "算术" in shown


def test_protegi_on_labels_and_its_exports(place: Shell) -> None:
    columns = ("--data", "评论.jsonl", "--input", "评论", "--target", "标签", "--language", "zh")
    models = ("--model", "模型.py:Feelings", "--optimizer", "模型.py:Writer")
    sizes = ("--set", "preset=small", "--steps", "1")
    said = place("run", "protegi", *columns, *models, "--prompt", FEELINGS, *sizes, "--json")
    assert said.code == 0, said.err
    assert said.json["prompt"]["best"] == "判断语气，再判断这条评论。" and said.json["test"]["best"]["mean"] == 1.0
    told = asked(place)
    assert any("提示词为什么会导致这些错误" in text for text in told)
    assert any("这条提示词的问题：提示词没有说要看语气。" in text for text in told)
    (run,) = place.runs
    assert "判断语气，再" in page(run) and "\ufffd" not in page(run)
    for name in ("text", "json", "python", "lm-eval", "promptfoo", "yaml"):
        out = place.folder / f"导出-{name}"
        exported = place("export", run, "--to", name, "--out", out, "--verify", "--rows", "5")
        assert exported.code == 0, exported.err
        files = [path for path in ([out] if out.is_file() else sorted(out.rglob("*"))) if path.is_file()]
        texts = [path.read_bytes().decode("utf-8") for path in files]
        assert any("判断语气，再判断这条评论。" in text for text in texts), name
        assert not any("\\u5224" in text or "\ufffd" in text for text in texts), name
    shown = place("report", run)
    assert shown.code == 0, shown.err
