#!/usr/bin/env python3
"""Every call and every error of cpagent.h is there in each language, under a name that its page tells."""
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import PLAIN, TOP

if __name__ == "__main__":
    harness.as_tests_need()

import cpagent
from cpagent import _lib, errors

# What a call is called elsewhere; None: nobody needs it there, since …
FORTRAN = {
    "cpa_checkpoint_vars": "cpa_checkpoint", "cpa_restore_vars": "cpa_restore", "cpa_open_named": "cpa_open",
    "cpa_key_join": "cpa_key", "cpa_version_of": "cpa_version", "cpa_version_within": "cpa_version",
    "cpa_list_free": None, "cpa_memo_list_free": None,  # lists are allocatable
    "cpa_type_name": None, "cpa_type_size": None,  # types are words: cpa_entry
}
PYTHON = {
    "cpa_checkpoint_vars": "checkpoint", "cpa_restore_vars": "restore", "cpa_open_named": "open", "cpa_key_join": "key",
    "cpa_restore_version": "restore", "cpa_query": "query", "cpa_version_of": "version", "cpa_version_within": "version",
    "cpa_checkpoint_regions": "checkpoint_protected", "cpa_restore_regions": "restore_protected",
    "cpa_memo_begin": "memo", "cpa_memo_end": "memo", "cpa_memo_drop": "memo", "cpa_memo_list": "memos",
    "cpa_file_done": "route_file", "cpa_strerror": "Error",
    "cpa_list_free": None, "cpa_memo_list_free": None, "cpa_type_name": None, "cpa_type_size": None,
}
# Python does without the C call
NOT_CALLED = {"cpa_open", "cpa_key_join", "cpa_on_term", "cpa_type_size"}


def header():
    text = ""
    for path in [os.path.join(TOP, "hooks", "cpagent.h"), *sorted(glob.glob(os.path.join(TOP, "hooks", "cpagent", "*.h")))]:
        with open(path) as f:
            text += re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    return text


def calls():
    """Name: number of arguments."""
    found = {}
    for name, arguments in re.findall(r"^CPA_API [^;(]*?(\w+)\(([^;]*)\);", header(), re.M):
        found[name] = len(arguments.split(","))
    assert len(found) > 45 and found["cpa_checkpoint_vars"] == 5, found
    return found


def codes():
    return {name: int(value) for name, value in re.findall(r"(CPA_ERR_\w+) = (-\d+)", header())}


def page(name):
    with open(os.path.join(TOP, "docs", "man", name)) as f:
        return f.read().replace("\\fB", "").replace("\\fI", "")


def test_python_has_every_call(scratch):
    for name, arguments in calls().items():
        if name not in NOT_CALLED:
            assert name in _lib._PROTOTYPES, "%s is not in _lib.py" % name
            assert len(_lib._PROTOTYPES[name]) == 1 + arguments, "%s has %d arguments" % (name, arguments)
        called = PYTHON.get(name, name[4:])
        if called:
            assert hasattr(cpagent.Checkpoints, called) or hasattr(cpagent, called), "%s: no %s" % (name, called)
            assert re.search(r"\b%s\b" % called, page("cpagent_python.3")), "cpagent_python(3) does not tell %s" % called
    assert set(_lib._PROTOTYPES) <= set(calls())


def test_the_package_has_the_librarys_version(scratch):
    said = set()
    for path, pattern in (("agent/version.h", r'VERSION "(.*)"'), ("hooks/python/pyproject.toml", r'^version = "(.*)"')):
        with open(os.path.join(TOP, path)) as f:
            said.add(re.search(pattern, f.read(), re.M).group(1))
    assert said == {cpagent.__version__}, said


def test_python_has_every_error(scratch):
    assert sorted(codes().values()) == sorted(errors._BY_CODE)


def test_fortran_has_every_call_and_every_error(scratch):
    names = sorted({FORTRAN.get(name, name) for name in calls()} - {None})
    source = os.path.join(scratch, "names.f90")
    with open(source, "w") as f:
        f.writelines("use cpagent, only: %s\n" % name for name in [*names, *codes()])
        f.write("implicit none\n")
        f.writelines("if (%s /= %d) stop 1\n" % code for code in codes().items())
        f.write("end\n")
    made = subprocess.run(["gfortran", "-I" + os.path.join(PLAIN, "hooks", "fortran"), "-o", os.path.join(scratch, "names"),
                           source], stderr=subprocess.PIPE, text=True)
    assert made.returncode == 0, made.stderr
    assert subprocess.run([os.path.join(scratch, "names")]).returncode == 0
    for name in names:
        assert name + "(" in page("cpagent_fortran.3"), "cpagent_fortran(3) does not tell %s" % name


def test_cplusplus_links_with_every_call(scratch):
    source = os.path.join(scratch, "names.cpp")
    with open(source, "w") as f:
        f.write("#include <cpagent.hpp>\nvoid (*const calls[])() = {\n")
        f.writelines("\treinterpret_cast<void (*)()>(%s),\n" % name for name in calls())
        f.write("};\nint main() { return calls[0] == nullptr; }\n")
    made = subprocess.run(["g++", "-std=c++17", "-I" + os.path.join(TOP, "hooks"), "-o", os.path.join(scratch, "names"), source,
                           os.path.join(PLAIN, "libcpagent.a"), "-pthread"], stderr=subprocess.PIPE, text=True)
    assert made.returncode == 0, made.stderr


if __name__ == "__main__":
    sys.exit(harness.run(sys.modules[__name__]))
