/* The version that every rank of a group has: asked of the agent, which knows the others; and where there is no group,
 * what this arena has. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/internal.h"
#include "lib/arena/common.h"
#include "lib/arena/mailbox.h"
#include "lib/arena/reader.h"

#define MINUTE_S 60.0
#define AGENT_NS INT64_C(15000000000) /* for the agent to say that its time is over */
#define GROUP_MAX 64 /* bytes of a group's name */

/* ---- a group of one ---- */

struct own {
	struct arena_has *has; /* owned */
	size_t n;
	uint32_t keys;
};

static int add_key(struct own *o, struct arena_reader *r, const char *key)
{
	struct arena_whole w;
	struct arena_has *more;
	size_t i;
	int rc = arena_read_whole(r, key, &w);

	if (rc)
		return rc;
	if (!w.newest) /* kept room for, and nothing in it yet */
		return 0;
	more = realloc(o->has, (o->n + ARENA_SLOTS_MAX) * sizeof *more);
	if (!more)
		return -ENOMEM;
	o->has = more;
	for (i = 0; i < w.n; i++)
		o->has[o->n++] = (struct arena_has){w.version[i], 0, o->keys};
	o->keys++;
	return 0;
}

static int add_all(struct own *o, struct arena_reader *r)
{
	struct arena_keys keys = {0};
	int rc = arena_read_keys(r, 0, &keys);
	size_t i;

	for (i = 0; i < keys.n && !rc; i++) {
		if (is_memo(keys.key[i].key))
			continue;
		rc = add_key(o, r, keys.key[i].key);
		if (rc == -ENOENT) /* reset meanwhile */
			rc = 0;
	}
	arena_keys_free(&keys);
	return rc;
}

static int64_t own_version(cpa *cp, const char *key)
{
	struct arena_reader r = {.fd = -1, .image = cp->arena->base, .image_bytes = cp->arena->file_bytes};
	struct own o = {0};
	uint64_t version = 0;
	int rc = arena_read_open(&r);

	if (!rc)
		rc = key ? add_key(&o, &r, key) : add_all(&o, &r);
	if (!rc)
		version = arena_common(o.has, o.n, 1, o.keys);
	free(o.has);
	if (rc && rc != -ENOENT)
		return fail_arena(rc, key ? "key" : "arena", key ? key : cp->arena->path);
	if (!version && key)
		return fail(CPA_ERR_KEY, "cpa_version: no version of key %s is there", key);
	if (!version)
		return fail(CPA_ERR_KEY, o.keys ? "cpa_version: the keys have no version in common; name one"
						: "cpa_version: there is no checkpoint");
	return (int64_t)version;
}

/* ---- with an agent ---- */

static int is_served(const cpa *cp)
{
	return (__atomic_load_n(&cp->arena->head->agent_flags, __ATOMIC_RELAXED) & ARENA_SERVED) != 0;
}

static int refused(const struct arena_ask *answer)
{
	const char *why = answer->why[0] ? answer->why : "the agent gives no reason; see its log";
	int code = CPA_ERR_SYSTEM;

	if (answer->result == AGENT_USAGE)
		code = CPA_ERR_ARG;
	else if (answer->result == AGENT_NOTHING)
		code = CPA_ERR_KEY;
	else if (answer->result == AGENT_TIMEOUT)
		code = CPA_ERR_TIMEOUT;
	return fail(code, "cpa_version: %s", why);
}

/* The agent's own patience is what was asked for: it knows which rank has not come. Ours is longer. */
static int64_t agents_version(cpa *cp, const char *group, const char *key, double timeout_s)
{
	struct arena_ask answer = {0};
	char text[sizeof answer.text];
	int64_t ns = timeout_ns(timeout_s);
	uint64_t ms = ns < 0 ? UINT64_MAX : (uint64_t)ns / 1000000;
	int rc;

	snprintf(text, sizeof text, "%s\n%s", group ? group : "", key ? key : "");
	do
		rc = arena_ask(cp->arena, ARENA_ASK_VERSION, 0, ms ? ms : 1, text, ns < 0 ? -1 : ns + AGENT_NS, &answer);
	while (rc == 1); /* restored meanwhile: another agent has to be asked */
	if (rc == -ENOTCONN)
		return fail(CPA_ERR_LEVEL, "cpa_version: no agent serves this arena; start the program with cpagent run");
	if (rc == -ETIMEDOUT)
		return fail(CPA_ERR_TIMEOUT, "cpa_version: the agent did not answer within %g s", timeout_s);
	if (rc < 0)
		return fail_arena(rc, "cpa_version", "ask the agent");
	return answer.result ? refused(&answer) : (int64_t)answer.number;
}

int64_t cpa_version_within(cpa *cp, const char *group, const char *key, double timeout_s)
{
	int rc = key ? bad_call("cpa_version", cp, key, 1) : 0;

	if (!rc && (!cp || isnan(timeout_s)))
		rc = fail(CPA_ERR_ARG, "cpa_version: no handle, or a timeout that is not a number");
	if (!rc && group && (!*group || strnlen(group, GROUP_MAX + 1) > GROUP_MAX))
		rc = fail(CPA_ERR_ARG, "cpa_version: a group's name has 1 to %d bytes", GROUP_MAX);
	if (rc)
		return rc;
	notice(cp);
	arena_say_restores(cp->arena);
	if (is_served(cp))
		return agents_version(cp, group, key, timeout_s);
	if (group)
		return fail(CPA_ERR_LEVEL, "cpa_version: group %s: no agent is there to ask; start the program with "
					   "cpagent run --group", group);
	return own_version(cp, key);
}

int64_t cpa_version_of(cpa *cp, const char *group, const char *key)
{
	return cpa_version_within(cp, group, key, MINUTE_S);
}
