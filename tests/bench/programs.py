"""The bench programs that are written in C: run one, read what it measured."""
import json
import os
import subprocess

from agents import BUILD


def output(name, *args):
    """What the program printed. name: as in bench_NAME."""
    path = os.path.join(BUILD, "tests/bench/bench_" + name)
    done = subprocess.run([path, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError("bench_%s exited with %d" % (name, done.returncode))
    return done.stdout


def document(name, *args):
    """The JSON document in its last line."""
    return json.loads(output(name, *args).strip().splitlines()[-1])
