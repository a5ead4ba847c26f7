/* A job whose keysets a test makes, one after another, as an agent does: nobody runs one. What a parent fetches by
 * them is compared with what was put into the arena. */
#ifndef TESTS_UNIT_KEYSET_JOB_H
#define TESTS_UNIT_KEYSET_JOB_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keyset_impl.h"
#include "lib/arena/internal.h"
#include "lib/arena/pieces.h"
#include "tests/unit/harness.h"
#include "tests/unit/scratch.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

static struct agent agent;
static Cpa__Spec spec = CPA__SPEC__INIT;
static struct job job;
static struct arena *arena;
static uint32_t seed = 7;

static uint32_t rnd(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

static void begin_in(const char *dir, uint64_t budget)
{
	char path[FS_PATH_MAX];
	memset(&job, 0, sizeof job);
	spec.job = spec.name = "j";
	job.agent = &agent;
	job.spec = &spec;
	job.id = spec.job;
	fs_path(job.dir, "%s", dir);
	fs_path(job.job_dir, "%s/job", dir);
	CU_ASSERT_EQUAL_FATAL(fs_mkdirs(job.job_dir, 0700, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(arena_create(job_arena(&job, path), budget, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(arena_map(&arena, path), 0);
}

static void begin(uint64_t budget)
{
	char dir[FS_PATH_MAX];
	begin_in(scratch_path(dir), budget);
}

static void end(void)
{
	keyset_forget(&job);
	arena_unmap(arena);
	fs_remove_tree(job.dir, NULL);
}

static void put(const char *key, const void *data, uint64_t bytes)
{
	struct arena_var v = { "x", (void *)(uintptr_t)data, bytes, ARENA_BYTES };
	CU_ASSERT_EQUAL_FATAL(arena_put(arena, key, &v, 1, NULL), 0);
}

/* As an agent does it: what was made becomes the job's. How many bytes of values that took; -1: an error. */
static int64_t make(void)
{
	struct keyset_made made = { 0 };
	struct err e = { 0 };
	int rc = keyset_make(&job, &made, &e);
	int64_t read = (int64_t)made.read;
	if (rc == 1)
		keyset_take(&job, &made);
	keyset_made_free(&made);
	return rc < 0 ? -1 : rc == 0 ? 0 : read;
}

static inline void held(void)
{
	keyset_drop_copies(&job);
}

/* Another agent takes over. */
static inline void killed(void)
{
	uint64_t last = job.last_keyset;
	keyset_forget(&job);
	job.keyset_slot = 0;
	job.last_keyset = last;
}

static inline const Cpa__Key *find(const char *key)
{
	for (size_t i = 0; i < job.keyset->n_keys; i++)
		if (strcmp(job.keyset->keys[i]->key, key) == 0)
			return job.keyset->keys[i];
	return NULL;
}

/* A chunk as a parent gets it. */
static int fetch(const uint8_t *id, uint8_t *buf)
{
	char copies[FS_PATH_MAX], path[FS_PATH_MAX];
	struct keyset_wanted w = { .id = id };
	const Cpa__Key *k = keyset_find_chunk(&job, id, &w.offset);
	w.copies = keyset_copies_dir(&job, copies);
	w.arena = job_arena(&job, path);
	w.key = k ? k->key : NULL;
	w.version = k ? k->version : 0;
	if (chunk_id_is_zero(id)) {
		memset(buf, 0, CHUNK_BYTES);
		return 0;
	}
	return keyset_read_chunk(&w, buf, NULL);
}

static const uint8_t *id_at(uint64_t chunk)
{
	return job.keyset->values->chunks.data + chunk * CHUNK_ID_BYTES;
}

/* Is the keyset's key, fetched chunk by chunk, these bytes? */
static bool holds(const char *key, const void *data, uint64_t bytes)
{
	const Cpa__Key *k = find(key);
	uint8_t *buf = malloc(CHUNK_BYTES);
	bool is = k && k->bytes == bytes;
	for (uint64_t at = 0, take; is && at < bytes; at += take) {
		uint64_t in = (k->offset + at) % CHUNK_BYTES;
		take = CHUNK_BYTES - in < bytes - at ? CHUNK_BYTES - in : bytes - at;
		is = fetch(id_at((k->offset + at) / CHUNK_BYTES), buf) == 0 &&
		     memcmp(buf + in, (const uint8_t *)data + at, take) == 0;
	}
	free(buf);
	return is;
}

static inline uint64_t files_in_copies(void)
{
	char dir[FS_PATH_MAX];
	DIR *d = opendir(keyset_copies_dir(&job, dir));
	uint64_t n = 0;
	for (struct dirent *de; d && (de = readdir(d));)
		n += de->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static uint8_t *noise(uint64_t bytes)
{
	uint8_t *data = malloc(bytes + 1);
	for (uint64_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(rnd() >> 16); /* the upper bits do not repeat soon */
	return data;
}

#endif
