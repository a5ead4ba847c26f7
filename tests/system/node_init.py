"""Pid 1 of a node: makes the node's own /proc, /run and host name, says "ready", and then reaps orphans for ever.

Started by nodes.py inside fresh namespaces. A job's mount namespace is copied from this one and built again on
another node, so whatever is replaced here is first taken away: CRIU cannot restore a mount that another covers.
"""
import os
import signal
import subprocess
import sys


def mounted_below(place):
    """Where something is mounted at or below place, the deepest first."""
    with open("/proc/self/mountinfo") as table:
        places = [line.split()[4] for line in table]
    return [p for p in reversed(places) if p == place or p.startswith(place + "/")]


def mount(*args):
    subprocess.run(["mount", *args], check=True)


def prepare(name, run_size):
    for place in mounted_below("/run") + mounted_below("/proc"):
        subprocess.run(["umount", "-l", place], check=True)
    mount("-t", "proc", "-o", "nosuid,nodev,noexec", "proc", "/proc")
    mount("-t", "tmpfs", "-o", "mode=755,size=" + run_size, "tmpfs", "/run")
    subprocess.run(["hostname", name], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def main(name, run_size):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare(name, run_size)
    print("ready", flush=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            signal.sigwait({signal.SIGCHLD})


if __name__ == "__main__":
    main(*sys.argv[1:])
