/* Anonymous mappings with their length in front, and a heap sort: see scratch.h. */
#include "lib/arena/scratch.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define FRONT 64 /* keeps what is behind it aligned */

struct front {
	size_t bytes; /* of the mapping */
};

static struct front *front_of(void *p)
{
	return (struct front *)(void *)((uint8_t *)p - FRONT);
}

void *scratch_more(void *p, size_t bytes)
{
	size_t need = bytes + FRONT;
	void *at;

	if (p && front_of(p)->bytes >= need)
		return p;
	if (need < bytes || need > SIZE_MAX - 4095)
		return NULL;
	need = (need + 4095) & ~(size_t)4095;
	if (p)
		at = mremap(front_of(p), front_of(p)->bytes, need, MREMAP_MAYMOVE);
	else
		at = mmap(NULL, need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	((struct front *)at)->bytes = need;
	return (uint8_t *)at + FRONT;
}

void scratch_free(void *p)
{
	if (p)
		munmap(front_of(p), front_of(p)->bytes);
}

struct order {
	uint8_t *list;
	size_t size;
	int (*compare)(const void *, const void *, void *);
	void *with;
};

/* Let the one at `at` sink to where none below it is greater. */
static void sink(const struct order *o, size_t at, size_t n)
{
	uint8_t one[SCRATCH_SORT];
	size_t below;

	memcpy(one, o->list + at * o->size, o->size);
	for (; (below = 2 * at + 1) < n; at = below) {
		uint8_t *next = o->list + below * o->size;

		if (below + 1 < n && o->compare(next, next + o->size, o->with) < 0) {
			below++;
			next += o->size;
		}
		if (o->compare(one, next, o->with) >= 0)
			break;
		memcpy(o->list + at * o->size, next, o->size);
	}
	memcpy(o->list + at * o->size, one, o->size);
}

void scratch_sort(void *list, size_t n, size_t size, int (*compare)(const void *, const void *, void *), void *with)
{
	struct order o = {list, size, compare, with};
	uint8_t one[SCRATCH_SORT];
	size_t i;

	for (i = n / 2; i > 0; i--)
		sink(&o, i - 1, n);
	for (i = n; i > 1; i--) {
		memcpy(one, o.list, size);
		memcpy(o.list, o.list + (i - 1) * size, size);
		memcpy(o.list + (i - 1) * size, one, size);
		sink(&o, 0, i - 1);
	}
}
