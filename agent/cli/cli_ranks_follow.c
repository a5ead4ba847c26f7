/* Owns following many jobs: their output in whole lines as it comes, signals to all of them, one exit status. A
 * few connections are shared by the ranks: one that has a rank for itself waits at the agent for more, as `cpagent
 * logs -f` does; one with several asks them in turn what there is. */
#include "agent/cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/scoped.h"

#define CONNECTIONS 32 /* the agent lets a user have 128 */
#define ROUND_NS (200 * NS_PER_MS)
#define PATIENCE_NS (30 * NS_PER_S) /* with an agent that is gone: it is being restarted, while jobs run on */
#define AGAIN_NS (50 * NS_PER_MS)

struct follower {
	const char *job, *name; /* borrowed */
	json_int_t out, err;    /* offsets */
	struct cli_lines lines[2];
	int64_t ask_at; /* not before: a moment ago it had nothing new, or nobody answered */
	bool ended;
	int status;
};

struct link {
	struct cli conn;
	uint32_t first, at; /* its ranks: first, first + f->links, …; the one that was asked last */
	bool waits;         /* for an answer */
	bool alone;         /* that rank is the only one left to it */
	int64_t ask_at;     /* when the next of its ranks is to be asked; INT64_MAX: none is left */
	int64_t give_up;    /* the agent is gone: until then; 0: it is there */
};

struct following {
	struct cli *c;
	struct follower *rank; /* owned */
	uint32_t ranks, left, links;
	struct link link[CONNECTIONS];
	struct err e; /* what ends it all */
};

/* ---- one rank's end ---- */

static void finish(struct following *f, struct follower *r, const json_t *doc)
{
	const char *state = json_string_value(json_object_get(doc, "state"));
	const char *reason = json_string_value(json_object_get(doc, "reason"));
	struct err e = { 0 };

	cli_lines_end(&r->lines[0], STDOUT_FILENO, &f->e);
	cli_lines_end(&r->lines[1], STDERR_FILENO, &f->e);
	r->ended = true;
	f->left--;
	r->status = cli_job_status(doc);
	if (json_is_object(json_object_get(doc, "exit")))
		return;
	err_set(&e, ERR_FAILED, "%s: the job is %s%s%s; see cpagent ps -a", r->name, state ? state : "gone",
	        reason && *reason ? ": " : "", reason ? reason : "");
	r->status = cli_fail(&e);
}

static void answered(struct following *f, struct link *l, struct follower *r, const struct cli_answer *a)
{
	json_int_t n = json_integer_value(json_object_get(a->json, "stdout"));
	json_int_t m = json_integer_value(json_object_get(a->json, "stderr"));

	if (n < 0 || m < 0 || (uint64_t)n > a->len || (uint64_t)m > a->len - (uint64_t)n) {
		err_set(&f->e, ERR_FAILED, "the agent's answer is damaged; look at its log");
		return;
	}
	cli_lines_put(&r->lines[0], STDOUT_FILENO, a->data, (size_t)n, &f->e);
	cli_lines_put(&r->lines[1], STDERR_FILENO, a->data + n, (size_t)m, &f->e);
	r->out += n;
	r->err += m;
	if (!n && !m && !l->alone)
		r->ask_at = clock_boot_ns() + ROUND_NS;
	if (!n && !m && json_is_true(json_object_get(a->json, "ended")))
		finish(f, r, a->json);
}

/* ---- asking ---- */

/* The next of its ranks that is to be asked now; NULL: none, and l->ask_at says when one is. */
static struct follower *next_rank(struct following *f, struct link *l)
{
	uint32_t here = (f->ranks - l->first + f->links - 1) / f->links, live = 0, chosen = here;
	int64_t now = clock_boot_ns();

	l->ask_at = INT64_MAX;
	for (uint32_t i = 1; i <= here; i++) {
		const struct follower *r = &f->rank[l->first + (l->at + i) % here * f->links];

		live += !r->ended;
		if (!r->ended && r->ask_at <= now && chosen == here)
			chosen = (l->at + i) % here;
		else if (!r->ended && r->ask_at < l->ask_at)
			l->ask_at = r->ask_at;
	}
	l->alone = live == 1;
	if (chosen == here)
		return NULL;
	l->at = chosen;
	return &f->rank[l->first + chosen * f->links];
}

/* The agent is away: it is tried again for a while. */
static void lost(struct following *f, struct link *l, struct follower *r, const struct err *e)
{
	int64_t now = clock_boot_ns();

	if (!l->give_up)
		l->give_up = now + PATIENCE_NS;
	if (e->code != ERR_NO_AGENT || now >= l->give_up)
		f->e = *e;
	r->ask_at = now + AGAIN_NS;
}

static void ask(struct following *f, struct link *l)
{
	struct follower *r = l->waits ? NULL : next_rank(f, l);
	struct err e = { 0 };

	if (!r)
		return;
	json_t *rq = json_pack("{s:s,s:s,s:I,s:I,s:b}", "verb", "follow", "job", r->job, "stdout", r->out,
	                       "stderr", r->err, "end", !l->alone);
	l->ask_at = clock_boot_ns();
	if (cli_send(&l->conn, rq, &e) == 0)
		l->waits = true;
	else
		lost(f, l, r, &e);
	json_decref(rq);
}

static void hear(struct following *f, struct link *l)
{
	struct follower *r = &f->rank[l->first + l->at * f->links];
	struct cli_answer a;
	struct err e = { 0 };

	l->waits = false;
	l->ask_at = 0;
	if (cli_receive(&l->conn, CLI_SHOW_SECONDS, &a, &e)) {
		lost(f, l, r, &e);
	} else {
		l->give_up = 0;
		answered(f, l, r, &a);
	}
	cli_answer_free(&a);
}

/* ---- signals ---- */

static void pass_on(struct following *f, int signo)
{
	for (uint32_t i = 0; i < f->ranks; i++) {
		struct cli_answer a;
		struct err e = { 0 };

		if (f->rank[i].ended)
			continue;
		if (cli_call(f->c,
		             json_pack("{s:s,s:s,s:i,s:b}", "verb", "signal", "job", f->rank[i].job, "signal", signo,
		                       "end", 1),
		             NULL, 0, CLI_SHOW_SECONDS, &a, &e) == ERR_NO_AGENT) {
			cli_fail(&e);
			exit(128 + signo); /* nobody can pass it on, and the user wants an end */
		}
		cli_answer_free(&a);
	}
}

static int open_signals(sigset_t *old)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, old);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- all of it ---- */

/* Wait for an answer, a signal, or for the time when somebody is to be asked again. */
static void wait_for_any(struct following *f, int signals)
{
	struct pollfd p[CONNECTIONS + 1];
	int64_t now = clock_boot_ns(), until = INT64_MAX;
	struct signalfd_siginfo si;

	for (uint32_t i = 0; i < f->links; i++) {
		struct link *l = &f->link[i];

		p[i] = (struct pollfd){ .fd = l->waits ? l->conn.fd : -1, .events = POLLIN };
		if (!l->waits && l->ask_at < until)
			until = l->ask_at > now ? l->ask_at : now;
	}
	p[f->links] = (struct pollfd){ .fd = signals, .events = POLLIN };
	if (poll(p, f->links + 1, until == INT64_MAX ? -1 : (int)((until - now) / NS_PER_MS) + 1) < 0)
		return;
	if ((p[f->links].revents & POLLIN) && read(signals, &si, sizeof si) == (ssize_t)sizeof si)
		pass_on(f, (int)si.ssi_signo);
	for (uint32_t i = 0; i < f->links; i++)
		if (f->link[i].waits && p[i].revents)
			hear(f, &f->link[i]);
}

static void follow(struct following *f)
{
	sigset_t old;
	int signals = open_signals(&old);

	fflush(stdout);
	while (f->left && !f->e.code) {
		for (uint32_t i = 0; i < f->links; i++)
			ask(f, &f->link[i]);
		if (f->left && !f->e.code)
			wait_for_any(f, signals);
	}
	close(signals);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void open_links(struct following *f)
{
	f->links = f->ranks < CONNECTIONS ? f->ranks : CONNECTIONS;
	for (uint32_t i = 0; i < f->links; i++) {
		struct link *l = &f->link[i];

		*l = (struct link){ .conn = { .fd = -1, .signal_fd = -1 }, .first = i };
		fs_path(l->conn.run, "%s", f->c->run);
	}
}

int cli_ranks_follow(struct cli *c, const json_t *jobs)
{
	scoped_free struct following *f = calloc(1, sizeof *f);
	scoped_free struct follower *rank = calloc(json_array_size(jobs) + 1, sizeof *rank);
	struct err e = { 0 };
	int status = 0;

	if (!f || !rank) {
		err_set(&e, ERR_FAILED, "out of memory");
		return cli_fail(&e);
	}
	f->c = c;
	f->rank = rank;
	f->ranks = f->left = (uint32_t)json_array_size(jobs);
	for (uint32_t i = 0; i < f->ranks; i++) {
		const json_t *job = json_array_get(jobs, i);

		rank[i].job = json_string_value(json_object_get(job, "job"));
		rank[i].name = json_string_value(json_object_get(job, "name"));
	}
	open_links(f);
	follow(f);
	if (f->e.code)
		status = cli_fail(&f->e);
	for (uint32_t i = 0; i < f->links; i++)
		cli_disconnect(&f->link[i].conn);
	for (uint32_t i = 0; i < f->ranks; i++) {
		status = status ? status : rank[i].status;
		free(rank[i].lines[0].text);
		free(rank[i].lines[1].text);
	}
	return status;
}
