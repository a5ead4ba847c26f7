/* Owns how a job's output is followed: what came is written, and the next request waits at the agent for more. */
#include "agent/cli/cli.h"

#include <unistd.h>

#include "lib/base/fs.h"

int cli_job_status(const json_t *doc)
{
	const json_t *end = json_object_get(doc, "exit");
	json_int_t sig = json_integer_value(json_object_get(end, "signal"));

	if (!json_is_object(end))
		return 1;
	return (int)(sig > 0 ? 128 + sig : json_integer_value(json_object_get(end, "code"))) & 0xff;
}

static int put(int fd, const uint8_t *data, size_t len, struct err *e)
{
	if (len && fs_write_full(fd, data, len))
		return err_sys(e, ERR_FAILED, "%s: cannot write the job's output", fd == 1 ? "stdout" : "stderr");
	return 0;
}

int cli_follow_run(struct cli *c, struct cli_follow *f, struct err *e)
{
	json_int_t out = 0, err = 0;

	fflush(stdout);
	f->last = NULL;
	for (;;) {
		struct cli_answer a;
		json_int_t n, m;
		int r = cli_call_patient(c,
		                         json_pack("{s:s,s:s,s:I,s:I,s:b}", "verb", "follow", "job", f->job,
		                                   "stdout", out, "stderr", err, "end", f->to_end),
		                         0, &a, e);

		if (r) {
			cli_answer_free(&a);
			return r;
		}
		n = json_integer_value(json_object_get(a.json, "stdout"));
		m = json_integer_value(json_object_get(a.json, "stderr"));
		if (n < 0 || m < 0 || (uint64_t)n > a.len || (uint64_t)m > a.len - (uint64_t)n)
			r = err_set(e, ERR_FAILED, "the agent's answer is damaged; look at its log");
		else if (!f->only_stderr)
			r = put(STDOUT_FILENO, a.data, (size_t)n, e);
		if (!r)
			r = put(f->only_stderr ? STDOUT_FILENO : STDERR_FILENO, a.data + n, (size_t)m, e);
		out += n;
		err += m;
		json_decref(f->last);
		f->last = json_incref(a.json);
		cli_answer_free(&a);
		if (r)
			return r;
		if (n == 0 && m == 0 && (f->to_end || json_is_true(json_object_get(f->last, "ended"))))
			return 0;
	}
}
