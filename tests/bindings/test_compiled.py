#!/usr/bin/env python3
"""The bindings of compiled languages: test_fortran.f90 and test_cplusplus.cpp, and what only the outside can see of them."""
import os
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import PLAIN, TOP

FORTRAN = os.path.join(PLAIN, "tests", "bindings", "test_fortran")
LIFE = FORTRAN + "_life"


def output(argv, status=0):
    made = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=harness.environment())
    assert made.returncode == status, "status %d: %s" % (made.returncode, made.stdout)
    return made.stdout


def passes(argv):
    text = output(argv)
    assert re.search(r"^[1-9]\d* passed, 0 failed$", text, re.M), text


def test_a_fortran_program_has_every_call(scratch):
    passes([FORTRAN, scratch])


def test_an_error_that_a_fortran_program_does_not_take_ends_it_with_a_sentence(scratch):
    text = output([FORTRAN, scratch, "ends"], status=1)
    assert text.startswith("cpagent: ") and "nothing" in text and "still here" not in text


def test_a_fortran_program_has_every_call_in_full(scratch):
    passes([FORTRAN + "_calls", scratch])


def test_an_expression_is_no_fortran_variable(scratch):
    """Its memory would be gone before the checkpoint is taken."""
    for call in ('call cpa_checkpoint(cp, "k", 1, [cpa_var("u", u + 1)])', 'call cpa_protect(cp, "u", 2*u)',
                 'call cpa_checkpoint(cp, "k", 1, [cpa_var("n", 42)])'):
        source = os.path.join(scratch, "expression.f90")
        with open(source, "w") as f:
            f.write("use cpagent\ntype(cpa) :: cp\nreal, target :: u(10)\n%s\nend\n" % call)
        made = subprocess.run(["gfortran", "-fsyntax-only", "-I" + os.path.join(PLAIN, "hooks", "fortran"), source],
                              stderr=subprocess.PIPE, text=True)
        assert made.returncode != 0 and "Error: " in made.stderr, made.stderr


def test_a_fortran_program_needs_one_module_file(scratch):
    shutil.copy(os.path.join(PLAIN, "hooks", "fortran", "cpagent.mod"), scratch)
    made = subprocess.run(["gfortran", "-fsyntax-only", "-Wall", "-Werror", "-std=f2018", "-I" + scratch,
                           os.path.join(TOP, "hooks", "examples", "heat.f90")], stderr=subprocess.PIPE, text=True)
    assert made.returncode == 0, made.stderr


def test_a_fortran_program_registers_callbacks(scratch):
    passes([LIFE, scratch, "fresh"])


def after(scratch):
    return output([LIFE, scratch, "after"]).strip()


def test_a_fortran_callback_runs_at_the_end(scratch):
    output([LIFE, scratch, "end"])
    assert after(scratch) == "began 2 step 41 signal 0 sum 100"


def test_a_fortran_callback_runs_when_the_program_stops(scratch):
    output([LIFE, scratch, "stop"], status=3)
    assert after(scratch) == "began 2 step 41 signal 0 sum 100"


def test_a_fortran_callback_runs_on_sigterm_and_the_signal_still_ends_the_program(scratch):
    with subprocess.Popen([LIFE, scratch, "term"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=harness.environment()) as p:
        assert p.stdout.readline() == "ready\n"
        p.terminate()
        assert p.wait(60) == -signal.SIGTERM
    assert after(scratch) == "began 2 step 41 signal 15 sum 100"


def test_a_fortran_callback_runs_on_a_fault(scratch):
    output([LIFE, scratch, "fault"], status=-signal.SIGSEGV)
    assert after(scratch) == "began 2 step 41 signal 11 sum 100"


def cplusplus(compiler, scratch):
    program = os.path.join(scratch, "program")
    output([compiler, "-std=c++17", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-I" + os.path.join(TOP, "hooks"), "-o", program,
            os.path.join(TOP, "tests", "bindings", "test_cplusplus.cpp"), os.path.join(PLAIN, "libcpagent.a"), "-pthread"])
    passes([program, scratch])


def test_a_cplusplus_program_of_gcc(scratch):
    cplusplus("g++", scratch)


def test_a_cplusplus_program_of_clang(scratch):
    cplusplus("clang++", scratch)


def refused(scratch, words, *statements):
    source = os.path.join(scratch, "refused.cpp")
    for statement in statements:
        with open(source, "w") as f:
            f.write("#include <cpagent.hpp>\n#include <string>\n#include <vector>\nusing cpagent::var;\n"
                    "void f(cpagent::checkpoints &cp, const double c, std::vector<std::string> v) { %s; }\n" % statement)
        made = subprocess.run(["g++", "-std=c++17", "-I" + os.path.join(TOP, "hooks"), "-fsyntax-only", source], text=True,
                              stderr=subprocess.PIPE)
        assert made.returncode != 0 and words in made.stderr, made.stderr


def test_an_object_is_no_variable(scratch):
    refused(scratch, "numbers, not objects", 'cp.checkpoint("k", 1, var("v", v))')


def test_what_is_constant_is_not_restored(scratch):
    refused(scratch, "a constant cannot be restored", 'cp.restore("k", 0, var("c", c))', 'cp.protect("c", c)')


def test_an_expression_is_no_variable(scratch):
    refused(scratch, "rvalue", 'cp.checkpoint("k", 1, var("c", c + 1))')


if __name__ == "__main__":
    sys.exit(harness.run(sys.modules[__name__]))
