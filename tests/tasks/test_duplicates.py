"""Rows that repeat others: what counts as the same, what as nearly the same, and what is told of it."""

from __future__ import annotations

import random

import pytest

from steepest.tasks import TaskSpec, load_task
from steepest.tasks.duplicates import ALIKE, Duplicates, find
from steepest.types import Example

LONG = (
    "A museum in the old harbour shows forty ships, and every visitor who brings a model of his own may leave it in "
    "the great hall until the end of the summer."
)
CHINESE = "小明在图书馆借了一本关于海洋动物的书，他每天晚上读给妹妹听，妹妹最喜欢书里的鲸鱼和海豚。"


def fillers(n: int = 60) -> list[str]:
    """Sentences of words drawn by chance: no two alike."""
    dice = random.Random(0)
    word = lambda: "".join(dice.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(dice.randint(3, 9)))  # noqa: E731
    return [" ".join(word() for _ in range(20)) for _ in range(n)]


def compared(train: list[tuple[str, str]], test: list[tuple[str, str]], **places: str) -> Duplicates:
    """What is found among these rows and many that are like no other."""
    rows = [Example(f"f{i}", text, "x") for i, text in enumerate(fillers())]
    old = [Example(f"a{i}", *row) for i, row in enumerate(train)]
    new = [Example(f"b{i}", *row) for i, row in enumerate(test)]
    return find({"train": [*rows[:30], *old], "test": [*rows[30:], *new]}, (), places)


def ids(found: Duplicates) -> tuple[list[str], list[str], list[list[str]]]:
    pairs = [[f"{p.other.example.id}-{p.row.example.id}" for p in part] for part in (found.repeats, found.near)]
    return pairs[0], pairs[1], [[row.example.id for row in rows] for rows in found.contradictions]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 1 + 1?", "what is  1 + 1? "),
        ("Ｗｈａｔ is １ + 1？", "What is 1 + 1?"),
        ("小明有３个苹果。", "小明有3个苹果。"),
        (LONG, LONG.upper().replace(" ", "\n")),
    ],
)
def test_case_width_and_spacing_make_no_other_row(one: str, other: str) -> None:
    assert ids(compared([(one, "2")], [(other, "2")])) == (["a0-b0"], [], [])


@pytest.mark.parametrize(("one", "other"), [("( [", "[ ("), ("1 23", "12 3"), ("not ( True )", "( not True )")])
def test_signs_and_order_do(one: str, other: str) -> None:
    assert ids(compared([(one, "2")], [(other, "2")])) == ([], [], [])


def test_the_same_question_with_another_answer_is_a_contradiction() -> None:
    found = compared([("Is it so?", "yes"), ("Is it not?", "yes")], [("is it so?", "No"), ("Is it not?", "YES")])
    assert ids(found) == (["a1-b1"], [], [["a0", "b0"]])
    (note,) = [note for note in found.notes() if "different right answers" in note.text]
    assert note.text.startswith("1 question") and note.rows[0].endswith(": yes / No")


def test_one_of_several_right_answers_is_enough_to_agree() -> None:
    rows = {"train": [Example("a", "Rhyme on cat.", "hat", {"target+": '["bat"]'})], "test": []}
    rows["test"] = [Example("b", "Rhyme on cat.", "bat"), Example("c", "Rhyme on cat.", "dog")]
    found = find(rows, (), {})
    assert ids(found) == (["a-b"], [], [["a", "b", "c"]])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LONG, LONG.replace("forty ships", "forty old ships")),
        (LONG, LONG.replace("museum", "Museum,").replace(" his own", " their own")),
        (LONG, "Please read: " + LONG),
        (CHINESE, CHINESE.replace("最喜欢", "很喜欢")),
        (CHINESE, CHINESE.replace("，", " ").replace("。", "")),
    ],
)
def test_a_few_other_words_make_a_near_duplicate(one: str, other: str) -> None:
    found = compared([(one, "yes")], [(other, "yes")])
    assert ids(found) == ([], ["a0-b0"], [])
    assert ALIKE <= found.near[0].alike <= 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((LONG, "yes"), (LONG.replace("forty", "fourty"), "no")),
        ((LONG.replace("forty", "40"), "yes"), (LONG.replace("forty", "50"), "yes")),
        ((LONG, "yes"), (" ".join(sorted(LONG.split())), "yes")),
        ((LONG, "yes"), (LONG[: len(LONG) // 2], "yes")),
        ((CHINESE, "1"), (CHINESE[:20], "1")),
    ],
    ids=["another answer", "another number", "another order", "half of it", "half of it in Chinese"],
)
def test_what_is_no_duplicate(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert ids(compared([one], [other])) == ([], [], [])


def test_rows_of_one_template_are_not_alike_for_that() -> None:
    names = ("Ann", "Bob", "Cem", "Dan", "Eva", "Flo")
    dice = random.Random(1)
    swaps = lambda: " ".join("{} and {} swap balls.".format(*dice.sample(names, 2)) for _ in range(4))  # noqa: E731
    frame = "Six friends play a game in which each of them holds one ball at the beginning. {} Who has the red ball?"
    rows = [Example(f"r{i}", frame.format(swaps()), dice.choice(("Ann", "Bob"))) for i in range(200)]
    assert not find({"train": rows[:100], "test": rows[100:]}, (), {}).near


def test_two_questions_on_one_text_are_two_questions() -> None:
    texts = [Example(f"f{i}", f"Who is {i}?", "x", {"text": text}) for i, text in enumerate(fillers())]
    one = Example("a", "Where are the ships kept?", "x", {"text": LONG})
    other = Example("b", "When does the exhibition close?", "x", {"text": LONG})
    again = Example("c", "Where are the ships kept now?", "x", {"text": LONG.replace("forty", "fifty")})
    found = find({"train": [*texts[:30], one], "test": [*texts[30:], other, again]}, ("text",), {})
    assert ids(found) == ([], ["a-c"], [])


def test_a_row_is_told_with_its_nearest_only_and_with_its_place() -> None:
    train = [(LONG.replace("forty", "many"), "x"), (LONG.replace("museum", "museums"), "x")]
    found = compared(train, [(LONG, "x")], a1="rows.csv, line 3", b0="rows.csv, line 9")
    assert ids(found)[1] == ["a1-b0"]
    (note,) = found.notes()
    assert note.text == "1 test row nearly the same as one of another split, answer included: scores may be high"
    assert note.rows[0].startswith("test rows.csv, line 9 (id b0) = train rows.csv, line 3 (id a1), ")


def test_rows_of_one_split_may_be_alike() -> None:
    assert ids(compared([], [(LONG, "x"), (LONG.replace("forty", "many"), "x")])) == ([], [], [])


def test_long_rows_are_compared_by_a_sample_of_their_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steepest.tasks.duplicates._MOST", 3000)
    long = " ".join(fillers(20))
    found = compared([(long, "x")], [(long.replace(fillers(1)[0], "Another beginning."), "x")])
    assert ids(found) == ([], ["a0-b0"], [])


def test_a_file_split_by_content_has_its_duplicates_named_by_line(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    texts = fillers(80)
    nearly = [f"{text} indeed" for text in texts[:40]]
    lines = [f"{text},{'ab'[i % 2]}" for i, text in enumerate(texts)]
    lines += [f"{text},{'ab'[i % 2]}" for i, text in enumerate(nearly)]
    lines += lines[:3]
    path.write_text("input,target\n" + "\n".join(lines) + "\n")
    source = load_task(TaskSpec(path))
    repeated, near = source.notes
    assert repeated.text == "3 repeated rows left out"
    assert repeated.rows[0].startswith(f"{path}, line 122 = {path}, line 2 (id ")
    where = {row.input: split for split in ("train", "dev", "test") for row in source.rows(split)}
    across = sum(where[text] != where[f"{text} indeed"] for text in texts[:40])
    assert 0 < across == len(near.rows) and f"{path}, line " in near.rows[0]
