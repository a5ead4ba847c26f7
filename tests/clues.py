"""What the last lines of all say of what failed, for those who see no more than these: which tests, and why.

Every kind of program says it in its own way: CUnit's failed assertions come after the test's name, a Python traceback's
point is its end, a sanitizer's report begins with it, and what crashed or hung says nothing but how far it had come.
"""
import re

ROOM = 20  # lines for all of it
FAILED = re.compile(r"FAILED(?! +[0-9])")  # not the line with its seconds, which says it again
ASSERTION = re.compile(r"  \S+:\d+: ")
REPORT = re.compile(r"ERROR: \w*Sanitizer|WARNING: ThreadSanitizer|runtime error:|ERROR: libFuzzer|^Traceback |"
                    r"^==\d+== (Invalid|Conditional|Use of|Syscall param)")
SENTENCE = re.compile(r"  [a-z]")  # a unit test says its name before it begins
NOISE = re.compile(r"=+$|\s*$|.*(\^~*\^?|~{4,})\s*$")  # rules, blank lines, marks below a line of code
ADDRESS = re.compile(r"0x[0-9a-f]{6,} (in )?")
RUNTIME = re.compile(r"libsanitizer|/lib/x86_64|\(BuildId|__libc_start|Shadow byte|^ *[0-9a-f=>]*: ?\[?[0-9a-f]{2} ")
COMPLAINT = re.compile(r"  \| \S+ \S+ (warn|error) ")
DEEP = 400  # lines of a report


class Clue:
    """What happened, and lines about it; the first ones tell most, or else the last ones."""

    def __init__(self, head, lines, first=False):
        self.head, self.first = head, first
        self.lines = [line.rstrip()[:200] for line in lines if not NOISE.match(line)]

    def text(self, room):
        keep = self.lines[:room - 1] if self.first else self.lines[len(self.lines) - min(len(self.lines), room - 1):]
        return [self.head] + ["  " + line.strip() for line in keep]


def indented(lines, at):
    """The lines below lines[at] that belong to it."""
    end = at + 1
    while end < len(lines) and lines[end].startswith("  ") and not lines[end].startswith("  -- log of"):
        end += 1
    return lines[at + 1:end]


def traceback_before(lines, at):
    """For those who print it before the test's name."""
    begin = max((i for i in range(max(0, at - DEEP), at) if lines[i].startswith("Traceback ")), default=at)
    return lines[begin:at]


def failed_tests(name, lines):
    for at, line in enumerate(lines):
        if not FAILED.match(line):
            continue
        below = indented(lines, at)
        if below and ASSERTION.match(below[0]):  # the next tests' names follow
            yield Clue("%s: %s" % (name, line), [b for b in below if ASSERTION.match(b)], first=True)
        else:
            yield Clue("%s: %s" % (name, line), below or traceback_before(lines, at))


def reports(name, lines):
    """Of sanitizers and fuzzers, also of an agent whose log is shown, and what was going on."""
    at = 0
    while at < len(lines):
        if not REPORT.search(lines[at]) or lines[at].startswith("Traceback"):
            at += 1
            continue
        prefix = "  | " if lines[at].startswith("  | ") else ""
        before = [b for b in lines[:at] if (FAILED if prefix else SENTENCE).match(b)] if "Leak" not in lines[at] else []
        body = [line[len(prefix):] for line in lines[at:at + DEEP] if line.startswith(prefix)]
        end = next((i for i, line in enumerate(body) if line.startswith("SUMMARY:") or "Test unit written" in line), 30)
        during = ", in: " + before[-1].strip() if before else ""
        yield Clue(name + during, [ADDRESS.sub("", b) for b in body[:end + 1] if not RUNTIME.search(b)], first=True)
        at += max(end, 1) + 1
    yield from (Clue("%s: what it was given" % name, [line]) for line in lines if line.startswith("Base64: "))


def warnings(name, lines):
    """What the agents of failed system tests have complained about."""
    found = [line[4:] for line in lines if line.startswith("  | ") and COMPLAINT.match(line)]
    if found:
        yield Clue("%s: agents' complaints" % name, found)


def of(program, trouble, lines):
    """The clues that a failed program's log holds. trouble: how it ended, if that was wrong."""
    name = "%s %s" % (program.suite, program.name)
    found = list(reports(name, lines)) + list(failed_tests(name, lines)) + list(warnings(name, lines))
    ended_itself = not trouble or trouble.startswith("exited")
    if not found or not ended_itself:
        found.append(Clue("%s %s; its last lines:" % (name, trouble or "has failed tests"), lines[-DEEP:]))
    return found


def shown(clues):
    """All of them in ROOM lines, the first ones if there are too many."""
    few = clues[:ROOM // 3]
    more = len(clues) - len(few)
    out = [line for clue in few for line in clue.text((ROOM - bool(more)) // len(few))]
    return out + (["and %d more" % more] if more else [])
