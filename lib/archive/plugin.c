/* The one symbol of libcpagent-archive.so: see plugin.h. */
#include "lib/archive/plugin.h"

#include <stdio.h>

#include "lib/archive/archive_arena.h"

static enum archive_wish wish(void *arg, const char *key)
{
	const struct archive_job *job = arg;

	return (enum archive_wish)job->wish(key);
}

static int done(struct archive_job *job, int rc, const struct err *e)
{
	if (rc < 0)
		snprintf(job->why, sizeof job->why, "%s", e->text);
	return rc;
}

static int save(struct archive_job *job)
{
	struct err e = {0};

	return done(job, archive_save_arena(job->arena, job->file, job->program, job->host, job->job, wish, job, &e), &e);
}

static int load(struct archive_job *job)
{
	struct err e = {0};
	uint64_t needs = 0;
	int rc = archive_load_arena(job->arena, job->file, wish, job, &needs, &e);

	job->needs = needs;
	return done(job, rc, &e);
}

extern const struct archive_plugin cpagent_archive;
__attribute__((visibility("default"))) const struct archive_plugin cpagent_archive = {ARCHIVE_PLUGIN_ABI, save, load};
