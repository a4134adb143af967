from __future__ import annotations

import json
import math
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from folders import HOSTILE, PATH, START, trial, write_run

from steepest.errors import StateError
from steepest.reporting.html import write

VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """The page as a browser would take it apart; refuses elements that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.text.setdefault(self._open[-1], []).append(data)


def report(folder: Path, **changes: Any) -> str:
    return write(write_run(folder / "run", **changes)).read_text("utf-8")


def plain(text: str) -> str:
    body = text[text.index("<body") :]
    return unescape(re.sub(r"<[^>]+>", "", body)).replace("\u00a0", " ")


def test_the_verdict_comes_first_with_its_numbers(tmp_path: Path) -> None:
    page = Page(report(tmp_path))
    assert page.text["h1"] == ["The new prompt is better."]
    values = page.text["b"]
    assert [v for v in values if "%" in v or "points" in v] == ["48.0 %", "85.0 %", "+37.0 points"]
    text = plain(report(tmp_path / "again"))
    assert text.index("is better") < text.index("exact McNemar test") < text.index("The prompt")


def test_changed_words_are_marked(tmp_path: Path) -> None:
    text = report(tmp_path)
    assert '<blockquote class="prompt"><del>Answer</del> the <del>question</del>.</blockquote>' in text
    assert '<blockquote class="prompt"><ins>Verify</ins> the <ins>chain step by step</ins>.</blockquote>' in text


def test_rows_that_were_fixed_and_broken_are_counted_and_shown(tmp_path: Path) -> None:
    text = plain(report(tmp_path))
    assert "40 fixed45 right under both12 wrong under both3 broken" in text
    assert "Rows fixed: 8 of 40" in text and "Rows broken: 3" in text
    assert text.count("so B is true. The answer is no.") == 8 + 3
    assert "no answer could be found in the output40" in text


def test_the_search_is_told_edit_by_edit(tmp_path: Path) -> None:
    text = plain(report(tmp_path))
    assert "step 3AnswerVerify the chain step by step.returned87.0 %+6.0" in text
    assert "9 edits tried, 3 accepted. Accepted by gradient rank (1 is steepest): rank 1: 3." in text
    assert "12question → chain1−0.4200.500 → 0.600+0.100accepted" in text
    assert "12question → quickly2−0.1100.500 → 0.300−0.200rejected" in text
    assert "12+ now––0.500 → 0.500+0.000rejected" in text


def test_cost_and_how_to_run_it_again(tmp_path: Path) -> None:
    text = plain(report(tmp_path))
    assert "The search40036,00012,00048,000" in text and "Together1,600126,00042,000168,000" in text
    assert f"steepest run greater --task lies --model bundled --prompt '{START}' --seed 7" in text
    assert "steepest 0.1.0, python 3.11.7, numpy 2.3.1, torch 2.13.0" in text


def test_what_the_optimizer_is_told_stands_apart_from_the_settings(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    spec = json.loads((folder / "run.json").read_text())
    messages = {"task": {"en": "Write <b>it</b>.", "zh": "写。"}, "end": {"en": "Tags.", "zh": "标签。"}}
    spec["method"] = {"use": "opro", "samples": 8, "wording": messages, "select": {"use": "full"}}
    for language, shown, other in (("en", "Write &lt;b&gt;it&lt;/b&gt;.", "写。"), ("zh", "写。", "Write")):
        spec["task"]["language"] = language
        (folder / "run.json").write_text(json.dumps(spec))
        text = write(folder).read_text()
        assert (
            "samples=8, select=full" in plain(text) and "wording." not in plain(text).partition("What the optimizer")[0]
        )
        assert shown in text and other not in text and "wording.end" in text


def test_the_page_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    text = report(tmp_path)
    page = Page(text)
    assert "default-src 'none'" in dict(page.attributes).get("content", "") or "default-src 'none'" in unescape(text)
    assert not {"script", "link", "iframe", "img", "object", "form"} & set(page.names)
    assert not {"href", "src", "style"} & {name for name, _ in page.attributes}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "url(" not in text and "@import" not in text and len(text) < 200_000


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    attack = HOSTILE + "</title></style></pre><img src=x onerror=alert(1)>"
    tried = [[], [trial(0, attack, "'\"><b onclick=x>", accepted=True)]]
    folder = write_run(tmp_path / "run", prompts=[HOSTILE, attack], dev=[0.5, 0.6], trials=tried)
    lines = [json.loads(line) for line in (folder / "test.jsonl").read_bytes().splitlines()]
    for line in lines:
        line["input"] = line["target"] = attack
        line["best"]["output"] = line["best"]["answer"] = attack
    (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    text = write(folder).read_text("utf-8")
    page = Page(text)
    assert not {"script", "img"} & set(page.names) and page.names.count("style") == 1
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "<script>alert(1)</script>" in plain(text)


def test_chinese_prompts_are_compared_by_character(tmp_path: Path) -> None:
    text = report(tmp_path, prompts=["请回答问题。", "请仔细回答问题。"], dev=[0.5, 0.6])
    assert "请<ins>仔细</ins>回答问题。" in text


def test_an_unfinished_run_has_a_report_too(tmp_path: Path) -> None:
    text = plain(report(tmp_path, finished=False))
    assert text.index("Not finished") < text.index("steepest resume") < text.index("Best prompt so far")
    assert "Held-out rows" not in text and "best so far" in text


def test_a_run_without_steps_or_trials(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", trials=[[], [], [], []])
    assert "edit that was tried" not in plain(write(folder).read_text("utf-8"))
    (folder / "result.json").unlink()
    for path in (folder / "steps").iterdir():
        path.unlink()
    assert "No step is committed yet." in plain(write(folder).read_text("utf-8"))


def test_edits_without_a_place(tmp_path: Path) -> None:
    edit = trial(-1, "The whole prompt. " * 20, "", rank=0, predicted="NaN", before="NaN", after=0.5)
    text = plain(report(tmp_path, prompts=["a", "b"], dev=[0.5, 0.6], trials=[[], [edit]]))
    assert re.search(r"1–− The whole prompt\. .{50,70}…––– → 0\.500–rejected", text)


def test_notes_on_the_rows_name_them_folded_away(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    spec = json.loads((folder / "run.json").read_text())
    rows = [f"rows.csv, line {n}: {HOSTILE}" for n in range(250)]
    spec["task"]["notes"] = [{"text": "250 bad rows skipped", "rows": rows}, {"text": "no train rows", "rows": []}]
    (folder / "run.json").write_text(json.dumps(spec))
    text = write(folder).read_text("utf-8")
    assert "<summary>250 bad rows skipped</summary>" in text and "<p>no train rows</p>" in text
    assert "rows.csv, line 199:" in text and "rows.csv, line 200:" not in text and "50 more in run.json" in text
    assert "script" not in Page(text).names


def test_no_better_prompt(tmp_path: Path) -> None:
    text = plain(report(tmp_path, prompts=["a", "a"], dev=[0.5, 0.5], fixed=0, broken=0, trials=[[], []]))
    assert "No better prompt was found: keep yours." in text
    assert "New prompt" not in text.split("The search")[0] and "fixed" not in text


def test_graded_scores_are_not_called_accuracy(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    lines = [json.loads(line) for line in (folder / "test.jsonl").read_bytes().splitlines()]
    lines[0]["best"]["score"] = 0.5
    (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    text = plain(write(folder).read_text("utf-8"))
    assert "accuracy" not in text and "mean score" in text and "sign-flip permutation test" in text
    assert "scored higher" in text and "Rows better" in text


def test_long_histories_and_outputs_are_cut_and_say_so(tmp_path: Path) -> None:
    tried = [[], [trial(i, " a", f" w{i}") for i in range(450)], *[[] for _ in range(18)]]
    prompts = [f"prompt {i}" for i in range(20)]
    folder = write_run(tmp_path / "run", prompts=prompts, dev=[0.4 + i / 50 for i in range(20)], trials=tried)
    lines = [json.loads(line) for line in (folder / "test.jsonl").read_bytes().splitlines()]
    for line in lines:
        line["best"] |= {"output": "x" * 4000, "explanation": "It says nothing else."}
    (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    text = plain(write(folder).read_text("utf-8"))
    assert "50 further edits are in the folder" in text and "w399" in text and "w400" not in text
    assert "8 more changes" in text and "prompt 18 19" in text
    assert "1,000 more characters in test.jsonl" in text and "Why: It says nothing else." in text


def test_unscored_rows_have_no_gain_and_are_counted(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    lines = [json.loads(line) for line in (folder / "test.jsonl").read_bytes().splitlines()]
    gone = next(line for line in lines if math.isclose(line["best"]["score"] - line["initial"]["score"], 1))
    gone["best"] = {"output": "", "answer": None, "score": None, "finish": "failed"}
    (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    text = plain(write(folder).read_text("utf-8"))
    assert "39 fixed" in text and "the model gave no answer; not scored01" in text


def test_writing_is_whole_and_repeatable(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    first = write(folder).read_bytes()
    assert write(folder) == folder / "report.html" and (folder / "report.html").read_bytes() == first
    assert not list(folder.glob("*.tmp"))


def test_a_folder_that_is_none_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="a run folder holds a run.json"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_prompt_of_the_path_is_there(tmp_path: Path) -> None:
    titles = Page(report(tmp_path)).text["title"]
    assert all(any(prompt in title for title in titles) for prompt in PATH)


def test_settings_are_written_as_they_are_set(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    spec = json.loads((folder / "run.json").read_text())
    part = {"use": "ucb", "budget": 50, "c": None}
    spec["method"] = {"use": "protegi", "beam": 3, "hard": False, "tags": ["a"], "select": part}
    (folder / "run.json").write_text(json.dumps(spec))
    told = 'beam=3, hard=false, tags=["a"], select=ucb, select.budget=50, select.c=null'
    assert told in plain(write(folder).read_text())
