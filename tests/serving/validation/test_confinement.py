"""What a version that gets the better of its validator can take, and what becomes of it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from polserve.serving.errors import RolloutRefused
from polserve.serving.processes.parent import ChildLost, ChildProcess
from polserve.serving.settings.settings import load_settings
from polserve.serving.validation import validator
from polserve.serving.validation.confinement import OPEN_FILES, out_of_memory
from polserve.serving.validation.validator import Validator
from polserve.serving.versions import VersionRef
from polserve.training.versions.version import PolicyVersion
from tests.support.versions import make_version

pytestmark = pytest.mark.starts_processes

MEMORY_MIB = 256


@pytest.fixture(scope="module")
def running() -> Iterator[Validator]:
    """A validator of little memory."""
    made = Validator(load_settings({"validator_memory_mib": MEMORY_MIB}))
    yield made
    made.close()


def ref(version: PolicyVersion, folder: Path) -> VersionRef:
    return VersionRef("cartpole", "1", version.write(folder), version.sha256)


def child_of(running: Validator, folder: Path) -> ChildProcess:
    """The process of a validator that has just validated a sound version."""
    assert running.validate(ref(make_version(), folder / "sound"), None).ref.version == "1"
    child = running._child  # noqa: SLF001
    assert child is not None
    return child


def greedy() -> PolicyVersion:
    """A version that takes a GiB for each run, which no check of sizes sees: a product of two of its own shapes."""
    wide = numpy_helper.from_array(np.zeros((1, 2**14), np.float32), "wide")
    tall = numpy_helper.from_array(np.zeros((2**14, 1), np.float32), "tall")
    version = make_version()
    model = type(version.model)()
    model.CopyFrom(version.model)
    model.graph.initializer.extend([wide, tall])
    first = model.graph.input[0].name
    for i in range(len(model.graph.node)):
        for j, name in enumerate(model.graph.node[i].input):
            if name == first:
                model.graph.node[i].input[j] = "seen"
    nodes = [
        helper.make_node("ReduceSum", [first], ["sum"], keepdims=0),
        helper.make_node("Mul", ["wide", "sum"], ["row"]),
        helper.make_node("Add", ["row", "tall"], ["square"]),
        helper.make_node("ReduceMax", ["square"], ["most"], keepdims=0),
        helper.make_node("Add", [first, "most"], ["seen"]),
    ]
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    return PolicyVersion(model, version.spec, version.golden)


def test_a_version_that_takes_too_much_memory_is_refused_and_the_validator_goes_on(
    running: Validator, tmp_path: Path
) -> None:
    before = child_of(running, tmp_path).pid
    with pytest.raises(RolloutRefused, match=f"memory: expected at most {MEMORY_MIB} MiB .*--validator-memory-mib"):
        running.validate(ref(greedy(), tmp_path / "greedy"), None)
    assert child_of(running, tmp_path).pid == before


def test_the_validator_has_bounds_on_all_that_it_may_take(running: Validator, tmp_path: Path) -> None:
    pid = child_of(running, tmp_path).pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    found = {
        name: re.search(rf"^{name}\s+(\d+|unlimited)", limits, re.MULTILINE)
        for name in ("Max core file size", "Max open files", "Max cpu time", "Max data size", "Max file size")
    }
    values = {name: match and match.group(1) for name, match in found.items()}
    assert values["Max core file size"] == "0"
    assert values["Max open files"] == str(OPEN_FILES)
    assert "unlimited" not in values.values()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000", "it is the first to be ended"
    assert re.search(r"^NoNewPrivs:\s+1$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)


def may_leave_network() -> bool:
    """Whether this machine lets a process leave its network."""
    script = "from polserve.serving.validation.confinement import leave_network as l; raise SystemExit(bool(l()))"
    return subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_validator_has_no_network_or_the_log_says_so(
    running: Validator, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    child_of(running, tmp_path).kill()
    pid = child_of(running, tmp_path).pid
    interfaces = [line.split(":")[0].strip() for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]]
    if may_leave_network():
        assert interfaces == ["lo"]
        assert Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    else:
        assert "event=validator_has_network" in capfd.readouterr().err


def test_what_hangs_is_refused_after_one_try(
    running: Validator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.kill(child_of(running, tmp_path).pid, signal.SIGSTOP)
    monkeypatch.setattr(validator, "TIMEOUT_S", 0.3)
    with pytest.raises(RolloutRefused, match=r"took too long to validate: validator process \d+ did not answer within"):
        running.validate(ref(make_version(), tmp_path / "other"), None)
    monkeypatch.undo()
    child_of(running, tmp_path)


def test_processes_that_are_killed_are_a_refusal_with_the_probable_cause(running: Validator, tmp_path: Path) -> None:
    done = threading.Event()

    def kill() -> None:
        while not done.wait(0.01):
            child = running._child  # noqa: SLF001
            if child is not None and child.is_alive:
                os.kill(child.pid, signal.SIGKILL)

    os.kill(child_of(running, tmp_path / "before").pid, signal.SIGSTOP)  # it would be done before it is killed
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(
            RolloutRefused, match=r"2 processes ended .* by signal 9 \(SIGKILL\), as the kernel does where"
        ):
            running.validate(ref(make_version(), tmp_path / "killed"), None)
    finally:
        done.set()
        killer.join()
    child_of(running, tmp_path)


def test_too_much_processor_time_ends_the_process() -> None:
    script = (
        "from polserve.serving.validation import confinement as c; c.CPU_S = 1; c.begin_version()\nwhile True: pass"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert ended.returncode == -signal.SIGXCPU
    assert "100 s of processor time" in validator._how_it_was_lost(ChildLost("it ended", ended.returncode))  # noqa: SLF001


def test_only_what_names_memory_is_told_as_a_lack_of_it() -> None:
    assert out_of_memory(RuntimeError("std::bad_alloc"), 1) is not None
    assert out_of_memory(MemoryError(), 1) is not None
    assert out_of_memory(RolloutRefused("latency: one observation takes 1 s"), 1) is None
