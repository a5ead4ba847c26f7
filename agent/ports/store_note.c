/* Owns the notes beside a job's manifests, and the list of jobs. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ports/store_priv.h"
#include "lib/base/scoped.h"

/* A note's name is a plain word that no manifest can have. */
static bool note_name_ok(const char *name)
{
	return manifest_job_ok(name) && !strchr("gk", name[0]) && strlen(name) < STORE_JOB_MAX;
}

static const char *note_path(const struct store *s, const char *job, const char *name, char *buf)
{
	return fs_path(buf, "%s/jobs/%s/%s", s->dir, job, name);
}

int store_put_note(struct store *s, const char *job, const char *name, const void *data, size_t len, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_free uint8_t *sealed = NULL;
	size_t sealed_len;

	if (!manifest_job_ok(job) || !note_name_ok(name) || len > STORE_NOTE_MAX)
		return err_set(e, ERR_USAGE, "a note of %zu bytes cannot be kept under this name", len);
	if (manifest_seal_note(data, len, s->key, &sealed, &sealed_len, e) < 0)
		return ERR_FAILED;
	pthread_mutex_lock(&s->lock);
	int rc = store_make_job(s, job, e);
	if (rc == 0)
		rc = fs_write_aside(note_path(s, job, name, path), sealed, sealed_len, 0600, s->durable, e);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int store_get_note(struct store *s, const char *job, const char *name, uint8_t **data, size_t *len, struct err *e)
{
	char path[FS_PATH_MAX];
	scoped_free char *sealed = NULL;
	size_t sealed_len;

	if (!manifest_job_ok(job) || !note_name_ok(name))
		return err_set(e, ERR_USAGE, "this is no note's name");
	int rc = fs_read(note_path(s, job, name, path), STORE_NOTE_MAX + 4096, &sealed, &sealed_len, e);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? err_set(e, rc, "there is no %s of job %s here", name, job) : rc;
	if (manifest_open_note((uint8_t *)sealed, sealed_len, s->key, data, len, e) < 0)
		return err_wrap(e, "the %s of job %s cannot be used", name, job);
	return 0;
}

/* Names in a directory that fit the bill, as an array of fixed words. */
static int names_in(const char *path, bool (*fits)(const char *), char (**names)[STORE_JOB_MAX], size_t *n,
                    struct err *e)
{
	size_t room = 0;
	scoped_dir DIR *d = opendir(path);

	*names = NULL;
	*n = 0;
	if (!d && errno != ENOENT)
		return err_sys(e, ERR_FAILED, "cannot list %s", path);
	for (const struct dirent *ent; d && (ent = readdir(d));) {
		if (!fits(ent->d_name))
			continue;
		if (*n == room) {
			void *more = realloc(*names, (room ? 2 * room : 64) * sizeof **names);
			if (!more) {
				free(*names);
				return err_set(e, ERR_FAILED, "out of memory listing %s", path);
			}
			*names = more;
			room = room ? 2 * room : 64;
		}
		memccpy((*names)[(*n)++], ent->d_name, '\0', STORE_JOB_MAX);
	}
	return 0;
}

int store_jobs(struct store *s, char (**jobs)[STORE_JOB_MAX], size_t *n, struct err *e)
{
	char path[FS_PATH_MAX];

	return names_in(fs_path(path, "%s/jobs", s->dir), manifest_job_ok, jobs, n, e);
}

int store_note_names(struct store *s, const char *job, char (**names)[STORE_JOB_MAX], size_t *n, struct err *e)
{
	char path[FS_PATH_MAX];

	return names_in(store_job_path(s, job, path), note_name_ok, names, n, e);
}
