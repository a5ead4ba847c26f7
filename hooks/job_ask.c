/* What a program asks of its agent through the mailbox of the arena: a snapshot of itself, its own intervals, and to
 * register with a higher agent. (cpa_restore() at a level asks too: restore.c.) */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "hooks/internal.h"
#include "lib/arena/mailbox.h"

#define LONGEST_S 1e9

int64_t timeout_ns(double s)
{
	return s >= 0 && s < LONGEST_S ? (int64_t)(s * 1e9) : -1;
}

/* What arena_ask() returned below 0, or what the agent answered. */
static int ask_failed(const char *call, int rc, const struct arena_ask *answer, double timeout_s)
{
	const char *why = answer->why[0] ? answer->why : "the agent gives no reason; see its log";

	if (rc == -ENOTCONN)
		return fail(CPA_ERR_LEVEL, "%s: no agent serves this arena; start the program with cpagent run", call);
	if (rc == -EACCES)
		return fail(CPA_ERR_DENIED, "%s: the arena may only be read; open it as the user that it belongs to", call);
	if (rc == -ETIMEDOUT)
		return fail(CPA_ERR_TIMEOUT, "%s: the agent did not answer within %g s", call, timeout_s);
	if (rc < 0)
		return fail_arena(rc, call, "ask the agent");
	if (answer->result == AGENT_DENIED)
		return fail(CPA_ERR_DENIED, "%s: %s", call, why);
	if (answer->result == AGENT_TIMEOUT)
		return fail(CPA_ERR_TIMEOUT, "%s: %s", call, why);
	return fail(CPA_ERR_SYSTEM, "%s: %s", call, why);
}

int cpa_snapshot(cpa *cp, uint64_t *generation, double timeout_s)
{
	struct arena_ask answer = {0};
	int64_t began;
	int rc;

	if (!cp || isnan(timeout_s))
		return fail(CPA_ERR_ARG, "cpa_snapshot: no handle, or a timeout that is not a number");
	notice(cp);
	began = life_clock(cp);
	if (cp->regions)
		regions_let_go(cp);
	rc = arena_ask(cp->arena, ARENA_ASK_SNAPSHOT, 0, 0, NULL, timeout_ns(timeout_s), &answer);
	if (rc == 1) {
		notice(cp); /* calls what cpa_on_restart() registered */
		return CPA_RESTORED;
	}
	if (rc < 0 || answer.result != 0)
		return ask_failed("cpa_snapshot", rc, &answer, timeout_s);
	if (generation)
		*generation = answer.number;
	life_cost(cp, life_clock(cp) - began);
	return CPA_TAKEN;
}

int cpa_register(cpa *cp, const char *url, double timeout_s)
{
	struct arena_ask answer = {0};
	int rc;

	if (!cp || !url || !*url || isnan(timeout_s))
		return fail(CPA_ERR_ARG, "cpa_register: no handle, no URL, or a timeout that is not a number");
	if (strlen(url) >= sizeof answer.text)
		return fail(CPA_ERR_ARG, "cpa_register: the URL is longer than %zu bytes", sizeof answer.text - 1);
	notice(cp);
	do
		rc = arena_ask(cp->arena, ARENA_ASK_REGISTER, 0, 0, url, timeout_ns(timeout_s), &answer);
	while (rc == 1); /* restored meanwhile: another agent has to be asked */
	return rc < 0 || answer.result != 0 ? ask_failed("cpa_register", rc, &answer, timeout_s) : 0;
}

/* ---- intervals ---- */

/* 0 stays 0, and nothing else becomes 0. */
static uint64_t to_ms(double s)
{
	return s > 0 && s < 0.001 ? 1 : (uint64_t)(s * 1000 + 0.5);
}

static int set(cpa *cp, uint64_t update_ms, uint64_t save_ms, uint32_t periodic)
{
	return fail_arena(arena_set_intervals(cp->arena, update_ms, save_ms, (enum arena_periodic)periodic), "arena",
			  cp->arena->path);
}

int cpa_set_interval(cpa *cp, double update_s, double save_s)
{
	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_set_interval: no handle; has cpa_open() failed, or is it closed?");
	if (!(update_s >= 0 && update_s <= LONGEST_S && save_s >= 0 && save_s <= LONGEST_S))
		return fail(CPA_ERR_ARG, "cpa_set_interval: %g s, %g s: intervals go from 0 to %g s", update_s, save_s,
			    LONGEST_S);
	notice(cp);
	return set(cp, to_ms(update_s), to_ms(save_s), __atomic_load_n(&cp->arena->head->periodic, __ATOMIC_RELAXED));
}

int cpa_get_interval(cpa *cp, double *update_s, double *save_s)
{
	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_get_interval: no handle; has cpa_open() failed, or is it closed?");
	notice(cp);
	if (update_s)
		*update_s = (double)__atomic_load_n(&cp->arena->head->update_ms, __ATOMIC_RELAXED) / 1000;
	if (save_s)
		*save_s = (double)__atomic_load_n(&cp->arena->head->save_ms, __ATOMIC_RELAXED) / 1000;
	return 0;
}

static int periodic(const char *call, cpa *cp, enum arena_periodic how)
{
	if (!cp)
		return fail(CPA_ERR_ARG, "%s: no handle; has cpa_open() failed, or is it closed?", call);
	notice(cp);
	return set(cp, __atomic_load_n(&cp->arena->head->update_ms, __ATOMIC_RELAXED),
		   __atomic_load_n(&cp->arena->head->save_ms, __ATOMIC_RELAXED), how);
}

int cpa_start(cpa *cp)
{
	return periodic("cpa_start", cp, ARENA_PERIODIC);
}

int cpa_stop(cpa *cp)
{
	return periodic("cpa_stop", cp, ARENA_ON_DEMAND);
}
