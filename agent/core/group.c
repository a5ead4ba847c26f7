/* Owns what may stand for a group: see group.h. */
#include "agent/core/group.h"

#include <string.h>

#define NAME_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static bool is_name(const char *text, size_t n)
{
	return n > 0 && n < CORE_NAME && strspn(text, NAME_BYTES) >= n;
}

bool group_parse(const char *text, struct group_question *out)
{
	const char *end = strchr(text, '\n');
	size_t group = end ? (size_t)(end - text) : 0, key = end ? strlen(end + 1) : 0;
	if (!end || key >= sizeof out->key || (group && !is_name(text, group)))
		return false;
	memset(out, 0, sizeof *out);
	memcpy(out->group, text, group);
	memcpy(out->key, end + 1, key);
	return true;
}

const char *group_unfit(const char *group, uint32_t rank, uint32_t ranks, const char *launch)
{
	size_t digits = strlen(launch);
	if (!group[0])
		return rank || ranks || digits ? "a rank needs the name of its group" : NULL;
	if (!is_name(group, strlen(group)))
		return "a group's name has at most 64 letters, digits, '.', '_' and '-'";
	if (!ranks || ranks > GROUP_RANKS_MAX || rank >= ranks)
		return "a group has 1 to 4096 ranks, numbered from 0";
	if (digits != CORE_UUID - 1 || strspn(launch, "0123456789abcdef-") != digits)
		return "a group's launch is named by a UUID";
	return NULL;
}
