"""`docs/reliability.md` promises what is tested."""

from __future__ import annotations

import ast
import re

import pytest

from tests.catalogue import ROOT, cases


def names_in(file: str) -> set[str]:
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_fault_has_a_row() -> None:
    assert list(cases()) == list(range(1, 61))


@pytest.mark.parametrize("number", range(1, 61))
def test_a_fault_has_tests_or_says_what_it_waits_for(number: int) -> None:
    promise, tests = cases()[number]
    assert promise.startswith("waits for") != bool(tests)
    for test in tests:
        file, _, name = test.partition("::")
        assert name in names_in(file)


def test_a_test_with_a_number_is_named_there() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in names_in(str(path.relative_to(ROOT))):
            if found := re.match(r"test_fault_(\d+)_", name):
                assert f"{path.relative_to(ROOT)}::{name}" in cases()[int(found[1])][1]


def test_at_least_three_quarters_are_tested() -> None:
    assert sum(1 for _, tests in cases().values() if tests) >= 45
