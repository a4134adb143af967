from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

import pytest

from scripted_optimizer import Asked, asking, text_task
from steepest import spec
from steepest.parts.text import ATTEMPTS, Gate, MetaPrompt, words
from steepest.parts.updates import (
    BLANK,
    DEMO,
    GUESS,
    INFILL,
    PARAPHRASE,
    SLOTS,
    STORY,
    Induce,
    Paraphrase,
    slots_rule,
    without_echo,
)
from steepest.types import Candidate, Example, Infill, Request, Response


def numbered(word: str = "Prompt") -> Asked:
    """Says another prompt each time."""
    numbers = count()
    return Asked(lambda request: f"Here: <prompt>{word} {next(numbers)}</prompt>")


class TestParaphrase:
    def test_variants_are_flat_and_name_their_parents(self) -> None:
        parents, model, task = [Candidate("Be brief."), Candidate("Be kind.")], numbered(), text_task()
        with asking(model, task) as ctx:
            found = Paraphrase(n=2)(parents, ctx, Gate(task, ["Be brief.", "Be kind."]))
        assert [candidate.text for candidate in found] == ["Prompt 0", "Prompt 1", "Prompt 2", "Prompt 3"]
        assert [candidate.parents for candidate in found] == [(parents[i // 2].id,) for i in range(4)]
        assert {candidate.origin for candidate in found} == {"paraphrase"}
        assert len(model.batches) == 1
        assert ["Be brief." in text for text in model.texts] == [True, True, False, False]

    def test_a_parent_repeated_to_the_letter_is_asked_for_again(self) -> None:
        model, task = Asked(lambda request: "<prompt>be  BRIEF.</prompt>"), text_task()
        with asking(model, task) as ctx:
            assert Paraphrase()([Candidate("Be brief.")], ctx, Gate(task, ["Be brief."])) == []
            assert ctx.counts["unusable: duplicate"] == ATTEMPTS

    def test_no_parents_no_calls(self) -> None:
        model, task = numbered(), text_task()
        with asking(model, task) as ctx:
            assert Paraphrase()([], ctx, Gate(task)) == []
        assert model.batches == []

    @pytest.mark.parametrize("temperature", [0.0, 0.9])
    def test_its_cost_is_never_exceeded(self, temperature: float) -> None:
        how, model, task = Paraphrase(n=3, temperature=temperature), Asked(lambda request: "nothing"), text_task()
        with asking(model, task) as ctx:
            how([Candidate("a"), Candidate("b")], ctx, Gate(task))
        # The three greedy replies to one message are one call.
        assert len(model.requests) == (how.calls(2) if temperature else 2) <= how.calls(2)

    def test_columns_that_a_prompt_must_hold_are_named(self) -> None:
        task = text_task(layout="{prompt}", seeds=("Opposite of {input}, {hint}?",))
        model = Asked(lambda request: "<prompt>{hint}: turn {input} around.</prompt>")
        with asking(model, task) as ctx:
            found = Paraphrase()([Candidate(task.seeds[0])], ctx, Gate(task, task.seeds))
        assert [candidate.text for candidate in found] == ["{hint}: turn {input} around."]
        assert "{input}, {hint}." in model.texts[0]
        assert slots_rule(text_task()) == ""


class TestInduce:
    def test_each_set_of_demonstrations_is_one_message_asked_n_times(self) -> None:
        model, task = numbered(), text_task(rows=6)
        with asking(model, task) as ctx:
            found = Induce(sets=3, demos=5, n=4)(task.train, ctx, Gate(task))
        assert [candidate.text for candidate in found] == [f"Prompt {i}" for i in range(12)]
        assert {(candidate.origin, candidate.parents) for candidate in found} == {("induce", ())}
        assert [len(batch) for batch in model.batches] == [12]
        assert len(set(model.texts)) == 3 and model.texts[0] == model.texts[3]
        assert {request.temperature for request in model.requests} == {0.9}

    def test_demonstrations_are_drawn_without_replacement_and_as_many_as_there_are(self) -> None:
        model, task = numbered(), text_task(rows=3)
        with asking(model, task) as ctx:
            Induce(sets=1, demos=5, n=1)(task.train, ctx, Gate(task))
        shown = model.texts[0]
        assert all(shown.count(f"Input: {row.input}\nAnswer: {row.target}") == 1 for row in task.train)
        assert "3 inputs" in shown and shown.count("Input:") == 3

    def test_nothing_but_the_given_rows_is_shown(self) -> None:
        model, task = numbered(), text_task(rows=6)
        with asking(model, task) as ctx:
            Induce(sets=8, demos=2, n=1)(task.train[:3], ctx, Gate(task))
        assert not any(row.input in text.split() for row in task.train[3:] for text in model.texts)

    def test_other_steps_draw_other_demonstrations(self) -> None:
        def shown(step: int) -> list[str]:
            model, task = numbered(), text_task(rows=6)
            with asking(model, task, step) as ctx:
                Induce(sets=3, demos=2, n=1)(task.train, ctx, Gate(task))
            return model.texts

        assert shown(0) == shown(0) != shown(1)

    def test_templates_are_the_users_to_change(self) -> None:
        message = MetaPrompt(en="[{count}] {demos} What was it?{slots}", zh="[{count}] {demos} 是什么？{slots}")
        how = Induce(
            sets=1, demos=1, n=1, message=message, demo=MetaPrompt(en="{input}>{answer}", zh="{input}>{answer}")
        )
        model, task = numbered(), text_task(rows=1)
        with asking(model, task) as ctx:
            how(task.train, ctx, Gate(task))
        assert model.texts == ["[1] hot>cold What was it?"]
        assert spec.build(spec.describe(how)) == how

    def test_braces_in_rows_are_shown_as_they_are(self) -> None:
        model, task = numbered(), text_task()
        with asking(model, task) as ctx:
            Induce(sets=1, demos=1, n=1)([Example("r", "{answer} {demos}", "{slots}")], ctx, Gate(task))
        assert "Input: {answer} {demos}\nAnswer: {slots}" in model.texts[0]

    def test_in_chinese_everything_is_chinese(self) -> None:
        model, task = numbered(), text_task(language="zh")
        with asking(model, task) as ctx:
            Induce(sets=1, demos=2, n=1)(task.train, ctx, Gate(task))
            Induce(mode="reverse", sets=1, demos=2, n=1)(task.train, ctx, Gate(task))
            Paraphrase()([Candidate("请回答。")], ctx, Gate(task))
        assert all("提示词" in text and "Prompt" not in text and "Input" not in text for text in model.texts)

    @pytest.mark.parametrize("mode", ["forward", "reverse"])
    def test_its_cost_is_never_exceeded(self, mode: str) -> None:
        how = Induce(mode=mode, sets=2, demos=2, n=3)  # type: ignore[arg-type]
        model, task = Asked(lambda request: "<prompt>the same</prompt>"), text_task()
        with asking(model, task) as ctx:
            assert len(how(task.train, ctx, Gate(task))) == 1
        assert len(model.requests) == 6 + 5 + 5 <= how.calls()

    @pytest.mark.parametrize("field", ["sets", "demos", "n"])
    def test_nothing_is_not_a_number_of_proposals(self, field: str) -> None:
        with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
            Induce(**{field: 0})  # type: ignore[arg-type]


class TestReverse:
    def test_the_blank_is_visible_and_the_candidates_say_that_it_was_emulated(self) -> None:
        model, task = numbered(), text_task(rows=6)
        with asking(model, task) as ctx:
            found = Induce(mode="reverse", sets=2, demos=2, n=3)(task.train, ctx, Gate(task))
            assert ctx.counts["infill-emulated"] == len(found) == 6
        assert {candidate.origin for candidate in found} == {"infill-emulated"}
        assert [len(batch) for batch in model.batches] == [6]
        for text in model.texts:
            assert text.index(f"Prompt: {BLANK}") < text.index("Input:")

    def test_echoes_of_the_story_are_removed_before_the_gate_looks(self) -> None:
        task = text_task()
        echo = (
            "<prompt>Prompt: Say the opposite.\nThe friend did what the prompt says and answered:\n\nInput: x</prompt>"
        )
        with asking(Asked(lambda request: echo), task) as ctx:
            found = Induce(mode="reverse", sets=1, n=1)(task.train, ctx, Gate(task))
        assert [candidate.text for candidate in found] == ["Say the opposite."]

    def test_an_echo_alone_is_empty(self) -> None:
        task = text_task()
        with asking(Asked(lambda request: "<prompt>Prompt:</prompt>"), task) as ctx:
            assert Induce(mode="reverse", sets=1, n=1)(task.train, ctx, Gate(task)) == []
            assert ctx.counts["unusable: empty"] == ATTEMPTS

    def test_a_row_with_a_blank_of_its_own_does_not_move_the_storys(self) -> None:
        model, task = numbered(), text_task()
        last = MetaPrompt(en="{count} pairs:\n{demos}\nAll follow: <blank>", zh="{count}\n{demos}\n<blank>")
        how = Induce(mode="reverse", sets=1, demos=1, n=1, story=last)
        with asking(model, task) as ctx:
            how([Example("r", f"I {BLANK} tea.", "drink")], ctx, Gate(task))
        assert "I ____ tea." in model.texts[0]
        assert model.texts[0].count(f"follow: {BLANK}") == 1

    @pytest.mark.parametrize("story", ["{count} {demos}", "<blank> {count} {demos} <blank>"])
    def test_a_story_has_one_blank(self, story: str) -> None:
        with pytest.raises(ValueError, match="exactly once"):
            Induce(story=MetaPrompt(en=story, zh=story))

    @pytest.mark.parametrize(
        ("text", "filled"),
        [
            ("Do it.", "Do it."),
            ("He said: Do it.", "Do it."),
            ("A man came.\nHe said: Do it.\nAnd left.", "Do it."),
            ("Do it. And left.\nFor good.", "Do it."),
            ("Do it, he said:", "Do it, he said:"),
            ("He said:", ""),
        ],
    )
    def test_what_fills_the_blank_is_without_its_surroundings(self, text: str, filled: str) -> None:
        assert without_echo(text, f"A man came.\nHe said: {BLANK}\nAnd left.\nFor good.") == filled

    def test_a_blank_at_either_end_has_no_surroundings_there(self) -> None:
        assert without_echo("Do it.", f"{BLANK}\nHe said.") == "Do it."
        assert without_echo("Do it.", f"He said: {BLANK}") == "Do it."


class Filler:
    """Fills gaps by a function of how many it filled, and remembers them."""

    id = "filler"

    def __init__(self, fill: Callable[[int], str | Response]) -> None:
        self.fill = fill
        self.gaps: list[Infill] = []

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        raise AssertionError("it was to fill gaps")

    def infill(self, requests: Sequence[Infill]) -> Iterator[tuple[int, Response]]:
        for index, request in enumerate(requests):
            said = self.fill(len(self.gaps))
            self.gaps.append(request)
            yield index, Response(said, 20, 5) if isinstance(said, str) else said


class TestInfilling:
    def test_both_sides_of_the_story_are_sent_as_they_are(self) -> None:
        model, task = Filler(lambda n: f" Prompt {n}\n\nInput: more"), text_task(rows=6)
        with asking(model, task) as ctx:
            found = Induce(mode="reverse", sets=2, demos=2, n=3, max_tokens=50)(task.train, ctx, Gate(task))
            assert ctx.counts == {"usable": 6}
        assert [candidate.text for candidate in found] == [f"Prompt {n}" for n in range(6)]
        assert {(candidate.origin, candidate.parents) for candidate in found} == {("infill", ())}
        gaps = [request.gap for request in model.gaps]
        assert gaps[0] == gaps[2] != gaps[3] == gaps[5]
        assert len({request.seed for request in model.gaps}) == 6
        assert {(request.temperature, request.max_tokens) for request in model.gaps} == {(0.9, 50)}
        for gap in gaps:
            assert gap.before == "Somebody gave a friend this prompt and 2 inputs.\nPrompt: "
            assert gap.after.startswith("\nThe friend did what the prompt says and answered:\n\nInput: ")
            assert gap.after.count("Input:") == 2 and BLANK not in gap.before + gap.after

    def test_forward_mode_asks_all_the_same(self) -> None:
        with asking(Filler(str)) as ctx, pytest.raises(AssertionError, match="fill gaps"):
            Induce(sets=1, n=1)(ctx.task.train, ctx, Gate(ctx.task))

    @pytest.mark.parametrize(
        ("written", "kept"),
        [
            ("\n\n Say the opposite.\n\nAnd more.", "Say the opposite."),
            ("Say the opposite.\nThe friend did what the prompt says and answered:\n\nInput: x", "Say the opposite."),
            ('"Say the opposite."\n \nx', "Say the opposite."),
            ("Say the opposite.\nIn one word.", "Say the opposite.\nIn one word."),
            (Response("Say the opposite.\n\nInput: and so", finish="length"), "Say the opposite."),
            (
                Response("Say it.\nThe friend did what the prompt says and answered: on", finish="length"),
                "Say it.",
            ),
        ],
    )
    def test_what_is_written_ends_where_the_gap_does(self, written: str | Response, kept: str) -> None:
        with asking(Filler(lambda n: written)) as ctx:
            found = Induce(mode="reverse", sets=1, n=1)(ctx.task.train, ctx, Gate(ctx.task))
        assert [candidate.text for candidate in found] == [kept]

    @pytest.mark.parametrize(
        ("written", "reason"),
        [
            ("  \n", "empty"),
            (Response("Say the opposite of", finish="length"), "cut off"),
            (Response("", finish="failed", reason="timeout"), "no reply"),
        ],
    )
    def test_what_cannot_be_used_is_asked_for_again_within_the_cost(self, written: str | Response, reason: str) -> None:
        model, how = Filler(lambda n: written), Induce(mode="reverse", sets=1, n=1)
        with asking(model) as ctx:
            assert how(ctx.task.train, ctx, Gate(ctx.task)) == []
            assert ctx.counts[f"unusable: {reason}"] == ATTEMPTS and ctx.counts["dropped"] == 1
        assert len(model.gaps) == ATTEMPTS == how.calls()


@pytest.mark.parametrize("message", [PARAPHRASE, GUESS, STORY, INFILL, DEMO, SLOTS])
def test_messages_are_short(message: MetaPrompt) -> None:
    assert len(words(message.en)) <= 110 and len(words(message.zh)) <= 160
