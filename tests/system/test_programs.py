"""Programs that know nothing of checkpoints, taken back to a snapshot in mid-work: their results are the same."""
import hashlib
import os
import subprocess
import sys

from agents import wait_until
from harness import test
from text import write_text

BASH = """
exec 3>>OUT
sum=0
for i in $(seq 1 60); do
    for j in $(seq 1 300); do sum=$(( (sum * 31 + i * j) % 1000003 )); done
    echo "$i $sum" >&3
    sleep 0.03
done
echo done
"""
PYTHON = """
import hashlib, subprocess, threading, time
h, lock = b'', threading.Lock()
def work(k):
    for i in range(60):
        with lock:
            print(k, i, file=out, flush=True) if k == 0 else None
        hashlib.sha256(b'x' * 20000).digest()
        time.sleep(0.02)
out = open('OUT', 'w')
threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout, end='', file=out)
"""


def setup(cluster):
    n1 = cluster.add("n1")
    n1.agent_start()
    return cluster, n1


def content(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def result(path):
    return os.path.exists(path) and os.path.getsize(path)


def with_a_break(n1, name, out, least, *command):
    """Run it; snapshot when its output has some size; go on a bit; restore; wait for its end."""
    n1.run("--name", name, "--", *command)
    wait_until(lambda: result(out) and os.path.getsize(out) >= least, 30, "it has written something")
    n1.cli("checkpoint", name)
    size = os.path.getsize(out)
    wait_until(lambda: os.path.getsize(out) > size, 30, "it goes on writing")
    n1.cli("restore", "--force", name)
    n1.wait_job(name, 10, incarnation=1)
    assert n1.cli("wait", name, timeout=60).returncode == 0


@test
def xz_makes_the_same_file(c, n1):
    for place in ("plain", "broken"):
        os.mkdir(os.path.join(c.shared, place))
        write_text(os.path.join(c.shared, place, "text"), megabytes=6)
    command = ["xz", "-T1", "-k", "--lzma2=preset=4e,dict=64KiB"]
    subprocess.run([*command, os.path.join(c.shared, "plain/text")], check=True)
    out = os.path.join(c.shared, "broken/text.xz")
    with_a_break(n1, "xz", out, 64 << 10, *command, os.path.join(c.shared, "broken/text"))
    assert content(out) == content(os.path.join(c.shared, "plain/text.xz"))


@test
def a_shell_script_with_its_children_makes_the_same_file(c, n1):
    plain, broken = (os.path.join(c.shared, name) for name in ("plain.sh.out", "broken.sh.out"))
    subprocess.run(["bash", "-c", BASH.replace("OUT", plain)], check=True, stdout=subprocess.DEVNULL)
    with_a_break(n1, "bash", broken, 40, "bash", "-c", BASH.replace("OUT", broken))
    assert content(broken) == content(plain)
    assert n1.cli("logs", "bash").stdout == "done\n"


@test
def python_with_threads_makes_the_same_file(c, n1):
    plain, broken = (os.path.join(c.shared, name) for name in ("plain.py.out", "broken.py.out"))
    subprocess.run([sys.executable, "-c", PYTHON.replace("OUT", plain)], check=True)
    with_a_break(n1, "python", broken, 40, sys.executable, "-c", PYTHON.replace("OUT", broken))
    assert content(broken) == content(plain)
