"""A service in a network that holds nothing but this machine; run as a program, in a network namespace of its own.

It prints what the service answered, and the addresses elsewhere that its processes looked up or connected to.
"""

import fcntl
import json
import os
import socket
import struct
import sys
from pathlib import Path

from polserve.serving.client import PolicyClient
from tests.support.running import environment, service, wait_until

SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
HOOK = """
import os, sys

def note(event, arguments):
    if event not in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        return
    address = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
    host = str(address[0] if isinstance(address, tuple) else address)
    if host not in ("None", "localhost", "::1", "0.0.0.0") and not host.startswith(("127.", "/")):
        with open(os.environ["NOTED"], "a") as file:
            file.write(f"{event} {host}\\n")

sys.addaudithook(note)
"""


def main(folder: Path) -> None:
    """Serve the bundled policies, and then a registry that does not answer."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    (folder / "sitecustomize.py").write_text(HOOK)
    noted = folder / "noted"
    noted.touch()
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    settings = environment(PYTHONPATH=path, NOTED=str(noted), HOME=str(folder))
    # The service itself sees to it that no library reports its use; MLflow's does not where it sees a test.
    env = {name: value for name, value in settings.items() if "TELEMETRY" not in name and not name.startswith("PYTEST")}
    env.pop("CI", None)
    with service(folder=folder, env=env) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        with PolicyClient(running.target) as client:
            policy = client.act("cartpole", [0, 0, 0, 0]).policy
    with service(folder=folder, env={**env, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}) as running:
        wait_until(lambda: running.ready().get("registry") is not None, running.log)
        error = running.ready()["registry"]["error"]
    json.dump({"policy": policy, "error": error, "noted": noted.read_text().splitlines()}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
