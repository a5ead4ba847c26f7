/* memo: a computation that takes long is done once; every later run of the program, and every later call with the
 * same input, has its result at once.
 *
 *	cc -o memo memo.c -lcpagent -lm && ./memo 20 && ./memo 20 && ./memo 21 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cpagent.h>

enum { K = 8 };

/* The first K powers of something that is summed up for a while. */
static void spectrum(double *power, long rounds)
{
	long i;
	int k;

	for (k = 0; k < K; k++)
		for (power[k] = 0, i = 1; i <= rounds * 100000; i++)
			power[k] += sin((double)i * (k + 1)) / (double)i;
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 20;
	double power[K] = {0};
	cpa_memo *m;
	cpa *cp;
	int known;

	if (cpa_open(&cp, argc > 2 ? argv[2] : NULL) < 0)
		return 1;
	/* the 2 is the algorithm's version: what "spectrum 1" computed is not asked for any more */
	known = cpa_memo_begin(cp, &m, "spectrum 2", CPA_IN(CPA_VAR(rounds)), CPA_OUT(CPA_ARRAY(power, K)));
	if (known <= 0) {
		spectrum(power, rounds);
		cpa_memo_end(m);
	}
	printf("%s: %.17g\n", known == 1 ? "known" : "computed", power[0]);
	cpa_close(cp);
	return 0;
}
