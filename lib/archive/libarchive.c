/* Owns the loading of libarchive: see libarchive.h. It is never unloaded. */
#include "lib/archive/libarchive.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/archive/archive_impl.h"

#define SONAME "libarchive.so.13" /* of every release since 3.0 (2011) */

#define LIBARCHIVE_ENTRY(call) {#call, offsetof(struct libarchive, call)},
static const struct {
	const char *name;
	size_t at;
} calls[] = {LIBARCHIVE_CALLS(LIBARCHIVE_ENTRY)};

struct libarchive la;

static int find_calls(void *lib, struct err *e)
{
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		void *call = dlsym(lib, calls[i].name);

		if (!call)
			return archive_fail(e, -ENOTSUP, "archives need a newer libarchive: %s", dlerror());
		*(void **)(void *)((char *)&la + calls[i].at) = call;
	}
	return 0;
}

int libarchive_load(struct err *e)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	static bool loaded;
	int rc = 0;

	pthread_mutex_lock(&one);
	if (!loaded) {
		void *lib = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);

		rc = lib ? find_calls(lib, e) : archive_fail(e, -ENOTSUP, "archives need libarchive; install it: %s", dlerror());
		loaded = rc == 0;
	}
	pthread_mutex_unlock(&one);
	return rc;
}
