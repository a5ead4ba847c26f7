/* Values as they lie in an archive: their types by name, safe names for their files, their byte order. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/archive/archive_impl.h"

#define NAME_SHOWN 64 /* bytes of a variable's name in its file's name: for people alone */

int archive_fail(struct err *e, int rc, const char *fmt, ...)
{
	int code = rc == -ENOENT ? ERR_NOT_FOUND : rc == -EACCES || rc == -EPERM ? ERR_DENIED : ERR_FAILED;
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	err_set(e, code, "%s", text);
	return rc;
}

uint32_t archive_type(const char *name)
{
	uint32_t t;

	for (t = 1; name && t < ARENA_TYPES; t++)
		if (arena_type_size(t) && strcmp(arena_type_name(t), name) == 0)
			return t;
	return 0;
}

static int is_safe(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

const char *archive_member(char *buf, size_t k, size_t v, const char *name)
{
	int n = snprintf(buf, MEMBER_MAX, "keys/%06zu/%zu-", k, v);
	size_t i;

	for (i = 0; name[i] && i < NAME_SHOWN && (size_t)n + 1 < MEMBER_MAX; i++)
		buf[n++] = is_safe(name[i]) ? name[i] : '_';
	buf[n] = '\0';
	return buf;
}

/* How many bytes of an element are turned at once: a complex number has two parts. 0: it cannot be. */
static size_t part(uint32_t type)
{
	switch (type) {
	case ARENA_F80: /* no machine with the other byte order has them */
	case ARENA_C80:
		return 0;
	case ARENA_C32:
	case ARENA_C64:
	case ARENA_C128:
		return arena_type_size(type) / 2;
	default:
		return arena_type_size(type);
	}
}

int archive_swap(uint32_t type, void *data, uint64_t count)
{
	size_t size = part(type), i;
	uint64_t n = size ? count * (arena_type_size(type) / size) : 0;
	uint8_t *p = data, byte;

	if (!size)
		return count ? -1 : 0;
	for (; n && size > 1; n--, p += size)
		for (i = 0; i < size / 2; i++) {
			byte = p[i];
			p[i] = p[size - 1 - i];
			p[size - 1 - i] = byte;
		}
	return 0;
}
