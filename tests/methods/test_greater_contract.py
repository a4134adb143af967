from __future__ import annotations

from typing import Literal

import pytest

from steepest.methods.greater import Greater
from steepest.testing.contract import MethodCase, MethodContract
from steepest.types import Example
from toy_whitebox import ToyWhiteBox, toy_task


def greater_case(gradient: Literal["answer", "sampled"]) -> MethodCase:
    task, spare = toy_task(train=8, dev=10), toy_task(train=30, dev=0).train[18:]
    test = [Example(f"test{i}", example.input, example.target) for i, example in enumerate(spare)]
    method = Greater(k=6, rows=8, margin=0.0, gradient=gradient, samples=3)
    return MethodCase(method, task, test, lambda: {"task": ToyWhiteBox()}, steps=4, gain=0.1, every=15)


class TestGreater(MethodContract):
    @pytest.fixture(params=["answer", "sampled"])
    def case(self, request: pytest.FixtureRequest) -> MethodCase:
        return greater_case(request.param)
