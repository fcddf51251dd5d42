"""Tests that lack their component are named, and fail a run of CI."""

import pytest

FILE = """
import pytest

@pytest.mark.component("{name}")
def test_needs_it():
    pass

def test_needs_nothing():
    pass
"""


@pytest.fixture
def run_with(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Runs pytest on a file whose one test needs a program; with or without CI=true."""
    pytester.makeini("[pytest]\nmarkers =\n    component(name): needs a program\n")

    def run(text: str, *, ci: bool) -> pytest.RunResult:
        monkeypatch.setenv("CI", "true" if ci else "")
        monkeypatch.setattr("tests.components.COMPONENTS", {"sh": "", "no-such-program": "buy it"})
        pytester.makepyfile(test_some=text)
        return pytester.runpytest_inprocess("-p", "tests.components", "-p", "no:asyncio")

    return run


def test_what_is_there_runs(run_with) -> None:  # type: ignore[no-untyped-def]
    result = run_with(FILE.format(name="sh"), ci=True)
    result.assert_outcomes(passed=2)
    assert result.ret == 0


def test_what_is_missing_is_named_with_how_to_get_it(run_with) -> None:  # type: ignore[no-untyped-def]
    result = run_with(FILE.format(name="no-such-program"), ci=False)
    result.assert_outcomes(passed=1, deselected=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*did not run for want of no-such-program*", "get it: buy it", "  test_some.py"]
    )


def test_what_is_missing_fails_ci(run_with) -> None:  # type: ignore[no-untyped-def]
    assert run_with(FILE.format(name="no-such-program"), ci=True).ret == 1


def test_what_is_missing_is_named_by_a_run_over_several_processes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\nmarkers =\n    component(name): needs a program\n")
    pytester.makepyfile(test_some=FILE.format(name="grpcurl"))
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("PATH", "")
    result = pytester.runpytest_inprocess("-p", "tests.components", "-p", "no:asyncio", "-n", "2")
    result.stdout.fnmatch_lines(["*did not run for want of grpcurl*", "  test_some.py"])
    result.assert_outcomes(passed=1)
    assert result.ret == 1


def test_a_skip_fails_ci(run_with) -> None:  # type: ignore[no-untyped-def]
    text = "import pytest\ndef test_skipped():\n    pytest.skip('later')\n"
    assert run_with(text, ci=False).ret == 0
    assert run_with(text, ci=True).ret == 1


def test_an_unknown_component_is_an_error(run_with) -> None:  # type: ignore[no-untyped-def]
    assert run_with(FILE.format(name="no-such-component"), ci=False).ret != 0
