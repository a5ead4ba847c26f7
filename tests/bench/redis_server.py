"""A Redis server for the time of a bench: in memory only, at a unix socket in a directory of its own."""
import contextlib
import os
import shutil
import subprocess
import tempfile
import time

PROGRAMS = ("redis-server", "valkey-server")
# Debian's redis-tools have the server too, under another name: it looks at what it is called as
ALIAS = "redis-check-rdb"


def program():
    """Path of a program that is a server when it is called redis-server; None if there is none."""
    for name in PROGRAMS:
        if shutil.which(name):
            return shutil.which(name)
    alias = shutil.which(ALIAS)
    if alias:
        said = subprocess.run(["redis-server", "--version"], executable=alias, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace").stdout
        if "server v=" in said:
            return alias
    return None


def is_up(process, socket):
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        if os.path.exists(socket):
            return True
        time.sleep(0.01)
    return False


@contextlib.contextmanager
def running():
    """The socket at which a server listens; None when none is installed."""
    path = program()
    if not path:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="cpagent-bench.") as directory:
        socket = os.path.join(directory, "socket")
        process = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700",
                                    "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", directory],
                                   executable=path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            yield socket if is_up(process, socket) else None
        finally:
            process.kill()
            process.wait()
