"""A real PostgreSQL server."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.running import free_port, wait_until

USER = "postgres"
"""The server refuses to run as root; Debian's package makes this user."""


def programs() -> Path | None:
    """The folder of the server's programs; None where it is not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (debian and debian[-1])
    return Path(found).parent if found else None


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """An empty database; the value is its address for SQLAlchemy."""
    folder = programs()
    assert folder is not None
    user = USER if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="polserve-postgresql-", ignore_cleanup_errors=True) as home:
        if user:
            os.chown(home, pwd.getpwnam(user).pw_uid, -1)
        data, port, log = Path(home) / "data", free_port(), Path(home) / "log"
        create = [str(folder / "initdb"), "--pgdata", str(data), "--username", USER, "--auth", "trust", "--no-sync"]
        subprocess.run(create, check=True, capture_output=True, user=user, cwd=home)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={home}", "-c", "fsync=off"]
        with log.open("w") as output:
            server = subprocess.Popen(
                [str(folder / "postgres"), "-D", str(data), "-p", str(port), *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user,
                cwd=home,
            )
        try:
            wait_until(lambda: "ready to accept connections" in log.read_text(), log)
            yield f"postgresql+psycopg2://{USER}@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(15)
