from __future__ import annotations

import json
import logging
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from steepest.calls import Call, CallLog, call_key
from steepest.errors import BudgetSpent, SpecError, StateError
from steepest.ledger import UNLIMITED, Ledger, Limits, Price, role_of
from steepest.types import Usage


def call(key: str, step: int = 0, text: str = "hm") -> Call:
    return Call(key, step, "task", "m", "generate", {"prompt": "?"}, {"text": text})


def cost(_: object) -> Usage:
    return Usage(1, 10, 5)


def test_calls_are_there_again_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:
        log.append(call("a", 0, "é\u2028\n"))
        log.append(call("b", 3))
        assert len(path.read_bytes().splitlines()) == 2
    with CallLog(path) as log:
        assert [*log] == ["a", "b"] and len(log) == 2
        answer = log.get("a")
        assert answer is not None and answer.response == {"text": "é\u2028\n"} and answer.step == 0
        assert log.get("c") is None
        assert log.removed == 0


def test_every_answer_is_read_back_from_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:
        log.append(call("a", text="é" * 9000))
        log.append(replace(call("lost"), response={"text": "", "finish": "failed"}))
        log.append(call("b", text="b"))
    path.write_bytes(path.read_bytes() + b'{"key": "torn')
    with CallLog(path) as log:
        log.append(call("c", text="c"))
        log.append(call("a", text="again"))
        said = {key: answer.response["text"] for key in log if (answer := log.get(key))}
        assert said == {"a": "again", "b": "b", "c": "c"}


def test_memory_does_not_grow_with_what_is_answered(tmp_path: Path) -> None:
    def held(text: str) -> int:
        tracemalloc.start()
        with CallLog(tmp_path / f"{len(text)}.jsonl") as log:
            for n in range(200):
                log.append(call(str(n), text=f"{n}{text}"))
            found, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    assert held("x" * 5000) < held("x") + 200 * 50


def test_a_line_is_on_disk_before_append_returns(tmp_path: Path) -> None:
    with CallLog(tmp_path / "calls.jsonl") as log:
        log.append(call("a"))
        assert json.loads((tmp_path / "calls.jsonl").read_text())["key"] == "a"


@pytest.mark.parametrize("tear", [b'{"key": "c", "st', b"\n", b'{"key": "c"}\n', b"\xff", b"[]\n"])
def test_a_torn_last_line_is_cut_off_and_said_so(tmp_path: Path, tear: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:
        log.append(call("a"))
    whole = path.read_bytes()
    path.write_bytes(whole + tear)
    with caplog.at_level(logging.WARNING), CallLog(path) as log:
        assert [*log] == ["a"]
        assert log.removed == len(tear)
        assert "torn" in caplog.text
        log.append(call("b"))
    with CallLog(path) as log:
        assert [*log] == ["a", "b"] and log.removed == 0


def test_a_last_line_torn_by_any_number_of_bytes_costs_that_call_only(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:
        log.append(call("a"))
        log.append(call("b"))
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for end in range(second + 1, len(whole)):
        path.write_bytes(whole[:end])
        with CallLog(path) as log:
            assert [*log] == ["a"]
        assert path.read_bytes() == whole[:second]


def test_a_garbled_line_elsewhere_is_an_error_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:
        log.append(call("a"))
    for rest in (b"x\n" + path.read_bytes(), b"x\n" + b'{"torn'):
        path.write_bytes(rest)
        with pytest.raises(StateError, match=r"calls\.jsonl line 1 is not a call"):
            CallLog(path)
        assert path.read_bytes() == rest


def test_a_journal_that_cannot_be_opened_is_told_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"calls.jsonl \(No such file.*\); put that right"):
        CallLog(tmp_path / "gone" / "calls.jsonl")
    (tmp_path / "calls.jsonl").mkdir()
    with pytest.raises(StateError, match="got a folder or a pipe"):
        CallLog(tmp_path / "calls.jsonl")


def test_keys_depend_on_model_kind_and_request_only() -> None:
    key = call_key("m", "generate", {"a": 1, "b": 2})
    assert key == call_key("m", "generate", {"b": 2, "a": 1})
    others = {
        call_key("n", "generate", {"a": 1, "b": 2}),
        call_key("m", "loss", {"a": 1, "b": 2}),
        call_key("m", "generate", {"a": 1, "b": 3}),
    }
    assert key not in others and len(others) == 3


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CallLog]:
    with CallLog(tmp_path / "calls.jsonl") as log:
        yield log


def test_a_call_is_paid_once_however_often_it_is_asked(log: CallLog) -> None:
    ledger = Ledger(log, 2, UNLIMITED, Usage())
    assert ledger.missing(["a", "b", "a"], cost) == ["a", "b"]
    ledger.record(call("a", 2), cost)
    ledger.record(call("b", 2), cost)
    assert ledger.missing(["b", "a"], cost) == []
    assert ledger.usage == Usage(2, 20, 10)


def test_lines_of_this_step_were_paid_by_it_and_lines_of_others_are_reused(log: CallLog) -> None:
    log.append(call("mine", 2))
    log.append(call("earlier", 1))
    log.append(call("test", -1))
    ledger = Ledger(log, 2, UNLIMITED, Usage())
    assert ledger.missing(["mine", "earlier", "test", "new"], cost) == ["new"]
    assert ledger.usage == Usage(1, 10, 5, 2)


def test_what_the_step_paid_on_another_account_is_reused(log: CallLog) -> None:
    log.append(call("a", 2))
    ledger = Ledger(log, 2, UNLIMITED, Usage(), frozenset("a"))
    assert ledger.missing(["a"], cost) == []
    assert ledger.usage == Usage(reused=1)


def test_a_batch_that_would_pass_the_limit_on_calls_is_not_counted_at_all(log: CallLog) -> None:
    ledger = Ledger(log, 2, Limits(calls=10), Usage(calls=8))
    assert ledger.missing(["a", "b"], cost) == ["a", "b"]
    ledger.record(call("a", 2), cost)
    ledger.record(call("b", 2), cost)
    with pytest.raises(BudgetSpent, match="limit of 10 calls would be passed: 10 spent, 1 needed next"):
        ledger.missing(["c", "a"], cost)
    assert ledger.usage.calls == 2
    assert ledger.missing(["a"], cost) == []


def test_the_limit_counts_calls_that_the_journal_already_holds_for_this_step(log: CallLog) -> None:
    log.append(call("a", 2))
    with pytest.raises(BudgetSpent):
        Ledger(log, 2, Limits(calls=1), Usage()).missing(["a", "b"], cost)
    assert Ledger(log, 3, Limits(calls=1), Usage()).missing(["a", "b"], cost) == ["b"]


def test_no_batch_is_sent_once_the_tokens_are_reached(log: CallLog) -> None:
    ledger = Ledger(log, 2, Limits(tokens=110), Usage(1, 60, 40))
    assert ledger.missing(["a"], cost) == ["a"]
    ledger.record(call("a", 2), cost)
    with pytest.raises(BudgetSpent, match="limit of 110 tokens would be passed: 115 spent, at least 1 needed"):
        ledger.missing(["b"], cost)
    assert ledger.missing(["a"], cost) == []


@pytest.mark.parametrize(
    "limits", [{"steps": -1}, {"calls": 0}, {"tokens": -3}, {"dollars": 0.0}, {"seconds": float("nan")}]
)
def test_impossible_limits_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="leave it out for no limit"):
        Limits(**limits)  # type: ignore[arg-type]


def bounds(*keys: str, read: int = 80, written: int = 20) -> dict[str, Usage]:
    return {key: Usage(1, read, written) for key in keys}


def answer_all(ledger: Ledger, portion: list[str]) -> None:
    for key in portion:
        ledger.record(call(key, ledger.step), cost)


def test_a_batch_that_fits_at_its_dearest_is_one_portion(log: CallLog) -> None:
    ledger = Ledger(log, 2, Limits(tokens=300), Usage())
    assert list(ledger.portions("task", bounds("a", "b", "c"), cost)) == [["a", "b", "c"]]


def test_portions_never_let_the_dearest_answers_pass_the_limit(log: CallLog) -> None:
    ledger = Ledger(log, 2, Limits(tokens=220), Usage(), before={"task": Usage(10, 100, 50)})
    sent = []
    for portion in ledger.portions("task", bounds(*"abcdefgh"), cost):
        assert ledger.usage.tokens + 100 * len(portion) <= 220
        answer_all(ledger, portion)
        sent.append("".join(portion))
    assert sent == ["ab", "c", "d", "e", "f", "g", "h"]
    assert ledger.usage == Usage(8, 80, 40)
    with pytest.raises(BudgetSpent, match="220 tokens would be passed: 120 spent, up to 101 needed next"):
        list(ledger.portions("task", bounds("i", read=81), cost))


def test_what_will_not_fit_by_the_mean_is_not_begun(log: CallLog) -> None:
    ledger = Ledger(log, 2, Limits(tokens=220), Usage(), before={"task": Usage(10, 200, 100)})
    with pytest.raises(BudgetSpent, match="220 tokens would be passed: 0 spent, about 240 needed next"):
        next(ledger.portions("task", bounds(*"abcdefgh"), cost))
    assert ledger.usage == Usage()


def test_where_nothing_is_known_a_few_requests_go_ahead(log: CallLog) -> None:
    keys = [f"k{n}" for n in range(40)]
    ledger = Ledger(log, 2, Limits(tokens=2000), Usage())
    portions = ledger.portions("task", bounds(*keys), cost)
    first = next(portions)
    assert len(first) == 16
    answer_all(ledger, first)
    assert len(next(portions)) == 17  # 40 of these will cost 600 by the mean; (2000 - 240) / 100 are safe
    tight = Ledger(log, 3, Limits(tokens=500), Usage())
    new = [f"n{n}" for n in range(40)]
    portions = tight.portions("task", bounds(*new), cost)
    answer_all(tight, next(portions))
    with pytest.raises(BudgetSpent, match="75 spent, about 525 needed next"):
        next(portions)


def test_portions_are_the_same_whatever_the_journal_holds(log: CallLog, tmp_path: Path) -> None:
    def sent(log: CallLog) -> list[int]:
        ledger = Ledger(log, 2, Limits(tokens=220), Usage(), before={"task": Usage(10, 100, 50)})
        spent = []
        for absent in ledger.portions("task", bounds(*"abcdefgh"), cost):
            answer_all(ledger, absent)
            spent.append(ledger.usage.calls)
        return spent

    with CallLog(tmp_path / "partly.jsonl") as partly:
        for key in "bgd":
            partly.append(call(key, 2))
        assert sent(partly) == sent(log) == sent(log)


def test_dollars_are_those_of_the_role_and_never_passed(log: CallLog) -> None:
    prices = {"task": Price(100.0, 1000.0)}
    ledger = Ledger(log, 2, Limits(dollars=0.04), Usage(dollars=0.02), prices=prices, before={"task": Usage(1, 10, 5)})
    with pytest.raises(BudgetSpent, match=r"limit of \$0.0400 would be passed: \$0.0200 spent, about \$0.0240 needed"):
        next(ledger.portions("task", bounds(*"abcd"), cost))
    free = bounds("x", read=10**9)
    assert list(ledger.portions("judge", free, cost)) == [["x"]]
    answer_all(ledger, next(ledger.portions("task", bounds("a", read=10, written=5), cost)))
    assert ledger.accounts == {"task": Usage(1, 10, 5, dollars=0.006)} and ledger.usage.dollars == 0.006


@pytest.mark.parametrize("price", [(-1.0, 0.0), (0.0, float("inf")), (float("nan"), 0.0)])
def test_impossible_prices_are_refused(price: tuple[float, float]) -> None:
    with pytest.raises(SpecError, match="a price is dollars per million tokens"):
        Price(*price)


def failed(key: str, step: int) -> Call:
    return Call(key, step, "task", "m", "generate", {"prompt": "?"}, {"text": "", "finish": "failed"})


def test_a_request_without_answer_is_asked_again_once_the_journal_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:
        log.append(call("a"))
        log.append(failed("b", 0))
        assert Ledger(log, 0, UNLIMITED, Usage()).missing(["a", "b"], cost) == []
        log.forget_unanswered()
        assert [*log] == ["a"]
        log.append(failed("c", 0))
    with CallLog(path) as log:
        assert [*log] == ["a"]
        log.append(call("b", 1))
    with CallLog(path) as log:
        assert [*log] == ["a", "b"] and len(path.read_text().splitlines()) == 4


def test_white_box_calls_have_accounts_of_their_own(log: CallLog) -> None:
    ledger = Ledger(log, 2, UNLIMITED, Usage())
    ledger.missing(["a", "b"], cost)
    ledger.record(call("a", 2), cost)
    ledger.record(Call("b", 2, "task", "m", "gradient", {}, {"tokens": 7}), cost)
    assert [*ledger.accounts] == ["task", "task: gradient"]
    assert {role_of(account) for account in ledger.accounts} == {"task"}
