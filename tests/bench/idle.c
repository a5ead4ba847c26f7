/* A loop that computes, and says how much time of a processor it took. Built twice: with the library linked and a
 * handle open (-DLINKED), and without; the bench compares them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef LINKED
#include "hooks/cpagent.h"
#endif

#define WORDS (UINT64_C(1) << 16)

static uint64_t words[WORDS];

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, i, r;
	struct timespec t[2];

#ifdef LINKED
	cpa *cp;

	if (cpa_open(&cp, argc > 2 ? argv[2] : NULL) != 0)
		return 1;
#endif
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t[0]);
	for (r = 0; r < rounds; r++)
		for (i = 0; i < WORDS; i++)
			words[i] += (words[(i * 7919 + r) % WORDS] ^ i) * UINT64_C(0x9E3779B97F4A7C15);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t[1]);
	printf("%.6f %llx\n", (double)(t[1].tv_sec - t[0].tv_sec) + (double)(t[1].tv_nsec - t[0].tv_nsec) / 1e9,
	       (unsigned long long)words[1]);
#ifdef LINKED
	cpa_close(cp);
#endif
	return 0;
}
