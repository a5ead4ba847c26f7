/* The hostile reader under libFuzzer. An input is a list of patches (offset, length, bytes) on a small valid arena,
 * so that the fuzzer gets past the header's checksum; it is recomputed unless the input says otherwise.
 * Built without libFuzzer (-DREPLAY) it reads the files named on its command line instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena/reader.h"

#define BYTES (160u << 10)

static uint8_t base[BYTES], image[BYTES];
static size_t length;

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
	if (arena_create(path, ARENA_HEAP_MIN, 0600) != 0 || arena_map(&a, path) != 0)
		abort();
	for (i = 0; i < 6; i++) {
		char key[8] = {'k', (char)('0' + i % 3), '\0'};

		v[0].count = i % 3 == 2 ? 5000 : 4;
		if (i != 5 && arena_put(a, key, v, 2, NULL) != 0)
			abort();
	}
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

		data += 4;
		size -= 4;
		n = n < size ? n : size;
		n = n < length - at ? n : length - at;
		memcpy(image + at, data, n);
		data += n;
		size -= n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena_reader r = {.fd = -1, .image = image, .max_bytes = 1 << 20};
	struct arena_header *h = (struct arena_header *)(void *)image;
	struct arena_keys list;
	struct arena_value v;
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
	}
	arena_keys_free(&list);
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
