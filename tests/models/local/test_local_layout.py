"""Which token belongs to what."""

from __future__ import annotations

import pytest
from tiny_models import Family, train_tokenizer

from steepest.errors import ModelError
from steepest.models.local.layout import Layout
from steepest.types import Message, Row


@pytest.fixture
def chat(llama: Family) -> Layout:
    return Layout(llama.local._loaded.tokenizer)


@pytest.fixture
def plain(families: dict[str, Family]) -> Layout:
    return Layout(families["gpt2"].local._loaded.tokenizer)


def texts(layout: Layout, ids: list[int]) -> list[str]:
    return layout._decode([[i] for i in ids], keep_special=True)


def test_a_template_is_written_around_untouched_contents(chat: Layout) -> None:
    messages = (Message("system", "Be kind. "), Message("user", " Hi "))
    assert chat.text(messages) == ("<|start|><|system|>\nBe kind. <|end|>\n<|user|>\n Hi <|end|>\n<|assistant|>\n")


def test_a_last_assistant_turn_is_left_open(chat: Layout) -> None:
    messages = (Message("user", "Hi"), Message("assistant", "The answer is $ "))
    assert chat.text(messages) == chat.text("Hi") + "The answer is $ "


def test_earlier_assistant_turns_are_closed(chat: Layout) -> None:
    messages = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    assert chat.text(messages).endswith("<|assistant|>\nb<|end|>\n<|user|>\nc<|end|>\n<|assistant|>\n")


def test_the_start_token_comes_once(chat: Layout, plain: Layout) -> None:
    for layout in (chat, plain):
        (ids,) = layout.ids([layout.text("Hi")])
        assert ids.count(0) == 1
        assert ids[0] == 0


def test_plain_models_get_lines(plain: Layout) -> None:
    assert plain.text((Message("system", "s"), Message("user", "u"))) == "<|start|>s\nu\n"


def test_a_template_without_system_role_gets_it_with_the_user(families: dict[str, Family]) -> None:
    layout = Layout(families["gemma2"].local._loaded.tokenizer)
    assert "<|user|>\nBe kind.\n\nHi<|end|>" in layout.text((Message("system", "Be kind."), Message("user", "Hi")))


def test_a_conversation_that_the_template_refuses_is_an_error(families: dict[str, Family]) -> None:
    strict = train_tokenizer("{{ raise_exception('never') }}")
    with pytest.raises(ModelError, match="chat template, got roles user, assistant, user"):
        Layout(strict).text((Message("user", "a"), Message("assistant", "b"), Message("user", "c")))


def test_a_template_may_write_the_system_text_behind_the_users() -> None:
    behind = "<|user|>{{ messages[1]['content'] }} {{ messages[0]['content'] }}<|assistant|>"
    layout = Layout(train_tokenizer(behind))
    assert layout.text((Message("system", "s"), Message("user", "u"))) == "<|user|>u s<|assistant|>"


def test_a_template_that_drops_a_turn_is_an_error() -> None:
    forgetful = train_tokenizer("{{ messages[-1]['content'] }}")
    with pytest.raises(ModelError, match="every turn once"):
        Layout(forgetful).text((Message("user", "a"), Message("assistant", "b"), Message("user", "c")))


def test_a_space_before_the_slot_belongs_to_the_prompts_first_word(chat: Layout) -> None:
    row = Row("How many apples? ", "", "", " 12")
    ids = chat.encode("Answer the question.", row.before)
    assert texts(chat, ids)[0] == " Answer"
    assert chat.decode(ids) == "Answer the question."
    (placed,) = chat.place([(row, ids)])
    assert texts(chat, placed.left)[-1] == "?"
    assert placed.prompt == ids


def test_a_target_keeps_the_token_that_swallows_the_extractors_space(chat: Layout) -> None:
    row = Row("Is it? ", "", "So the answer is $ ", "False")
    (placed,) = chat.place([(row, chat.encode("Think", row.before))])
    assert texts(chat, placed.target) == [" False"]
    assert texts(chat, placed.right)[-1].endswith("$")


def test_the_parts_are_the_whole(family: Family) -> None:
    """Left, prompt, right and target are what the rendered conversation is encoded to."""
    layout = Layout(family.local._loaded.tokenizer)
    row = Row("There are 12 apples. ", "\nGo!", "Therefore, the final answer is $ ", "42")
    ids = layout.encode("Think step by step", row.before)
    (placed,) = layout.place([(row, ids)])
    user = Message("user", row.before + "Think step by step" + row.after)
    whole = layout.text((user, Message("assistant", row.reply + row.target)))
    assert [*placed.left, *placed.prompt, *placed.right, *placed.target] == layout.ids([whole])[0]
    assert len(placed) == len(layout.ids([whole])[0])


def test_a_row_reads_its_system_text_as_generation_does(family: Family) -> None:
    layout = Layout(family.local._loaded.tokenizer)
    row = Row("Why? ", " Now.", "So the", " end", system="Be kind.")
    ids = layout.encode("Think slowly.", row.before)
    (placed,) = layout.place([(row, ids)])
    asked = (Message("system", "Be kind."), Message("user", "Why? Think slowly. Now."))
    (whole,) = layout.ids([layout.text((*asked, Message("assistant", "So the end")))])
    assert [*placed.left, *placed.prompt, *placed.right, *placed.target] == whole


def test_chinese_text_is_cut_at_characters(chat: Layout) -> None:
    row = Row("一共有多少个苹果？", "请回答。", "所以答案是", "十二")
    ids = chat.encode("三个盒子", row.before)
    assert chat.decode(ids) == "三个盒子"
    (placed,) = chat.place([(row, ids)])
    assert chat.answers([placed.target]) == ["十二"]
    assert chat.answers([placed.right])[0].startswith("请回答。")
    assert chat.encode(chat.decode(ids), row.before) == ids


def test_ids_that_the_text_would_not_give_are_taken_as_they_are(chat: Layout) -> None:
    pieces = [i for letter in "Answer" for i in chat.ids([letter])[0]]
    row = Row("Q. ", " Now", "r", "12")
    (placed,) = chat.place([(row, pieces)])
    assert placed.prompt == pieces
    assert chat.encode(chat.decode(pieces), row.before) != pieces
    assert chat.answers([placed.right])[0].startswith(" Now")
    assert chat.answers([placed.target]) == ["12"]


def test_a_prompt_that_merges_with_what_follows_is_not_doubled(chat: Layout) -> None:
    row = Row("Q ", "swer it", "r", "12")
    ids = chat.encode("An", row.before)
    (placed,) = chat.place([(row, ids)])
    assert "".join(texts(chat, [*placed.left, *placed.prompt, *placed.right])).startswith(
        "<|start|><|user|>\nQ Answer it<"
    )


def test_round_trips(family: Family) -> None:
    model = family.local
    for before in ("", "Question?\n", "Question? "):
        for text in ("Think step by step.", "Use only addition,", "请回答问题", "12 apples "):
            ids = model.encode(text, before)
            assert ids
            assert model.decode(ids) == text
            assert model.encode(model.decode(ids), before) == ids


def test_the_vocabulary_hides_special_tokens_and_pieces_of_characters(family: Family) -> None:
    model = family.local
    assert len(model.vocabulary) == model._loaded.width
    assert set(model.vocabulary[:5]) == {""}
    assert set(model.vocabulary[-3:]) == {""}
    assert " Answer" in model.vocabulary
    assert "\ufffd" not in "".join(model.vocabulary)
    ids = model.encode("Answer the question", "Q ")
    assert "".join(model.vocabulary[i] for i in ids) == " Answer the question"
