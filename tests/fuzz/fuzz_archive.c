/* The reader of archives under libFuzzer. The first byte of an input says what the rest is: 0 a manifest, to be read for
 * itself; 1 patches (offset, length, bytes) on the manifest of a small archive, whose checksums then fit again; 2 patches
 * on its tar; 3 a whole compressed file. Built without libFuzzer (-DREPLAY) it reads the files named on its
 * command line instead. */
#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/archive/archive_impl.h"

#define TAR_MAX (64u << 10)

static uint8_t base[TAR_MAX], list[TAR_MAX], image[TAR_MAX], patched[TAR_MAX];
static size_t length, list_length;

static void add(struct archive *tar, const char *name, const void *data, size_t bytes)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_size(entry, (int64_t)bytes);
	if (archive_write_header(tar, entry) != ARCHIVE_OK)
		abort();
	archive_write_data(tar, data, bytes);
	archive_entry_free(entry);
}

/* A tar of a manifest, with checksums that fit what is made of it. */
static size_t make(const char *manifest, size_t bytes, const struct archive_info *info, uint8_t *to)
{
	struct archive *tar = archive_write_new();
	size_t used = 0, sums_bytes, v;
	char *sums, name[MEMBER_MAX];

	archive_write_set_format_pax_restricted(tar);
	if (archive_write_open_memory(tar, to, TAR_MAX, &used) != ARCHIVE_OK ||
	    archive_sums_text(manifest, bytes, info, &sums, &sums_bytes, NULL) != 0)
		abort();
	add(tar, MANIFEST_NAME, manifest, bytes);
	if (sums_bytes < TAR_MAX / 4) {
		add(tar, SUMS_NAME, sums, sums_bytes);
		for (v = 0; info->n && v < info->keys[0].n && v < 4; v++)
			add(tar, archive_member(name, 0, v, info->keys[0].vars[v].name), "12345678",
			    info->keys[0].vars[v].bytes < 8 ? info->keys[0].vars[v].bytes : 8);
	}
	archive_write_close(tar);
	archive_write_free(tar);
	free(sums);
	return used;
}

static void make_base(void)
{
	struct archive_var v[] = {{"a", 2, 8, {0}, ARENA_U32}, {"b", 3, 3, {0}, ARENA_CHAR}};
	struct archive_key k = {"key", 3, 11, 5, 0, ARENA_PLAIN, 2, v};
	const struct archive_info info = {7, "p", "h", "j", 0, 11, 1, &k};
	struct archive_sum *s;
	char *manifest;
	size_t bytes;

	if (archive_sum_begin(&s) != 0)
		abort();
	archive_sum_add(s, "12345678", 8);
	archive_sum_end(s, v[0].sum);
	archive_sum_add(s, "123", 3);
	archive_sum_end(s, v[1].sum);
	archive_sum_free(s);
	if (archive_json_write(&info, &manifest, &bytes, NULL) != 0)
		abort();
	length = make(manifest, bytes, &info, base);
	memcpy(list, manifest, bytes);
	list_length = bytes;
	free(manifest);
}

static void patch(const uint8_t *from, size_t bytes, const uint8_t *data, size_t size)
{
	memcpy(patched, from, bytes);
	while (size > 3) {
		size_t at = ((size_t)data[0] | (size_t)data[1] << 8) % bytes, n = data[2] % 64;

		data += 3;
		size -= 3;
		n = n < size ? n : size;
		n = n < bytes - at ? n : bytes - at;
		memcpy(patched + at, data, n);
		data += n;
		size -= n;
	}
}

static void open_and_read(const void *data, size_t bytes)
{
	struct archive_in *in;
	void *value;
	int rc;

	if (archive_in_open_memory(&in, data, bytes, 1 << 20, NULL) != 0)
		return;
	while ((rc = archive_in_next(in, &value, NULL)) > 0)
		free(value);
	archive_in_close(in);
}

static void manifest(const uint8_t *data, size_t size, int whole)
{
	struct archive_info info;

	if (size > TAR_MAX / 8 || archive_json_read((const char *)data, size, &info, NULL) != 0)
		return;
	if (whole)
		open_and_read(image, make((const char *)data, size, &info, image));
	archive_info_free(&info);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!length)
		make_base();
	if (size < 2)
		return 0;
	switch (data[0] % 4) {
	case 0:
		manifest(data + 1, size - 1, 0);
		break;
	case 1:
		patch(list, list_length, data + 1, size - 1);
		manifest(patched, list_length, 1);
		break;
	case 2:
		patch(base, length, data + 1, size - 1);
		open_and_read(patched, length);
		break;
	default:
		open_and_read(data + 1, size - 1);
	}
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
