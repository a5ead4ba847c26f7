/* cpa_save and cpa_load. The work is done by a library of its own, loaded when it is first needed: programs that never
 * call these depend on nothing but libc. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hooks/memo_impl.h"
#include "lib/archive/plugin.h"

#define TURNS 8 /* how often room is made, by forgetting memos, before the arena is full */

/* Try one place: a directory, or "" for the loader's own. why keeps what is wrong with a file that is there. */
static void *try_place(const char *dir, size_t length, char why[ARCHIVE_WHY_MAX])
{
	char path[PLACE_MAX];
	void *handle;
	const char *error;
	int n = snprintf(path, sizeof path, "%.*s%s" ARCHIVE_PLUGIN, (int)length, dir, length ? "/" : "");

	if (n < 0 || (size_t)n >= sizeof path)
		return NULL;
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (handle)
		return handle;
	error = dlerror();
	if (error && (!*why || access(path, F_OK) == 0))
		snprintf(why, ARCHIVE_WHY_MAX, "%s", error);
	return NULL;
}

/* $CPAGENT_LIBDIR, beside this library (or the program that it is part of), then where the loader looks. */
static void *open_plugin(char why[ARCHIVE_WHY_MAX])
{
	const char *dir = secure_getenv("CPAGENT_LIBDIR"), *slash;
	void *handle = NULL;
	Dl_info me;

	*why = '\0';
	if (dir && *dir)
		handle = try_place(dir, strlen(dir), why);
	if (!handle && dladdr((void *)(uintptr_t)cpa_save, &me) && me.dli_fname && (slash = strrchr(me.dli_fname, '/')))
		handle = try_place(me.dli_fname, (size_t)(slash - me.dli_fname), why);
	return handle ? handle : try_place("", 0, why);
}

static const struct archive_plugin *plugin(const char *call)
{
	static const struct archive_plugin *kept;
	const struct archive_plugin *p = __atomic_load_n(&kept, __ATOMIC_ACQUIRE);
	char why[ARCHIVE_WHY_MAX];
	void *handle;

	if (p)
		return p;
	handle = open_plugin(why);
	p = handle ? dlsym(handle, ARCHIVE_PLUGIN_SYMBOL) : NULL;
	if (!handle)
		fail(CPA_ERR_SYSTEM, "%s: archives need " ARCHIVE_PLUGIN " and libarchive: %s; install them, or set "
		     "CPAGENT_LIBDIR", call, why);
	else if (!p || p->abi != ARCHIVE_PLUGIN_ABI)
		fail(CPA_ERR_SYSTEM, "%s: " ARCHIVE_PLUGIN " is of another version than this library; install them "
		     "together", call);
	else
		__atomic_store_n(&kept, p, __ATOMIC_RELEASE); /* never unloaded */
	return p && p->abi == ARCHIVE_PLUGIN_ABI ? p : NULL;
}

/* Numbers of memos say what happened in this arena, so they stay in it; a damaged result is no loss. */
static int wish(const char *key)
{
	int result;

	if (!is_memo(key))
		return 1;
	return memo_name_in(key, &result) && result ? 2 : 0;
}

static int code_of(int rc)
{
	switch (rc) {
	case -EBADMSG:
		return CPA_ERR_CORRUPT;
	case -ENOMEM:
		return CPA_ERR_MEMORY;
	case -EFBIG:
		return CPA_ERR_FULL;
	case -EPROTO:
		return CPA_ERR_BROKEN;
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return CPA_ERR_DENIED;
	default:
		return CPA_ERR_SYSTEM;
	}
}

static int begin(struct archive_job *job, const char *call, cpa *cp, const char *file)
{
	if (!cp)
		return fail(CPA_ERR_ARG, "%s: no handle; has cpa_open() failed, or is it closed?", call);
	if (!file || !*file)
		return fail(CPA_ERR_ARG, "%s: it needs the name of a file", call);
	notice(cp);
	*job = (struct archive_job){.arena = cp->arena, .file = file, .wish = wish};
	return 0;
}

int cpa_save(cpa *cp, const char *file)
{
	const struct archive_plugin *p;
	char host[256] = "";
	struct archive_job job;
	int rc = begin(&job, "cpa_save", cp, file);

	if (rc)
		return rc;
	p = plugin("cpa_save");
	if (!p)
		return CPA_ERR_SYSTEM;
	(void)gethostname(host, sizeof host - 1);
	job.host = host;
	job.program = program_invocation_short_name;
	job.job = getenv("CPAGENT_NAME");
	rc = p->save(&job);
	return rc < 0 ? fail(code_of(rc), "cpa_save: %s", job.why) : rc;
}

/* Room for a key by forgetting memos, and all keys again: those that are there already cost nothing. */
static int load(cpa *cp, const struct archive_plugin *p, struct archive_job *job)
{
	unsigned turn;
	int rc = p->load(job);

	for (turn = 0; rc == -ENOSPC && turn < TURNS && memos_make_room(cp, job->needs, turn); turn++)
		rc = p->load(job);
	return rc;
}

int cpa_load(cpa *cp, const char *file)
{
	const struct archive_plugin *p;
	struct archive_job job;
	struct memos *ms;
	int rc = begin(&job, "cpa_load", cp, file);

	if (rc)
		return rc;
	if (cp->arena->read_only)
		return fail(CPA_ERR_DENIED, "cpa_load: this program may not write to the arena %s", cp->arena->path);
	p = plugin("cpa_load");
	if (!p)
		return CPA_ERR_SYSTEM;
	rc = load(cp, p, &job);
	ms = memos_of(cp);
	(void)memo_fit(cp, ms ? __atomic_load_n(&ms->limit, __ATOMIC_RELAXED) : 0); /* results came past the count */
	if (rc == -ENOSPC)
		return fail(CPA_ERR_FULL, "cpa_load: %s", job.why);
	return rc < 0 ? fail(code_of(rc), "cpa_load: %s", job.why) : rc;
}
