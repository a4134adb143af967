from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from steepest.calls import Call, CallLog, call_key
from steepest.errors import BudgetSpent, SpecError, StateError
from steepest.ledger import UNLIMITED, Ledger, Limits
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
    with pytest.raises(BudgetSpent, match="limit of 110 tokens is reached: 115 spent"):
        ledger.missing(["b"], cost)
    assert ledger.missing(["a"], cost) == []


@pytest.mark.parametrize("limits", [{"steps": -1}, {"calls": 0}, {"tokens": -3}, {"seconds": float("nan")}])
def test_impossible_limits_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="leave it out for no limit"):
        Limits(**limits)  # type: ignore[arg-type]
