/* The hostile reader under libFuzzer. An input is a list of patches (offset, length, bytes) on a small valid arena with
 * plain values and with protected regions whose versions share blocks, so that the fuzzer gets past the header's
 * checksum, which is recomputed unless the input says otherwise. A patch may count from where a record or slot begins.
 * Built without libFuzzer (-DREPLAY) it reads the files named on its command line instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena/pieces.h"

#define HEAP (192u << 10)
#define BYTES (320u << 10)

static uint8_t base[BYTES], image[BYTES];
static size_t length;
static size_t places[32], n_places; /* of records and slots, in the file */

/* Three versions: their maps differ, and a pad stands before the second variable. */
static void put_regions(struct arena *a, uint64_t *words)
{
	struct arena_var v[] = {{"u", words, 4500, ARENA_U64}, {"p", words, 100, ARENA_F64}};
	const uint32_t pads[] = {0, 1000};
	uint64_t changed = 0x15, sum = 0, version = 0;

	for (int i = 0; i < 3; i++) {
		struct arena_regions g = {v, pads, 2, version, sum, &changed, ARENA_DIRTY};

		words[i] = 7;
		if (arena_put_regions(a, "k3", &g, &version, &sum) != 0)
			abort();
	}
}

static void find_places(struct arena *a)
{
	for (int k = 0; k < 4; k++) {
		char key[8] = {'k', (char)('0' + k), '\0'};
		struct arena_record *r;

		if (arena_newest(a, key, &r) == 0)
			abort();
		places[n_places++] = (size_t)((uint8_t *)r - a->base);
		for (uint32_t i = 0; i < r->slots; i++)
			places[n_places++] = (size_t)(a->heap - a->base) +
					     ((struct arena_extent *)(void *)(r + 1))[i].at;
	}
}

static void make_base(void)
{
	char path[] = "/tmp/fuzz_arena.XXXXXX/arena";
	char *slash = strrchr(path, '/');
	static uint64_t words[5000];
	struct arena_var v[] = {{"words", words, 5000, ARENA_U64}, {"n", words, 1, ARENA_I32}};
	struct arena *a;
	int i;

	*slash = '\0';
	if (!mkdtemp(path))
		abort();
	*slash = '/';
	if (arena_create(path, HEAP, 0600) != 0 || arena_map(&a, path) != 0)
		abort();
	for (i = 0; i < 6; i++) {
		char key[8] = {'k', (char)('0' + i % 3), '\0'};

		v[0].count = i % 3 == 2 ? 5000 : 4;
		if (i != 5 && arena_put(a, key, v, 2, NULL) != 0)
			abort();
	}
	put_regions(a, words);
	find_places(a);
	length = a->file_bytes;
	if (length > BYTES)
		abort();
	memcpy(base, a->base, length);
	arena_unmap(a);
	unlink(path);
	*slash = '\0';
	rmdir(path);
}

static void patch(const uint8_t *data, size_t size)
{
	memcpy(image, base, length);
	while (size > 4) {
		size_t at = ((size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % length;
		size_t n = data[3] % 64;

		if (data[3] & 128)
			at = (places[data[2] % n_places] + ((size_t)data[0] | (size_t)data[1] << 8) % 512) % length;

		data += 4;
		size -= 4;
		n = n < size ? n : size;
		n = n < length - at ? n : length - at;
		memcpy(image + at, data, n);
		data += n;
		size -= n;
	}
}

/* A version piece by piece, beginning anywhere; and compared with another one. */
static void read_pieces(struct arena_reader *r, const struct arena_key *k, int checked, size_t from,
			struct arena_pieces **before)
{
	static uint8_t out[5000];
	struct arena_pieces *p;
	uint64_t at, n;

	if (arena_pieces_open(r, k->key, k->version, checked, &p) != 0)
		return;
	for (at = from; at < arena_pieces_key(p)->bytes; at += n) {
		n = arena_pieces_key(p)->bytes - at < sizeof out ? arena_pieces_key(p)->bytes - at : sizeof out;
		(void)arena_pieces_read(r, p, at, n, out);
		if (*before)
			(void)arena_pieces_same(p, *before, at, n);
	}
	arena_pieces_close(*before);
	*before = p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena_reader r = {.fd = -1, .image = image, .max_bytes = 1 << 20};
	struct arena_header *h = (struct arena_header *)(void *)image;
	struct arena_keys list;
	struct arena_key key;
	struct arena_value v;
	struct arena_pieces *before = NULL;
	size_t i;

	if (!length)
		make_base();
	if (size < 2)
		return 0;
	patch(data + 1, size - 1);
	if (data[0] & 1)
		h->sum = arena_header_sum(h);
	r.image_bytes = data[0] & 2 ? length * data[1] / 256 : length;
	if (arena_read_open(&r) != 0)
		return 0;
	(void)arena_read_keys(&r, data[0] & 4, &list);
	for (i = 0; i < list.n && i < 8; i++) {
		(void)arena_read_value(&r, list.key[i].key, data[0] & 8 ? list.key[i].version : 0, &v, NULL);
		arena_value_free(&v);
		read_pieces(&r, &list.key[i], !(data[0] & 16), data[0] & 32 ? data[1] * 8u : 0, &before);
	}
	arena_pieces_close(before);
	arena_keys_free(&list);
	(void)arena_read_key(&r, "k3", &key);
	arena_key_free(&key);
	return 0;
}

#ifdef REPLAY
int main(int argc, char **argv)
{
	static uint8_t data[1 << 20];
	int i;

	for (i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		size_t n = f ? fread(data, 1, sizeof data, f) : 0;

		if (f)
			fclose(f);
		LLVMFuzzerTestOneInput(data, n);
		printf("%s: %zu bytes, no fault\n", argv[i], n);
	}
	return 0;
}
#endif
