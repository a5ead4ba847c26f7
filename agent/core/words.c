/* The user's words for choices, and back. Owns nothing; called wherever a choice is parsed or shown. */
#include "agent/core/words.h"

#include <string.h>

static const char *const policies[] = {
	[RESTART_TRANSIENT] = "transient",
	[RESTART_PERMANENT] = "permanent",
	[RESTART_TEMPORARY] = "temporary",
};
static const char *const modes[] = {
	[MODE_AUTO] = "auto",
	[MODE_PROCESS] = "process",
	[MODE_KEYED] = "keyed",
};
static const char *const files[] = {
	[FILES_TRACK] = "track",
	[FILES_SHARED] = "shared",
	[FILES_CARRY] = "carry",
};
static const char *const strategies[] = {
	[ONE_FOR_ONE] = "one_for_one",
	[ONE_FOR_ALL] = "one_for_all",
	[REST_FOR_ONE] = "rest_for_one",
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char *name_of(const char *const *names, size_t n, size_t i)
{
	return i < n ? names[i] : "?";
}

static int find(const char *const *names, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], word))
			return (int)i;
	return -1;
}

#define WORDS(type, prefix, names)                                                                                     \
	const char *prefix##_name(enum type v)                                                                         \
	{                                                                                                              \
		return name_of(names, COUNT(names), (size_t)v);                                                        \
	}                                                                                                              \
	bool prefix##_parse(const char *word, enum type *out)                                                          \
	{                                                                                                              \
		int i = find(names, COUNT(names), word);                                                               \
		if (i >= 0)                                                                                            \
			*out = (enum type)i;                                                                           \
		return i >= 0;                                                                                         \
	}

WORDS(restart_policy, restart_policy, policies)
WORDS(restart_mode, restart_mode, modes)
WORDS(files_mode, files_mode, files)
WORDS(strategy, strategy, strategies)

void core_copy(char *to, size_t size, const char *from)
{
	size_t n = strlen(from);
	if (n >= size)
		n = size - 1;
	memmove(to, from, n);
	to[n] = '\0';
}
