/* What changed since a key's last checkpoint from here, as bits for blocks. Owns the memory of which checkpoint
 * each key had last; the pages' own history is in region.seen. */
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "hooks/regions.h"

/* ---- which checkpoint a key had last ---- */

/* Found is moved to the front: when there are too many, the one not used for longest is forgotten. */
struct base *base_find(struct regions *r, const char *key)
{
	struct base **at, *b;

	for (at = &r->bases; *at; at = &(*at)->next) {
		b = *at;
		if (strcmp(b->key, key) == 0) {
			*at = b->next;
			b->next = r->bases;
			r->bases = b;
			return b;
		}
	}
	return NULL;
}

static void base_free(struct base *b)
{
	free(b->ids);
	free(b);
}

static void drop_oldest(struct regions *r)
{
	struct base **at = &r->bases;
	size_t n;

	for (n = 0; *at && n < BASES_MAX; n++)
		at = &(*at)->next;
	if (*at) {
		base_free(*at);
		*at = NULL;
	}
}

static struct base *base_add(struct regions *r, const char *key)
{
	size_t bytes = strlen(key) + 1;
	struct base *b = calloc(1, sizeof *b + bytes);

	if (!b)
		return NULL;
	memcpy(b->key, key, bytes);
	b->next = r->bases;
	r->bases = b;
	drop_oldest(r);
	return b;
}

void base_set(struct regions *r, const char *key, const struct base *is)
{
	struct base *b = base_find(r, key);

	if (!b)
		b = base_add(r, key);
	if (!b)
		return;
	b->version = 0;
	if (b->n != is->n || !b->ids) {
		free(b->ids);
		b->ids = malloc(is->n * sizeof *b->ids);
		if (!b->ids)
			return;
	}
	memcpy(b->ids, is->ids, is->n * sizeof *b->ids);
	b->n = is->n;
	b->version = is->version;
	b->sum = is->sum;
	b->scan = is->scan;
}

void bases_free(struct regions *r)
{
	struct base *b;

	while ((b = r->bases) != NULL) {
		r->bases = b->next;
		base_free(b);
	}
}

/* ---- blocks ---- */

static void set_range(uint64_t *bits, uint64_t first, uint64_t end)
{
	for (; first < end && first % 64; first++)
		bits[first / 64] |= UINT64_C(1) << first % 64;
	for (; first + 64 <= end; first += 64)
		bits[first / 64] = UINT64_MAX;
	for (; first < end; first++)
		bits[first / 64] |= UINT64_C(1) << first % 64;
}

/* Which of 64 pages were found changed by a scan after `since`. */
static uint64_t changed_64(const uint32_t *seen, uint32_t since)
{
	uint64_t word = 0;
	unsigned i;
#if defined(__x86_64__)
	const __m128i limit = _mm_set1_epi32((int)since);

	for (i = 0; i < 64; i += 16) {
		const __m128i *at = (const __m128i *)(const void *)(seen + i);
		__m128i a = _mm_cmpgt_epi32(_mm_loadu_si128(at), limit);
		__m128i b = _mm_cmpgt_epi32(_mm_loadu_si128(at + 1), limit);
		__m128i c = _mm_cmpgt_epi32(_mm_loadu_si128(at + 2), limit);
		__m128i d = _mm_cmpgt_epi32(_mm_loadu_si128(at + 3), limit);
		__m128i all = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));

		word |= (uint64_t)(uint32_t)_mm_movemask_epi8(all) << i;
	}
#else
	for (i = 0; i < 64; i++)
		word |= (uint64_t)(seen[i] > since) << i;
#endif
	return word;
}

static void set_pages(uint64_t *bits, const uint32_t *seen, size_t n, uint64_t block, uint32_t since)
{
	uint64_t word;
	size_t i;

	for (i = 0; i + 64 <= n; i += 64, block += 64) {
		word = changed_64(seen + i, since);
		if (!word)
			continue;
		bits[block / 64] |= word << block % 64;
		if (block % 64)
			bits[block / 64 + 1] |= word >> (64 - block % 64);
	}
	for (; i < n; i++, block++)
		if (seen[i] > since)
			bits[block / 64] |= UINT64_C(1) << block % 64;
}

void bits_set(uint64_t *bits, const struct region *g, uint64_t at, uint32_t since)
{
	uint64_t data = (uintptr_t)g->data, end = at + g->bytes;
	uint64_t first = at / PAGE, last = (end + PAGE - 1) / PAGE, from, to;

	if (g->bytes == 0)
		return;
	if (!g->tracked || (at ^ data) % PAGE) {
		set_range(bits, first, last);
		return;
	}
	/* a page of the region is a block of the data */
	from = (at - data % PAGE + (g->from - page_of((uintptr_t)g->data))) / PAGE;
	to = from + (g->to - g->from) / PAGE;
	set_range(bits, first, from);
	set_range(bits, to, last);
	if (g->seen_last > since)
		set_pages(bits, g->seen, (g->to - g->from) / PAGE, from, since);
}
