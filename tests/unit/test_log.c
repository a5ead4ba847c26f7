/* The log's lines. */
#include <CUnit/CUnit.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "tests/unit/harness.h"

/* What an event with this text writes to stderr. */
static size_t logged(const char *text, char *out, size_t max)
{
	int ends[2], kept = dup(STDERR_FILENO);
	ssize_t n;

	CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC), 0);
	dup2(ends[1], STDERR_FILENO);
	log_warn("broken", "key=\"%s\"", text);
	dup2(kept, STDERR_FILENO);
	close(kept);
	close(ends[1]);
	n = read(ends[0], out, max - 1);
	close(ends[0]);
	out[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

static void what_an_event_quotes_cannot_look_like_another_event(void)
{
	char line[4096];
	size_t n = logged("a\n2026 top info job forged\r\x1b[2J", line, sizeof line);

	CU_ASSERT_PTR_EQUAL(strchr(line, '\n'), line + n - 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "key=\"a?2026 top info job forged??[2J\""));
}

static void a_text_that_is_too_long_is_cut_and_stays_one_line(void)
{
	char text[5000], line[8192];
	size_t n;

	memset(text, '\n', sizeof text);
	text[sizeof text - 1] = '\0';
	n = logged(text, line, sizeof line);
	CU_ASSERT(n > 1000 && n <= 2048);
	CU_ASSERT_PTR_EQUAL(strchr(line, '\n'), line + n - 1);
}

int main(void)
{
	static const struct test tests[] = {
		{"what an event quotes cannot look like another event", what_an_event_quotes_cannot_look_like_another_event},
		{"a text that is too long is cut and stays one line", a_text_that_is_too_long_is_cut_and_stays_one_line},
	};

	log_open("top", LOG_EVENT_INFO);
	return harness_run("log", tests, sizeof tests / sizeof *tests);
}
