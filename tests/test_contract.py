from __future__ import annotations

import pytest

from steepest.models.scripted import Scripted
from steepest.testing.contract import GeneratesContract, MethodCase, MethodContract
from testing_methods import toy_case


class TestAdder(MethodContract):
    @pytest.fixture
    def case(self) -> MethodCase:
        return toy_case()


class TestScripted(GeneratesContract):
    @pytest.fixture
    def model(self) -> Scripted:
        return Scripted()

    @pytest.fixture
    def broken(self) -> Scripted:
        return Scripted(lambda request: str(1 / 0))
