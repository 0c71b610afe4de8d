"""A service with no network but this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import ROOT, environment


@pytest.mark.acceptance
def test_a_service_without_a_network_starts_and_answers_and_has_looked_for_nobody(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("a namespace for the network takes root")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        ["/usr/bin/unshare", "--net", sys.executable, "-m", "tests.support.offline", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        env=environment(PYTHONPATH=path),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["policy"] == "cartpole"
    assert "127.0.0.1" in told["error"], "the follower has imported what speaks to registries"
    assert told["noted"] == [], "nothing reports to whoever made it"
