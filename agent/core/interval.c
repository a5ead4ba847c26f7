/* Due times and intervals. Pure arithmetic; the agent asks at its timer. */
#include "agent/core/interval.h"

void interval_set(struct interval *i, int64_t period, bool on, int64_t now)
{
	*i = (struct interval){.period = period > 0 ? period : 0, .on = on, .base = now, .next = CORE_NEVER};
	if (on && period > 0 && period < CORE_NEVER - now)
		i->next = now + period;
}

bool interval_due(struct interval *i, int64_t now)
{
	if (!i->on || i->period <= 0 || now < i->next)
		return false;
	i->next = i->base + ((now - i->base) / i->period + 1) * i->period;
	return true;
}

/* Newton's method; core uses no library beyond the C standard's, and libm is not worth a link for this. */
static double root(double x)
{
	double r = x > 1 ? x : 1;
	for (int k = 0; k < 200; k++) {
		double next = (r + x / r) / 2;
		if (next >= r)
			break;
		r = next;
	}
	return r;
}

int64_t interval_auto(int64_t cost, int64_t mtbf)
{
	if (cost <= 0 || mtbf <= 0)
		return 0;
	double best = root(2.0 * (double)cost * (double)mtbf) - (double)cost;
	return best > (double)cost ? (int64_t)best : cost;
}

int level_for(int asked, int top)
{
	if (top < 1)
		top = 1;
	if (asked <= 0 || asked > top)
		return top;
	return asked;
}
