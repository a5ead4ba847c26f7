/* Memos on and off, by call, by name and from outside; and the options of a handle. Read without a lock: a switch is
 * added or turned by one store, and stays until the handle is closed. */
#include <stdlib.h>
#include <string.h>

#include "hooks/memo_impl.h"

/* state: how often all names had been switched when this one was, << 1 | on. It holds until they are again. */
struct memo_switch {
	struct memo_switch *next;
	uint32_t state;
	char name[];
};

static struct memo_switch *find(struct memos *ms, const char *name)
{
	struct memo_switch *s = __atomic_load_n(&ms->switches, __ATOMIC_ACQUIRE);

	while (s && strcmp(s->name, name) != 0)
		s = s->next;
	return s;
}

int memos_on(struct memos *ms, const char *name)
{
	uint32_t all = __atomic_load_n(&ms->all, __ATOMIC_RELAXED), own;
	struct memo_switch *s = find(ms, name);

	if (!s)
		return all & 1;
	own = __atomic_load_n(&s->state, __ATOMIC_RELAXED);
	return (own >> 1 == all >> 1 ? own : all) & 1;
}

static int turn(struct memos *ms, const char *name, size_t length, int on)
{
	uint32_t state = (__atomic_load_n(&ms->all, __ATOMIC_RELAXED) & ~1u) | (on != 0);
	struct memo_switch *s = malloc(sizeof *s + length + 1), *had;

	if (!s)
		return fail(CPA_ERR_MEMORY, "cpa_memo_enable: out of memory");
	memcpy(s->name, name, length);
	s->name[length] = '\0';
	s->state = state;
	had = find(ms, s->name);
	if (had) {
		__atomic_store_n(&had->state, state, __ATOMIC_RELAXED);
		free(s);
		return 0;
	}
	s->next = __atomic_load_n(&ms->switches, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&ms->switches, &s->next, s, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return 0;
}

static void turn_all(struct memos *ms, int on)
{
	uint32_t all = __atomic_load_n(&ms->all, __ATOMIC_RELAXED);

	while (!__atomic_compare_exchange_n(&ms->all, &all, ((all | 1) + 1) | (on != 0), 0, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED))
		;
}

/* $CPAGENT_MEMO_OFF: names separated by commas, blanks around them allowed; "*" is every name. */
static int turn_listed(struct memos *ms, const char *list)
{
	size_t length;
	int rc = 0;

	for (; list && *list && !rc; list += length + (list[length] == ',')) {
		const char *name = list + strspn(list, " \t,");
		const char *end = name + strcspn(name, ",");

		length = (size_t)(end - list);
		while (end > name && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		if (end - name == 1 && *name == '*')
			turn_all(ms, 0);
		else if (end > name)
			rc = turn(ms, name, (size_t)(end - name), 0);
	}
	return rc;
}

static void let_go(struct memos *ms)
{
	struct memo_switch *s, *next;

	for (s = ms ? ms->switches : NULL; s; s = next) {
		next = s->next;
		free(s);
	}
	free(ms);
}

struct memos *memos_of(cpa *cp)
{
	struct memos *ms = __atomic_load_n(&cp->memos, __ATOMIC_ACQUIRE), *first = NULL;

	if (ms)
		return ms;
	ms = calloc(1, sizeof *ms);
	if (!ms)
		return NULL;
	ms->all = 1;
	if (turn_listed(ms, getenv("CPAGENT_MEMO_OFF")) != 0) {
		let_go(ms);
		return NULL;
	}
	if (__atomic_compare_exchange_n(&cp->memos, &first, ms, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return ms;
	let_go(ms);
	return first;
}

void memos_free(cpa *cp)
{
	let_go(cp->memos);
	cp->memos = NULL;
}

int cpa_memo_enable(cpa *cp, const char *name, int on)
{
	struct memos *ms;

	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_memo_enable: no handle; has cpa_open() failed, or is it closed?");
	ms = memos_of(cp);
	if (!ms)
		return fail(CPA_ERR_MEMORY, "cpa_memo_enable: out of memory");
	if (name)
		return turn(ms, name, strlen(name), on);
	turn_all(ms, on);
	return 0;
}

int cpa_memo_set(cpa *cp, enum cpa_memo_option option, uint64_t value)
{
	struct memos *ms;

	if (!cp)
		return fail(CPA_ERR_ARG, "cpa_memo_set: no handle; has cpa_open() failed, or is it closed?");
	ms = memos_of(cp);
	if (!ms)
		return fail(CPA_ERR_MEMORY, "cpa_memo_set: out of memory");
	switch (option) {
	case CPA_MEMO_COMPARE:
		if (value > 1)
			return fail(CPA_ERR_ARG, "cpa_memo_set: CPA_MEMO_COMPARE is 0 or 1");
		__atomic_store_n(&ms->compare, (uint32_t)value, __ATOMIC_RELAXED);
		return 0;
	case CPA_MEMO_LIMIT:
		__atomic_store_n(&ms->limit, value, __ATOMIC_RELAXED);
		return value && !cp->arena->read_only ? fail_arena(memo_fit(cp, value), "memos", "(all)") : 0;
	}
	return fail(CPA_ERR_ARG, "cpa_memo_set: there is no option %d", (int)option);
}
