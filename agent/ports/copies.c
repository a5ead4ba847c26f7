/* See copies.h. A file ends where the chunk's zeros begin. */
#include "agent/ports/copies.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define PACK "pack-"

static const char *copy_path(const char *dir, enum copies_kind kind, const uint8_t *id, char *buf)
{
	char hex[CHUNK_HEX_MAX];
	return fs_path(buf, "%s/%s%s", dir, kind == COPIES_PACK ? PACK : "", chunk_hex(id, hex));
}

static size_t without_zeros(const uint8_t *data)
{
	size_t n = CHUNK_BYTES;
	while (n >= 4096 && chunk_is_zero(data + n - 4096, 4096))
		n -= 4096;
	while (n > 0 && !data[n - 1])
		n--;
	return n;
}

bool copies_have(const char *dir, enum copies_kind kind, const uint8_t *id)
{
	char path[FS_PATH_MAX];
	return chunk_id_is_zero(id) || access(copy_path(dir, kind, id, path), F_OK) == 0;
}

int copies_put(const char *dir, enum copies_kind kind, const uint8_t *id, const void *data, struct err *e)
{
	char path[FS_PATH_MAX];
	if (copies_have(dir, kind, id))
		return 0;
	return fs_write_aside(copy_path(dir, kind, id, path), data, without_zeros(data), 0600, 0, e);
}

static int get_one(const char *path, const uint8_t *id, uint8_t *buf)
{
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t have = 0;
	ssize_t n = 1;
	if (fd < 0)
		return ERR_NOT_FOUND;
	while (have < CHUNK_BYTES && n > 0) {
		n = read(fd, buf + have, CHUNK_BYTES - have);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			have += (size_t)n;
	}
	if (have < CHUNK_BYTES)
		memset(buf + have, 0, CHUNK_BYTES - have);
	struct chunk_id is = chunk_id(buf, CHUNK_BYTES);
	return n >= 0 && chunk_id_equal(is.b, id) ? 0 : ERR_FAILED;
}

int copies_get(const char *dir, const uint8_t *id, void *buf)
{
	char path[FS_PATH_MAX];
	if (chunk_id_is_zero(id)) {
		memset(buf, 0, CHUNK_BYTES);
		return 0;
	}
	int rc = get_one(copy_path(dir, COPIES_PACK, id, path), id, buf);
	return rc == 0 ? 0 : get_one(copy_path(dir, COPIES_LARGE, id, path), id, buf);
}

/* ---- removing ---- */

static int by_id(const void *x, const void *y)
{
	return memcmp(x, y, CHUNK_ID_BYTES);
}

struct keeping {
	const struct chunk_id *ids; /* sorted */
	size_t n;
	bool packs; /* all of them, whichever */
};

/* Also what a killed agent left aside: no id has such a name. */
static bool is_kept(const struct keeping *k, const char *name)
{
	struct chunk_id id;
	bool pack = strncmp(name, PACK, sizeof PACK - 1) == 0;
	if (pack && k->packs)
		return true;
	return chunk_from_hex(pack ? name + sizeof PACK - 1 : name, &id) && k->n > 0 &&
	       bsearch(&id, k->ids, k->n, sizeof id, by_id);
}

static void remove_others(const char *dir, const struct keeping *k)
{
	scoped_dir DIR *d = opendir(dir);
	if (!d)
		return;
	for (struct dirent *de; (de = readdir(d));)
		if (de->d_name[0] != '.' && !is_kept(k, de->d_name))
			unlinkat(dirfd(d), de->d_name, 0);
}

void copies_keep(const char *dir, struct chunk_id *ids, size_t n)
{
	if (n)
		qsort(ids, n, sizeof *ids, by_id);
	remove_others(dir, &(struct keeping){ ids, n, false });
}

void copies_drop_large(const char *dir)
{
	remove_others(dir, &(struct keeping){ NULL, 0, true });
}
