import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from polserve.training.machine.cores import CONTROL_GROUPS, cores

ALL = len(os.sched_getaffinity(0))


def folders(root: Path, files: dict[str, str], membership: str) -> tuple[Path, Path]:
    """Control groups with these files, and the file that names those of a process."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "membership").write_text(membership)
    return root, root / "membership"


@pytest.mark.parametrize(
    ("files", "membership"),
    [
        ({"cpu.max": "100000 100000\n"}, "0::/\n"),
        ({"cpu.max": "20000 100000\n"}, "0::/\n"),
        ({"a/cpu.max": "max 100000\n", "cpu.max": "100000 100000\n"}, "0::/a/b\n"),
        ({"a/b/cpu.max": "100000 100000\n"}, "0::/a/b\n"),
        ({"cpu.max": "50000 50000\n"}, "0::/docker/of-the-host\n"),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu,cpuacct:/docker/x\n"),
        ({"cpu/a/cpu.cfs_quota_us": "90000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, "5:memory:/\n4:cpu:/a\n"),
    ],
)
def test_a_quota_of_one_core_is_one_core(tmp_path: Path, files: dict[str, str], membership: str) -> None:
    assert cores(*folders(tmp_path, files, membership)) == 1


@pytest.mark.parametrize(
    ("files", "membership"),
    [
        ({}, ""),
        ({"cpu.max": "max 100000\n"}, "0::/\n"),
        ({"cpu.max": "99900000 100000\n"}, "0::/\n"),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu,cpuacct:/\n"),
        ({"memory/cpu.max": "100000 100000\n"}, "5:memory:/\n"),
    ],
)
def test_without_a_quota_all_cores_count(tmp_path: Path, files: dict[str, str], membership: str) -> None:
    assert cores(*folders(tmp_path, files, membership)) == ALL


@pytest.fixture
def quota_of_one() -> Iterator[Path]:
    """A real control group with a quota of one core."""
    mount = CONTROL_GROUPS if (CONTROL_GROUPS / "cgroup.controllers").exists() else CONTROL_GROUPS / "cpu"
    group = mount / f"polserve-test-{os.getpid()}"
    try:
        group.mkdir()
        if mount == CONTROL_GROUPS:
            (group / "cpu.max").write_text("100000 100000")
        else:
            (group / "cpu.cfs_quota_us").write_text("100000")
    except OSError:
        pytest.skip("needs the right to make control groups")
    yield group
    group.rmdir()


def test_a_real_quota_counts(quota_of_one: Path) -> None:
    program = (
        f"from pathlib import Path; Path({str(quota_of_one / 'cgroup.procs')!r}).write_text('0')\n"
        "from polserve.training.machine.cores import cores; print(cores())"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "1\n"
