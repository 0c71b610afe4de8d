"""What `make check` and `make test` leave out, and what the fast lane refuses."""

import importlib
from pathlib import Path

import pytest

from tests.support.lanes import ACCEPTANCE, imports_torch

LANES = ("-p", "tests.support.lanes", "-p", "no:cacheprovider")
PLUGINS = (*LANES, "--fast")
TESTS = Path(__file__).parent


def test_a_test_that_starts_a_process_is_left_out_where_its_code_or_its_fixtures_show_it(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import subprocess
        import pytest

        def start():
            subprocess.run(["/bin/true"], check=True)

        @pytest.fixture
        def started():
            start()

        class Starter:
            def go(self):
                start()

        def test_by_a_helper(): start()
        def test_by_a_fixture(started): pass
        def test_by_a_class(): Starter().go()
        @pytest.mark.starts_processes
        def test_that_says_so(): pass
        def test_that_starts_none(): pass
        """
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.lanes.TESTS", pytester.path)
        pytester.runpytest_inprocess(*PLUGINS).assert_outcomes(passed=1, deselected=4)


@pytest.mark.parametrize(
    "start", ["__import__('subprocess').run(['/bin/true'])", "__import__('multiprocessing').Process().start()"]
)
def test_a_test_that_starts_a_process_unseen_fails(pytester: pytest.Pytester, start: str) -> None:
    pytester.makepyfile(f"def test_one(): {start}")
    result = pytester.runpytest_inprocess(*PLUGINS)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*mark it with pytest.mark.starts_processes*"])


def test_a_file_that_imports_torch_by_whatever_way_is_left_out() -> None:
    assert imports_torch(TESTS / "training/learning/test_dqn.py")
    assert imports_torch(TESTS / "support/exports.py")
    assert imports_torch(TESTS / "benchmarks/test_zeroing.py")
    assert not imports_torch(TESTS / "conftest.py")
    importing = [path.name for path in TESTS.glob("serving/**/*.py") if imports_torch(path)]
    assert importing == ["test_foreign_arrays.py"], "but for an application's tensors, the service is tested without"


def test_a_test_is_one_of_acceptance_where_its_code_or_its_fixtures_show_it_or_it_says_so(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from tests.support.installing import install_packages

        @pytest.fixture
        def environment():
            install_packages("somewhere")

        def test_by_a_fixture(environment): pass
        def test_by_its_code(): install_packages("somewhere")
        @pytest.mark.acceptance
        def test_that_says_so(): pass
        def test_of_little(): pass
        """
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.lanes.TESTS", pytester.path)
        pytester.runpytest_inprocess(*LANES, "-m", "not acceptance").assert_outcomes(passed=1, deselected=3)


@pytest.mark.parametrize("name", sorted(ACCEPTANCE))
def test_what_makes_a_test_one_of_acceptance_is_there(name: str) -> None:
    module, _, function = name.rpartition(".")
    assert callable(getattr(importlib.import_module(module), function))
