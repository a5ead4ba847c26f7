/* Regions that change nearly everywhere between two checkpoints are not tracked for a while: the first write to a page
 * that is watched costs more than the page's copy, so what tracking saves must be worth more than a third of them. From
 * time to time such a region is looked at again, the more rarely the longer it goes on. */
#include "hooks/regions.h"

#define REST_FROM (UINT64_C(4) << 20) /* bytes: of smaller regions nothing of it is felt */
#define BUSY_MAX 3                    /* times in a row that most of it had changed */
#define REST_FIRST 8                  /* whole copies until it is looked at again … */
#define REST_MOST 64                  /* … at most */

static const char resting[] = "most of it changes from one checkpoint to the next, so it is copied whole for a while";

int rest_over(struct region *g)
{
	if (g->rest.left == 0)
		return 1;
	g->rest.left--;
	return 0;
}

void rest_tracked(struct region *g)
{
	g->rest.looked = 0;
	g->rest.written = 0;
}

static void begin(struct regions *r, struct region *g)
{
	uint16_t twice = (uint16_t)(2 * g->rest.last);

	g->rest.last = twice == 0 ? REST_FIRST : twice > REST_MOST ? REST_MOST : twice;
	g->rest.left = g->rest.last;
	untrack_region(r, g);
	g->why = resting;
	if (!regions_any_tracked(r)) /* nor is a userfaultfd open, for which a snapshot would have to wait */
		regions_forget(r);
}

void rest_look(struct regions *r, struct region *g)
{
	uint64_t pages = (g->to - g->from) / PAGE, written = g->rest.written;

	g->rest.written = 0;
	if (!g->tracked || g->moved || pages < REST_FROM / PAGE)
		return;
	if (!g->rest.looked) { /* before it was tracked all of it counted as written */
		g->rest.looked = 1;
		return;
	}
	if (written < pages / 3) {
		g->rest.busy = 0;
		g->rest.last = 0;
	} else if (++g->rest.busy >= BUSY_MAX || g->rest.last) {
		begin(r, g);
	}
}
