from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripted_optimizer import Asked, asking, text_task
from steepest.parts.text import (
    ATTEMPTS,
    Gate,
    MetaPrompt,
    Unusable,
    ask,
    changed_words,
    cleaned,
    fresh,
    percent,
    read_prompt,
    read_tagged,
    shown_answer,
    shown_input,
    spoken,
    tagged,
    words,
)
from steepest.tasks.task import Task
from steepest.types import Candidate, Example, Outcome, Response

LONG = "A train leaves the old station at nine in the morning and never comes back"


def refusal(gate: Gate, text: str) -> str:
    with pytest.raises(Unusable) as refused:
        gate.admit(text)
    return str(refused.value)


def with_train_row(text: str, task: Task | None = None) -> Task:
    return replace(task or text_task(), train=(Example("long", text, "no"),))


class TestMetaPrompt:
    def test_it_is_filled_in_the_language_asked_for(self) -> None:
        message = MetaPrompt(en="Say {word}.", zh="说{word}。")
        assert message.fill("en", word="hello") == "Say hello."
        assert message.fill("zh", word="你好") == "说你好。"

    def test_what_is_filled_in_is_not_filled_again(self) -> None:
        message = MetaPrompt(en="{a} {b}", zh="{b} {a}")
        assert message.fill("en", a="{b}", b="{a} {c} {") == "{b} {a} {c} {"

    @pytest.mark.parametrize("slots", [{}, {"word": "a", "other": "b"}, {"other": "b"}])
    def test_missing_and_unused_slots_are_errors(self, slots: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="fill exactly these"):
            MetaPrompt(en="Say {word}.", zh="说{word}。").fill("en", **slots)

    def test_languages_have_the_same_slots(self) -> None:
        with pytest.raises(ValueError, match="same slots in every language"):
            MetaPrompt(en="Say {word}.", zh="说。")


class TestTags:
    @pytest.mark.parametrize(
        ("text", "spans"),
        [
            ("<prompt> Do it. </prompt>", ["Do it."]),
            ("Sure!\n<PROMPT>Do\nit.</Prompt> Bye", ["Do\nit."]),
            ("<prompt>a</prompt><prompt> </prompt><prompt>b</prompt>", ["a", "b"]),
            ("<prompt>never closed", []),
            ("closed only</prompt>", []),
            ("<reason>other</reason>", []),
            ("<think><prompt>draft</prompt></think><prompt>final</prompt>", ["final"]),
            ("<prompt>“curly” 你好</prompt>", ["“curly” 你好"]),
        ],
    )
    def test_closed_spans_alone_count(self, text: str, spans: list[str]) -> None:
        assert tagged(text, "prompt") == spans

    def test_thinking_that_never_ends_is_no_reply(self) -> None:
        with pytest.raises(Unusable, match="thinking only"):
            spoken("<think>so <prompt>draft</prompt>")

    @pytest.mark.parametrize(
        ("response", "reason"),
        [
            (Response("<prompt>x</prompt>", finish="failed"), "no reply"),
            (Response("<prompt>x", finish="length"), "cut off"),
            (Response("x"), "no tags"),
            (Response("<prompt>...</prompt>"), "empty"),
        ],
    )
    def test_what_cannot_be_read_has_a_reason(self, response: Response, reason: str) -> None:
        with pytest.raises(Unusable, match=reason):
            read_prompt(response, Gate(text_task()))

    def test_all_spans_are_read_and_the_first_is_the_prompt(self) -> None:
        reply = Response("<prompt>One way.</prompt> or <prompt>Another way.</prompt>")
        assert read_tagged(reply, "prompt") == ["One way.", "Another way."]
        assert read_prompt(reply, Gate(text_task())) == "One way."


class TestGate:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "empty"),
            ("...", "empty"),
            ("“ ”", "empty"),
            ("Okay, I need to write a prompt.", "thinking"),
            ("Let me think about it.", "thinking"),
            ("Wait, that is wrong.", "thinking"),
            ("The user wants a prompt.", "thinking"),
            ("好的，我来写。", "thinking"),
            ("Do <slot> now.", "leftover tags"),
            ("Do it.</prompt", ""),
            ("Do it.</Prompt>", "leftover tags"),
            ("Fill [INS] in.", "leftover tags"),
            ("one two three four five six", "too long"),
            ("一二三四五六", "too long"),
            ("SAY   it.", "duplicate"),
        ],
    )
    def test_every_refusal_has_its_reason(self, text: str, reason: str) -> None:
        gate = Gate(text_task(), known=["Say it."], max_words=5 if reason == "too long" else 400)
        if reason:
            assert refusal(gate, text) == reason
        else:
            assert gate.admit(text) == text

    def test_what_was_admitted_is_known(self) -> None:
        gate = Gate(text_task())
        assert gate.admit(' "Be brief." ') == "Be brief."
        assert refusal(gate, "be  brief.") == "duplicate"

    def test_what_was_refused_is_not(self) -> None:
        gate = Gate(text_task(), max_words=2)
        for _ in range(2):
            assert refusal(gate, "much too long") == "too long"

    def test_ordinary_words_are_not_thinking(self) -> None:
        gate = Gate(text_task())
        for text in ("Think it through first.", "Waiting times count.", "First, read it.", "Use <b>bold</b> type."):
            assert gate.admit(text) == text

    def test_slots_of_a_prompt_are_kept_and_none_invented(self) -> None:
        task = text_task(layout="{prompt}", seeds=("Opposite of {input}, {hint}?",))
        gate = Gate(task)
        assert refusal(gate, "Opposite of {input}?") == "slots lost"
        assert refusal(gate, "{input} and {hint} and {colour}?") == "slots invented"
        assert gate.admit("{hint}: turn {input} around.")

    def test_braces_mean_nothing_where_the_layout_has_the_rows(self) -> None:
        assert Gate(text_task()).admit("Answer as {colour}.") == "Answer as {colour}."

    def test_a_run_of_eight_words_of_a_row_is_copied(self) -> None:
        gate, eight = Gate(with_train_row(LONG)), LONG.split()[2:10]
        assert refusal(gate, f"As in: {' '.join(eight).upper()}!") == "copied row"
        assert gate.admit("As in: " + " ".join(eight[:7]))

    def test_a_short_row_is_copied_as_a_whole(self) -> None:
        gate = Gate(with_train_row("is seven plus two ten"))
        assert refusal(gate, "Is seven plus two ten?") == "copied row"
        assert Gate(with_train_row("plus two ten")).admit("Say plus two ten.")

    def test_dev_rows_must_not_be_copied_either(self) -> None:
        gate = Gate(replace(text_task(), dev=(Example("long", LONG, "no"),)))
        assert refusal(gate, LONG) == "copied row"

    def test_what_the_initial_prompt_shares_with_a_row_is_allowed(self) -> None:
        seed = " ".join(LONG.split()[:8])
        assert Gate(with_train_row(LONG, text_task(seeds=(seed,)))).admit(f"Please: {seed}")

    def test_chinese_runs_are_sixteen_characters(self) -> None:
        row = "小明有三个苹果又买了五个苹果请问他现在一共有几个苹果"
        gate = Gate(with_train_row(row, text_task(language="zh")))
        assert refusal(gate, "例如：" + row[:16]) == "copied row"
        assert gate.admit("例如：" + row[:15])


class TestAsk:
    def test_replies_come_in_order_prompt_by_prompt(self) -> None:
        numbers = count()
        model = Asked(lambda request: f"<reason>{request.prompt} {next(numbers)}</reason>")
        with asking(model) as ctx:
            found = ask(ctx, "optimizer", ["a", "b"], lambda r: tagged(r.text, "reason")[0], temperature=1.0, n=2)
            assert found == [["a 0", "a 1"], ["b 2", "b 3"]]
            assert ctx.counts == {"usable": 4}
        assert len(model.batches) == 1 and len({request.seed for request in model.requests}) == 4

    def test_what_is_unusable_is_asked_for_again_in_one_batch_and_counted(self) -> None:
        replies = iter(["<prompt>a</prompt>", "no", "<prompt>b", "<prompt>c</prompt>", "", "<prompt>d</prompt>", "e"])
        model = Asked(lambda request: next(replies))
        with asking(model) as ctx:
            found = ask(ctx, "optimizer", ["x", "y"], lambda r: read_tagged(r, "prompt")[0], temperature=1.0, n=2)
            assert found == [["a"], ["d", "c"]]
            assert ctx.counts == {"unusable: no tags": 4, "usable": 3, "dropped": 1}
        asked = [[request.prompt for request in batch] for batch in model.batches]
        assert asked == [["x", "x", "y", "y"], ["x", "y"], ["x"]]

    def test_what_stays_unusable_is_dropped_and_counted(self) -> None:
        model = Asked(lambda request: "<prompt>ok</prompt>" if request.prompt == "good" else "nothing")
        with asking(model) as ctx:
            read = lambda r: read_tagged(r, "prompt")[0]  # noqa: E731
            assert ask(ctx, "optimizer", ["bad", "good"], read, temperature=0.5) == [[], ["ok"]]
            assert ctx.counts == {"unusable: no tags": ATTEMPTS, "dropped": 1, "usable": 1}
        assert len(model.requests) == ATTEMPTS + 1

    def test_greedy_replies_are_asked_for_once(self) -> None:
        model = Asked(lambda request: "nothing")
        with asking(model) as ctx:
            assert ask(ctx, "optimizer", ["a"], lambda r: read_tagged(r, "prompt"), temperature=0.0) == [[]]
        assert len(model.requests) == 1

    def test_nothing_asked_is_nothing_answered(self) -> None:
        model = Asked(lambda request: "nothing")
        with asking(model) as ctx:
            assert ask(ctx, "optimizer", [], lambda r: r.text, temperature=1.0) == []
        assert model.batches == []

    def test_limits_reach_the_model(self) -> None:
        model = Asked(lambda request: "word")
        with asking(model) as ctx:
            ask(ctx, "judge", ["a"], lambda r: r.text, temperature=0.3, max_tokens=7)
        assert (model.requests[0].temperature, model.requests[0].max_tokens) == (0.3, 7)

    def test_programming_errors_are_not_retried(self) -> None:
        with asking(Asked(lambda request: "word")) as ctx, pytest.raises(ZeroDivisionError):
            ask(ctx, "optimizer", ["a"], lambda r: 1 / 0, temperature=1.0)


class TestWords:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("Don't STOP, it's 3.5!", ["don't", "stop", "it's", "3", "5"]),
            ("请用English回答。", ["请", "用", "english", "回", "答"]),
            ("snake_case -- ok", ["snake", "case", "ok"]),
            ("カタカナ", ["カ", "タ", "カ", "ナ"]),
            ("…!?", []),
        ],
    )
    def test_words(self, text: str, found: list[str]) -> None:
        assert words(text) == found

    @settings(deadline=None)
    @given(st.lists(st.sampled_from("abc"), max_size=5), st.lists(st.sampled_from("abc"), max_size=5))
    def test_changed_words_is_the_shortest_way(self, old: list[str], new: list[str]) -> None:
        def slow(a: list[str], b: list[str]) -> int:
            if not a or not b:
                return len(a) + len(b)
            return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))

        assert changed_words(" ".join(old), " ".join(new)) == slow(old, new)

    def test_case_and_punctuation_are_no_change_and_characters_are(self) -> None:
        assert changed_words("Say it!", "say, it") == 0
        assert changed_words("请回答问题", "请先回答") == 3


class TestCleaned:
    @pytest.mark.parametrize(
        ("text", "clean"),
        [
            ("  Do it.\n", "Do it."),
            ("```text\nDo it.\n```", "Do it."),
            ("```\nDo\nit.\n```", "Do\nit."),
            ('"Do it."', "Do it."),
            ("“Do it.”", "Do it."),
            ("「做吧」", "做吧"),
            ("'`Do it.`'", "Do it."),
            ('"Yes" or "no"', '"Yes" or "no"'),
            ("**Do** it.", "Do it."),
            ('"', '"'),
            ("Use ``` marks.", "Use ``` marks."),
        ],
    )
    def test_wrapping_goes_and_content_stays(self, text: str, clean: str) -> None:
        assert cleaned(text) == clean


def test_fresh_keeps_the_first_of_each_text_in_order() -> None:
    a, b, again, c = Candidate("a"), Candidate("b"), Candidate("a", ("x",), "edit"), Candidate("c")
    assert fresh([b, a, again, c, b], known=[Candidate("c")]) == [b, a]


@pytest.mark.parametrize(("score", "shown"), [(0.29, "29"), (0.0, "0"), (1.0, "100"), (0.57, "57"), (2 / 3, "67")])
def test_percents_are_whole(score: float, shown: str) -> None:
    assert percent(score) == shown


def test_rows_are_shown_by_what_the_model_sees() -> None:
    row = Example("r", "hot", "cold", {"hint": "weather", "unused": "x"})
    assert shown_input(text_task(), row) == "hot"
    assert shown_input(text_task(layout="{hint}\n{input}\n{prompt}"), row) == "hint: weather\ninput: hot"
    task = text_task(layout="{prompt}", seeds=("Turn {input} around.",))
    assert shown_input(task, row) == "hot"


def test_answers_are_shown_as_found_or_by_their_end() -> None:
    row = Example("r", "hot", "cold")
    assert shown_answer(Outcome(row, "It is cold.", 1.0, "cold")) == "cold"
    assert shown_answer(Outcome(row, "x" * 500 + "end ", 0.0, None), limit=5) == "xxend"


@pytest.mark.parametrize("loop", ["<prompt>", "<think>", "<prompt><think>", "</prompt>"])
def test_a_reply_that_opens_tags_without_end_is_read_at_once(loop: str) -> None:
    started = time.process_time()
    with contextlib.suppress(Unusable):
        assert tagged(loop * 8000, "prompt") == []
    assert time.process_time() - started < 2


def test_thinking_is_left_out_wherever_it_stands() -> None:
    said = "a<think>b<prompt>no</prompt></think><PROMPT>one</prompt><Thought>c</thought> <prompt><prompt>two</prompt>"
    assert tagged(said, "prompt") == ["one", "<prompt>two"]
