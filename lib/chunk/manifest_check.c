/* Owns the rules for what a manifest may contain. A seal only says who wrote it; these rules keep a mistake there
 * from becoming a file outside the image directory or an allocation without bound here. */
#include "lib/chunk/manifest_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX ((uint64_t)1 << 44)
#define TOTAL_BYTES_MAX ((uint64_t)1 << 46)
#define VARS_MAX 4096
#define TEXT_MAX 65536
#define HISTORY_MAX 4096
#define LEVELS_MAX 64

bool manifest_job_ok(const char *job)
{
	size_t n = job ? strlen(job) : 0;

	if (n == 0 || n > 63 || job[0] == '-')
		return false;
	return strspn(job, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") == n;
}

static bool printable(const char *s, size_t max)
{
	size_t n = 0;

	for (; s[n]; n++)
		if (n >= max || (unsigned char)s[n] < 0x20 || s[n] == 0x7f)
			return false;
	return true;
}

/* Free text, such as CRIU's own reason: anything of bounded length. */
static bool text_ok(const char *s)
{
	return strnlen(s, TEXT_MAX + 1) <= TEXT_MAX;
}

/* NAME or DIR/NAME, no part empty or starting with a dot (which covers "." and ".."). */
static bool file_name_ok(const char *name)
{
	const char *slash = strchr(name, '/');

	if (!name[0] || !printable(name, MANIFEST_NAME_MAX) || name[0] == '.')
		return false;
	return !slash || (slash != name && slash[1] && slash[1] != '.' && !strchr(slash + 1, '/'));
}

static int check_chunks(const Cpa__File *f, const char *name, uint64_t *total, struct err *e)
{
	if (f->size > FILE_BYTES_MAX)
		return err_set(e, ERR_FAILED, "%s claims to have %" PRIu64 " bytes", name, f->size);
	if (f->chunks.len != chunk_count(f->size) * CHUNK_ID_BYTES)
		return err_set(e, ERR_FAILED,
		               "%s of %" PRIu64 " bytes has %zu bytes of chunk ids instead of %" PRIu64, name,
		               f->size, f->chunks.len, chunk_count(f->size) * CHUNK_ID_BYTES);
	*total += f->size;
	if (*total > TOTAL_BYTES_MAX)
		return err_set(e, ERR_FAILED, "its files claim to have more than %" PRIu64 " bytes",
		               TOTAL_BYTES_MAX);
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts names; false when one occurs twice. */
static bool all_differ(const char **names, size_t n)
{
	qsort(names, n, sizeof *names, by_text);
	for (size_t i = 1; i < n; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			return false;
	return true;
}

static int check_file(const Cpa__File *f, uint64_t *total, struct err *e)
{
	if (!file_name_ok(f->name))
		return err_set(e, ERR_FAILED, "it names a file that cannot lie in an image directory");
	if (f->mode & ~(uint32_t)0777)
		return err_set(e, ERR_FAILED, "%s has the mode %o", f->name, f->mode);
	return check_chunks(f, f->name, total, e);
}

static int check_history(const Cpa__Generation *gen, struct err *e)
{
	if (gen->n_history > HISTORY_MAX)
		return err_set(e, ERR_FAILED, "its history has %zu entries, more than %d", gen->n_history,
		               HISTORY_MAX);
	for (size_t i = 0; i < gen->n_history; i++) {
		const Cpa__Past *p = gen->history[i];
		if (!text_ok(p->reason) || !text_ok(p->note) || !text_ok(p->node) || p->n_levels > LEVELS_MAX)
			return err_set(e, ERR_FAILED, "its history is not usable");
	}
	return 0;
}

static int check_files(const Cpa__Generation *gen, const char **names, struct err *e)
{
	uint64_t total = 0;

	for (size_t i = 0; i < gen->n_files; i++) {
		names[i] = gen->files[i]->name;
		if (check_file(gen->files[i], &total, e) < 0)
			return ERR_FAILED;
	}
	if (!all_differ(names, gen->n_files))
		return err_set(e, ERR_FAILED, "it names a file twice");
	if (total != gen->size)
		return err_set(e, ERR_FAILED, "its files have %" PRIu64 " bytes, and it says %" PRIu64, total,
		               gen->size);
	return 0;
}

int manifest_check_generation(const Cpa__Generation *gen, struct err *e)
{
	if (!manifest_job_ok(gen->job))
		return err_set(e, ERR_FAILED, "it has no usable job id");
	if (!text_ok(gen->reason) || !text_ok(gen->node) || !text_ok(gen->machine))
		return err_set(e, ERR_FAILED, "its reason, node or machine is too long");
	if (gen->n_files > MANIFEST_FILES_MAX)
		return err_set(e, ERR_FAILED, "it names %zu files, more than %d", gen->n_files,
		               MANIFEST_FILES_MAX);
	if (check_history(gen, e) < 0)
		return ERR_FAILED;
	const char **names = calloc(gen->n_files + 1, sizeof *names);
	if (!names)
		return err_set(e, ERR_FAILED, "out of memory checking a manifest");
	int rc = check_files(gen, names, e);
	free(names);
	return rc;
}

static int check_key(const Cpa__Key *k, uint64_t values, struct err *e)
{
	/* any text is a key, control characters and all: it names nothing outside its arena */
	if (!k->key[0] || strnlen(k->key, MANIFEST_NAME_MAX + 1) > MANIFEST_NAME_MAX)
		return err_set(e, ERR_FAILED, "it names a key that cannot be");
	if (k->offset > values || k->bytes > values - k->offset)
		return err_set(e, ERR_FAILED, "the key %s lies outside its %" PRIu64 " bytes of values", k->key,
		               values);
	if (k->n_vars > VARS_MAX)
		return err_set(e, ERR_FAILED, "the key %s has %zu variables, more than %d", k->key, k->n_vars,
		               VARS_MAX);
	for (size_t i = 0; i < k->n_vars; i++)
		if (strnlen(k->vars[i]->name, MANIFEST_NAME_MAX + 1) > MANIFEST_NAME_MAX)
			return err_set(e, ERR_FAILED, "the key %s has a variable without a usable name", k->key);
	return 0;
}

static int check_keys(const Cpa__Keyset *keys, const char **names, struct err *e)
{
	uint64_t total = 0;

	if (keys->values && check_chunks(keys->values, "its values", &total, e) < 0)
		return ERR_FAILED;
	for (size_t i = 0; i < keys->n_keys; i++) {
		names[i] = keys->keys[i]->key;
		if (check_key(keys->keys[i], total, e) < 0)
			return ERR_FAILED;
	}
	return all_differ(names, keys->n_keys) ? 0 : err_set(e, ERR_FAILED, "it names a key twice");
}

int manifest_check_keyset(const Cpa__Keyset *keys, struct err *e)
{
	if (!manifest_job_ok(keys->job))
		return err_set(e, ERR_FAILED, "it has no usable job id");
	if (keys->n_keys > MANIFEST_KEYS_MAX)
		return err_set(e, ERR_FAILED, "it names %zu keys, more than %d", keys->n_keys, MANIFEST_KEYS_MAX);
	const char **names = calloc(keys->n_keys + 1, sizeof *names);
	if (!names)
		return err_set(e, ERR_FAILED, "out of memory checking a manifest");
	int rc = check_keys(keys, names, e);
	free(names);
	return rc;
}
