/* See fill.h. A version of zeros is committed as any other, then written over in place, and its checksums are made
 * anew. Reading the zeros costs no memory: untouched private pages are one page of the kernel's. */
#include "lib/arena/fill.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "lib/arena/internal.h"

#define SUM_FROM offsetof(struct arena_slot, time_ns) /* the checksum covers what follows version and sum */

/* The newest version's slot, and how it is laid out. NULL: there is none, or it makes no sense. */
static uint8_t *newest_slot(struct arena *a, const char *key, struct slot_plan *p, uint64_t *seed)
{
	struct arena_record *r;
	uint64_t version = arena_newest(a, key, &r);
	uint32_t i = version ? (uint32_t)(r->commit & 0xff) : 0;
	const struct arena_extent *e;

	if (!version || i >= r->slots)
		return NULL;
	e = &record_slots(r)[i];
	if (e->length > a->heap_bytes || e->at > a->heap_bytes - e->length ||
	    slot_check(a->heap + e->at, e->length, e->length, p) != 0)
		return NULL;
	*seed = r->hash ^ version;
	return a->heap + e->at;
}

static int load_zeros(struct arena *a, const char *key, const struct arena_var *vars, size_t n, uint64_t version,
		      uint32_t incarnation, int64_t time_ns)
{
	struct arena_var *v = malloc((n + 1) * sizeof *v);
	uint64_t most = 1, bytes;
	void *zeros;
	size_t i;
	int rc;

	if (!v)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		if (__builtin_mul_overflow(vars[i].count, (uint64_t)arena_type_size(vars[i].type), &bytes))
			bytes = UINT64_MAX;
		most = bytes > most ? bytes : most;
	}
	zeros = most > ARENA_HEAP_MAX ? MAP_FAILED
				      : mmap(NULL, most, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (zeros == MAP_FAILED) {
		free(v);
		return -ENOMEM;
	}
	for (i = 0; i < n; i++) {
		v[i] = vars[i];
		v[i].data = zeros;
	}
	rc = arena_load(a, key, v, n, version, incarnation, time_ns);
	munmap(zeros, most);
	free(v);
	return rc;
}

int arena_fill_open(struct arena *a, const char *key, const struct arena_var *vars, size_t n, uint64_t version,
		    uint32_t incarnation, int64_t time_ns, uint8_t **data, uint64_t *bytes)
{
	int rc = load_zeros(a, key, vars, n, version, incarnation, time_ns);
	struct slot_plan p;
	uint64_t seed;
	uint8_t *slot = rc ? NULL : newest_slot(a, key, &p, &seed);

	if (rc)
		return rc;
	if (!slot)
		return -EPROTO;
	*data = slot + p.data_at;
	*bytes = p.data_bytes;
	return 0;
}

int arena_fill_close(struct arena *a, const char *key)
{
	struct slot_plan p;
	uint64_t seed, at, size, end;
	uint8_t *slot = newest_slot(a, key, &p, &seed);
	uint64_t *sums;

	if (!slot)
		return -ENOENT;
	size = UINT64_C(1) << p.block_shift;
	sums = (uint64_t *)(void *)(slot + p.sums_at);
	for (at = 0; p.block_shift && at < p.data_bytes; at += size)
		sums[at >> p.block_shift] =
			arena_hash(slot + p.data_at + at, p.data_bytes - at < size ? p.data_bytes - at : size, 0);
	end = p.block_shift ? p.data_at : p.total;
	((struct arena_slot *)(void *)slot)->sum = arena_hash(slot + SUM_FROM, end - SUM_FROM, seed);
	return 0;
}
