/* Writes and reads img_dir/record. See snapshot_record.h. */
#include "agent/ports/snapshot_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports/snapshot.pb-c.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define FORMAT 1
#define RECORD_MAX (256U << 20)

/* ---- writing ---------------------------------------------------------------------------------- */

static void fill_file(SnapshotFile *to, const struct jobfile *f)
{
	_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "groups are copied as they are");
	snapshot_file__init(to);
	to->path = f->path;
	to->size = f->size;
	to->kind = f->kind;
	to->content = f->content;
	to->skipped = f->skipped;
	to->mode = f->mode;
	to->owner = f->owner;
	to->owner_group = f->owner_group;
	to->uid = f->rights.uid;
	to->gid = f->rights.gid;
	to->n_groups = f->rights.ngroups;
	to->groups = (uint32_t *)f->rights.groups;
	to->cut_always = f->cut_always;
}

static int write_packed(int img_dir, const SnapshotRecord *r, struct err *e)
{
	size_t len = snapshot_record__get_packed_size(r);
	scoped_free uint8_t *buf = malloc(len);
	scoped_fd int fd = openat(img_dir, "record", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (!buf || fd < 0 || (snapshot_record__pack(r, buf), fs_write_full(fd, buf, len)))
		return err_sys(e, ERR_FAILED, "cannot write the record of the snapshot");
	return ERR_OK;
}

int snapshot_record_write(int img_dir, const struct snapshot_record *record, struct err *e)
{
	const struct jobfiles *f = &record->files;
	const struct affinities *a = &record->affinities;
	SnapshotRecord r = SNAPSHOT_RECORD__INIT;
	scoped_free SnapshotFile *files = calloc(f->count + 1, sizeof *files);
	scoped_free SnapshotFile **file_at = calloc(f->count + 1, sizeof *file_at);
	scoped_free SnapshotAffinity *masks = calloc(a->count + 1, sizeof *masks);
	scoped_free SnapshotAffinity **mask_at = calloc(a->count + 1, sizeof *mask_at);
	if (!files || !file_at || !masks || !mask_at)
		return err_set(e, ERR_FAILED, "out of memory for the record of the snapshot");
	for (size_t i = 0; i < f->count; i++) {
		fill_file(&files[i], &f->list[i]);
		file_at[i] = &files[i];
	}
	for (size_t i = 0; i < a->count; i++) {
		snapshot_affinity__init(&masks[i]);
		masks[i].thread = a->list[i].thread;
		masks[i].mask = (ProtobufCBinaryData){.data = a->list[i].mask, .len = a->list[i].len};
		mask_at[i] = &masks[i];
	}
	r.format = FORMAT;
	r.n_files = f->count;
	r.files = file_at;
	r.n_affinity = a->count;
	r.affinity = mask_at;
	r.arena_owner = record->arena_owner;
	r.arena_group = record->arena_group;
	r.arena_mode = record->arena_mode;
	return write_packed(img_dir, &r, e);
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* Is it a plain name in dir, which ends with a slash? */
static bool is_in(const SnapshotFile *f, const char *dir)
{
	size_t len = strlen(dir);
	return !strncmp(f->path, dir, len) && f->path[len] && !strchr(f->path + len, '/');
}

static bool is_sane(const SnapshotFile *f)
{
	return f->path[0] == '/' && strlen(f->path) < FS_PATH_MAX && f->kind >= JOBFILE_LOG &&
	       f->kind <= JOBFILE_ROUTED && f->skipped <= f->size && f->n_groups <= JOBFILE_GROUPS_MAX &&
	       f->size <= INT64_MAX &&
	       (f->kind != JOBFILE_LOG || !strncmp(f->path, SNAPSHOT_LOG_MOUNT "/", sizeof SNAPSHOT_LOG_MOUNT)) &&
	       (f->kind != JOBFILE_ROUTED || is_in(f, SNAPSHOT_JOB_MOUNT "/" SNAPSHOT_ROUTED "/"));
}

static int read_files(const SnapshotRecord *r, struct jobfiles *f)
{
	f->list = calloc(r->n_files + 1, sizeof *f->list);
	if (!f->list)
		return -1;
	for (size_t i = 0; i < r->n_files; i++) {
		const SnapshotFile *from = r->files[i];
		if (!is_sane(from))
			return -1;
		struct jobfile to = {
			.path = strdup(from->path), .kind = (enum jobfile_kind)from->kind, .size = from->size,
			.content = from->content, .skipped = from->skipped, .mode = from->mode, .owner = from->owner,
			.owner_group = from->owner_group, .cut_always = from->cut_always, .source = -1,
			.rights = {.uid = from->uid, .gid = from->gid, .ngroups = from->n_groups},
		};
		if (!to.path)
			return -1;
		if (from->n_groups)
			memcpy(to.rights.groups, from->groups, from->n_groups * sizeof *from->groups);
		f->list[f->count++] = to;
	}
	return 0;
}

static int read_affinities(const SnapshotRecord *r, struct affinities *a)
{
	a->list = calloc(r->n_affinity + 1, sizeof *a->list);
	if (!a->list)
		return -1;
	for (size_t i = 0; i < r->n_affinity; i++) {
		const SnapshotAffinity *from = r->affinity[i];
		struct affinity to = {.thread = from->thread, .mask = malloc(from->mask.len + 1),
				      .len = from->mask.len};
		if (!to.mask)
			return -1;
		if (to.len)
			memcpy(to.mask, from->mask.data, to.len);
		a->list[a->count++] = to;
	}
	return 0;
}

static int read_record(const SnapshotRecord *from, struct snapshot_record *r)
{
	if (from->format != FORMAT || read_files(from, &r->files) || read_affinities(from, &r->affinities))
		return -1;
	r->arena_owner = from->arena_owner;
	r->arena_group = from->arena_group;
	r->arena_mode = from->arena_mode & 0777;
	return 0;
}

int snapshot_record_read(int img_dir, struct snapshot_record *record, struct err *e)
{
	struct stat st;
	*record = (struct snapshot_record){0};
	scoped_fd int fd = openat(img_dir, "record", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return err_sys(e, ERR_FAILED, "the snapshot is not complete: cannot read its record");
	if (st.st_size > RECORD_MAX)
		return err_set(e, ERR_FAILED, "the record of the snapshot is too large to be one");
	scoped_free uint8_t *buf = malloc((size_t)st.st_size + 1);
	if (!buf || fs_read_full(fd, buf, (size_t)st.st_size))
		return err_sys(e, ERR_FAILED, "cannot read the record of the snapshot");
	SnapshotRecord *r = snapshot_record__unpack(NULL, (size_t)st.st_size, buf);
	int rc = !r || read_record(r, record);
	if (r)
		snapshot_record__free_unpacked(r, NULL);
	return rc ? err_set(e, ERR_FAILED, "the record of the snapshot is damaged or of a later version") : ERR_OK;
}

void snapshot_record_free(struct snapshot_record *r)
{
	jobfiles_free(&r->files);
	affinities_free(&r->affinities);
}
