from __future__ import annotations

from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from subjects import HOSTILE, ROWS, cases

from steepest.exporting.pieces import (
    as_data,
    fill,
    format_text,
    from_data,
    jinja_literal,
    jinja_text,
    pieces_of,
    slots_in,
    turns_of,
    yaml_text,
)
from steepest.tasks.task import Template
from steepest.types import Example

TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.text("{}%# ax\\\"'\n\r中🙂")


@settings(deadline=None)
@given(TEXT, TEXT, TEXT, st.booleans())
def test_filling_is_rendering(prompt: str, value: str, system: str, listed: bool) -> None:
    template = Template("{a}{prompt}{{a}} {a", system) if listed else Template("{{a}}{prompt}{input}{a}{x y}", system)
    example = Example("1", value[::-1], "t", {"a": value, "x": value, "ax": "!", "xa": value})
    if listed and set(template.prompt_slots(prompt)) - {"input", "a", "x", "ax", "xa"}:
        return
    turns = turns_of(template, prompt)
    assert fill(turns, template.columns_used(prompt, example)) == template.render(prompt, example)
    assert from_data(as_data(turns)) == turns


@settings(deadline=None)
@given(TEXT, TEXT)
def test_a_format_string_gives_the_text_back(text: str, value: str) -> None:
    pieces = pieces_of("{a}") + (text,) + pieces_of("{b}")
    assert format_text(pieces).format(a=value, b="{a}") == value + text + "{a}"


@settings(deadline=None)
@given(TEXT, TEXT)
def test_a_jinja_template_gives_the_text_back(text: str, value: str) -> None:
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    pieces = pieces_of("{a}") + (text,) + pieces_of("{b}")
    assert environment.from_string(jinja_text(pieces)).render(a=value, b="{{ a }}") == value + text + "{{ a }}"


def test_only_braces_and_returns_are_special_in_jinja() -> None:
    assert jinja_literal("a {{b}} 100% # \\n\r\n") == 'a {{ "{{" }}b}} 100% # \\n{{ "\\r" }}\n'


@settings(deadline=None)
@given(TEXT)
def test_every_reader_of_yaml_takes_a_value_the_same_way(text: str) -> None:
    written = yaml_text({"a": text, "b": {"yes": [text, 1, True, None]}})
    wanted = {"a": text, "b": {"yes": [text, 1, True, None]}}
    assert YAML(typ="safe", pure=True).load(StringIO(written)) == wanted
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(written) == wanted


@pytest.mark.parametrize(("template", "prompt"), cases())
def test_slots_are_those_that_the_template_fills(template: Template, prompt: str) -> None:
    assert set(slots_in(turns_of(template, prompt))) == set(template.columns_used(prompt, ROWS[0]))


def test_neighbouring_texts_are_one_piece() -> None:
    assert turns_of(Template("{input} {prompt}!"), HOSTILE[4])[0].pieces[1:] == (f" {HOSTILE[4]}!",)
