/* Checksums of an archive's files: XXH3-128, in the words of xxh128sum. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/archive/archive_impl.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

struct archive_sum {
	XXH3_state_t state;
};

int archive_sum_begin(struct archive_sum **s)
{
	*s = aligned_alloc(64, sizeof **s);
	if (!*s)
		return -ENOMEM;
	XXH3_INITSTATE(&(*s)->state);
	XXH3_128bits_reset(&(*s)->state);
	return 0;
}

void archive_sum_add(struct archive_sum *s, const void *data, size_t bytes)
{
	if (bytes)
		XXH3_128bits_update(&s->state, data, bytes);
}

void archive_sum_end(struct archive_sum *s, uint64_t sum[2])
{
	XXH128_hash_t h = XXH3_128bits_digest(&s->state);

	sum[0] = h.low64;
	sum[1] = h.high64;
	XXH3_128bits_reset(&s->state);
}

void archive_sum_free(struct archive_sum *s)
{
	free(s);
}

static void put_line(FILE *f, const uint64_t sum[2], const char *name)
{
	fprintf(f, "%016" PRIx64 "%016" PRIx64 "  %s\n", sum[1], sum[0], name);
}

int archive_sums_text(const void *manifest, size_t bytes, const struct archive_info *info, char **text, size_t *length,
		      struct err *e)
{
	XXH128_hash_t h = XXH3_128bits(manifest, bytes);
	const uint64_t sum[2] = {h.low64, h.high64};
	char name[MEMBER_MAX];
	FILE *f = open_memstream(text, length);
	size_t k, v;

	if (!f)
		return archive_fail(e, -ENOMEM, "out of memory");
	put_line(f, sum, MANIFEST_NAME);
	for (k = 0; k < info->n; k++)
		for (v = 0; v < info->keys[k].n; v++) {
			const struct archive_var *var = &info->keys[k].vars[v];

			put_line(f, var->sum, archive_member(name, k, v, var->name));
		}
	if (fclose(f) == 0)
		return 0;
	free(*text);
	*text = NULL;
	return archive_fail(e, -ENOMEM, "out of memory");
}
