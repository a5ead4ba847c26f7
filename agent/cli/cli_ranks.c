/* Owns what is done with several jobs at once: the ranks of a group are started, all or none, found by the group's
 * name, and followed. */
#include "agent/cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config_key.h"
#include "agent/core/group.h"
#include "lib/base/scoped.h"

#define STOP_GRACE_S 2.0 /* of ranks that have just been started in vain */

static const char *text_of(const json_t *doc, const char *field)
{
	const char *text = json_string_value(json_object_get(doc, field));

	return text ? text : "";
}

/* ---- what is to be started ---- */

struct plan {
	struct cli_rank rank; /* name and node: of the one at hand */
	const char *base;     /* its name, without the number */
	char launch[CORE_UUID], name[CONFIG_NAME_MAX + 1];
	char *nodes_text; /* owned; node[] points into it */
	char *node[GROUP_RANKS_MAX];
	uint32_t nodes;
	json_t *started; /* owned: what the agent answered */
};

static int take_nodes(struct plan *p, const char *text, struct err *e)
{
	char *save = NULL;

	if (!text)
		return 0;
	p->nodes_text = strdup(text);
	if (!p->nodes_text)
		return err_set(e, ERR_FAILED, "out of memory");
	for (char *n = strtok_r(p->nodes_text, ",", &save); n; n = strtok_r(NULL, ",", &save)) {
		if (cli_spec_name("node", n, e))
			return e->code;
		if (p->nodes == GROUP_RANKS_MAX)
			return err_set(e, ERR_USAGE, "--node: at most %d nodes; name fewer", GROUP_RANKS_MAX);
		p->node[p->nodes++] = n;
	}
	return 0;
}

static int take_plan(struct plan *p, const struct cli_args *a, struct err *e)
{
	const char *name = cli_opt(a, "name");
	scoped_free char *uuid = NULL;
	uint64_t ranks = 0;
	size_t n;

	p->rank.group = cli_opt(a, "group");
	if (!p->rank.group || !cli_opt(a, "ranks"))
		return err_set(e, ERR_USAGE, "--group and --ranks belong together: --group NAME --ranks N");
	if (cli_opt_number(a, "ranks", 1, GROUP_RANKS_MAX, &ranks, e) ||
	    cli_spec_name("group", p->rank.group, e) || (name && cli_spec_name("name", name, e)) ||
	    take_nodes(p, cli_opt(a, "node"), e))
		return e->code;
	p->rank.ranks = (uint32_t)ranks;
	p->base = name ? name : p->rank.group;
	if ((size_t)snprintf(p->name, sizeof p->name, "%s.%u", p->base, p->rank.ranks - 1) >= sizeof p->name)
		return err_set(e, ERR_USAGE, "--%s: '%s' with a rank's number is longer than %d bytes; shorten it",
		               name ? "name" : "group", p->base, CONFIG_NAME_MAX);
	if (fs_read("/proc/sys/kernel/random/uuid", 64, &uuid, &n, e))
		return e->code;
	snprintf(p->launch, sizeof p->launch, "%s", uuid);
	p->rank.launch = p->launch;
	p->rank.name = p->name;
	return 0;
}

/* ---- finding them ---- */

static bool is_live(const json_t *job)
{
	return strcmp(text_of(job, "state"), "exited") != 0 && strcmp(text_of(job, "state"), "failed") != 0;
}

/* Any job of the run that is meant. */
static const json_t *one_of(const json_t *ranks)
{
	const json_t *found = json_array_get(ranks, 0);

	for (size_t i = 1; i < json_array_size(ranks) && !is_live(found); i++)
		if (is_live(json_array_get(ranks, i)))
			found = json_array_get(ranks, i);
	return found;
}

bool cli_ranks_live(const json_t *list)
{
	return json_array_size(list) > 0 && is_live(one_of(list));
}

static int by_rank(const void *x, const void *y)
{
	json_int_t a = json_integer_value(json_object_get(*(json_t *const *)x, "rank"));
	json_int_t b = json_integer_value(json_object_get(*(json_t *const *)y, "rank"));

	return (a > b) - (a < b);
}

static json_t *of_one_run(const json_t *ranks)
{
	const char *launch = text_of(one_of(ranks), "launch");
	scoped_free json_t **job = calloc(json_array_size(ranks) + 1, sizeof(json_t *));
	json_t *list = json_array();
	size_t n = 0;

	for (size_t i = 0; job && i < json_array_size(ranks); i++)
		if (strcmp(text_of(json_array_get(ranks, i), "launch"), launch) == 0)
			job[n++] = json_array_get(ranks, i);
	if (n)
		qsort(job, n, sizeof *job, by_rank);
	for (size_t i = 0; i < n; i++)
		json_array_append(list, job[i]);
	return list;
}

int cli_ranks_of(struct cli *c, const char *word, json_t **list, struct err *e)
{
	struct cli_answer answer;
	int r = cli_call(c, json_pack("{s:s,s:s}", "verb", "group", "group", word), NULL, 0, CLI_SHOW_SECONDS,
	                 &answer, e);

	*list = r ? NULL : of_one_run(json_object_get(answer.json, "ranks"));
	cli_answer_free(&answer);
	if (!r && json_array_size(*list) == 0)
		r = err_set(e, ERR_NOT_FOUND,
		            "%s: no such job, and no group of that name; `cpagent ps -a` lists those there are",
		            word);
	return r;
}

/* ---- starting them ---- */

static int start_one(struct cli *c, const struct cli_args *a, struct plan *p, uint32_t rank, int *launch_status,
                     struct err *e)
{
	struct cli_answer answer = { 0 };
	scoped_free uint8_t *spec = NULL;
	size_t len;

	p->rank.rank = rank;
	p->rank.node = p->nodes ? p->node[rank % p->nodes] : NULL;
	snprintf(p->name, sizeof p->name, "%s.%u", p->base, rank);
	if (cli_spec_pack(a, &p->rank, &spec, &len, e) == 0 &&
	    cli_call(c, json_pack("{s:s}", "verb", "run"), spec, len, 0, &answer, e) == 0) {
		json_object_set_new(answer.json, "rank", json_integer(rank));
		json_array_append(p->started, answer.json);
	} else {
		*launch_status = answer.launch_status;
		err_wrap(e, "rank %u (%s)", rank, p->name);
	}
	cli_answer_free(&answer);
	return e->code;
}

/* One of them could not be started: none shall run. */
static void stop_started(struct cli *c, const json_t *started)
{
	const json_t *job;
	size_t i;

	json_array_foreach(started, i, job)
	{
		struct cli_answer answer;
		struct err e = { 0 };

		if (cli_call(c,
		             json_pack("{s:s,s:s,s:f}", "verb", "stop", "job", text_of(job, "job"), "grace",
		                       STOP_GRACE_S),
		             NULL, 0, CLI_SHOW_SECONDS, &answer, &e) &&
		    e.code != ERR_FAILED) /* it has ended already */
			fprintf(stderr, "cpagent: %s: it could not be stopped: %s\n", text_of(job, "name"),
			        e.text);
		cli_answer_free(&answer);
	}
}

static int print_started(struct cli *c, const json_t *started)
{
	size_t i;

	if (c->json) {
		json_t *doc = json_pack("{s:O}", "jobs", started);
		int status = cli_print_json(doc);

		json_decref(doc);
		return status;
	}
	for (i = 0; i < json_array_size(started); i++)
		puts(text_of(json_array_get(started, i), "name"));
	return ferror(stdout) != 0;
}

/* A signal that ends us comes between two of them: those that run already are stopped first. */
static void hold_signals(sigset_t *set, sigset_t *old)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGQUIT);
	sigaddset(set, SIGHUP);
	sigprocmask(SIG_BLOCK, set, old);
}

static void start_all(struct cli *c, const struct cli_args *a, struct plan *p, int *launch_status, struct err *e)
{
	sigset_t set, old, now;

	hold_signals(&set, &old);
	for (uint32_t i = 0; !e->code && i < p->rank.ranks; i++) {
		start_one(c, a, p, i, launch_status, e);
		sigpending(&now);
		for (int s = 1; s < NSIG && !e->code; s++)
			if (sigismember(&set, s) == 1 && sigismember(&now, s) == 1)
				err_set(e, ERR_FAILED, "interrupted after %u of %u ranks were started", i + 1,
				        p->rank.ranks);
	}
	if (e->code)
		stop_started(c, p->started);
	sigprocmask(SIG_SETMASK, &old, NULL); /* a signal that waits ends us here */
}

/* Two groups of one name could not be told apart: which is to be stopped, whose versions are meant? */
static void refuse_living(struct cli *c, const char *group, struct err *e)
{
	struct err own = { 0 };
	json_t *ranks = NULL;

	if (cli_ranks_of(c, group, &ranks, &own) == 0 && cli_ranks_live(ranks))
		err_set(e, ERR_FAILED,
		        "--group: ranks of '%s' are there already; choose another name, or end them with "
		        "cpagent stop %s",
		        group, group);
	json_decref(ranks);
}

int cli_ranks_run(struct cli *c, const struct cli_args *a)
{
	scoped_free struct plan *p = calloc(1, sizeof *p);
	struct err e = { 0 };
	int status = 0, launch_status = 0;

	if (!p || !(p->started = json_array()))
		err_set(&e, ERR_FAILED, "out of memory");
	else
		take_plan(p, a, &e);
	if (!e.code)
		refuse_living(c, p->rank.group, &e);
	if (!e.code)
		start_all(c, a, p, &launch_status, &e);
	if (e.code) {
		status = cli_fail(&e);
		if (launch_status >= 125 && launch_status <= 127)
			status = launch_status;
	} else if (cli_opt(a, "detach")) {
		status = print_started(c, p->started);
	} else {
		status = cli_ranks_follow(c, p->started);
	}
	if (p) {
		json_decref(p->started);
		free(p->nodes_text);
	}
	return status;
}
