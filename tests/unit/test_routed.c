/* The directory for checkpoints that are written as files: what of it a snapshot takes, and what it refuses. As root. */
#include <fcntl.h>
#include <sys/stat.h>

#include "agent/ports/jobfiles_scan.h"
#include "agent/ports/routed.h"
#include "lib/base/scoped.h"
#include "tests/unit/harness.h"
#include "tests/unit/scratch.h"

#define NOBODY 65534

struct world {
	char dir[FS_PATH_MAX], job[FS_PATH_MAX + 8], img[FS_PATH_MAX + 8];
	int img_dir;
	struct jobfiles f;
	struct err e;
};

static void begin(struct world *w)
{
	*w = (struct world){.img_dir = -1};
	scratch_path(w->dir);
	snprintf(w->job, sizeof w->job, "%s/job", w->dir);
	snprintf(w->img, sizeof w->img, "%s/img", w->dir);
	CU_ASSERT_FATAL(fs_mkdirs(w->job, 0755, &w->e) == 0 && fs_mkdirs(w->img, 0700, &w->e) == 0);
	CU_ASSERT_EQUAL_FATAL(routed_make(w->job, NOBODY, NOBODY, &w->e), 0);
	w->img_dir = open(w->img, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void end(struct world *w)
{
	jobfiles_free(&w->f);
	close(w->img_dir);
	CU_ASSERT_EQUAL(routed_remove(w->job, &w->e), 0);
}

static const char *in(const struct world *w, const char *name, char *buf)
{
	return fs_path(buf, "%s/files/%s", w->job, name);
}

/* A file of the job's user in it. */
static void put(const struct world *w, const char *name, const char *text, uid_t owner)
{
	char path[FS_PATH_MAX];
	scoped_fd int fd = open(in(w, name, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	CU_ASSERT_FATAL(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	CU_ASSERT_EQUAL(fchown(fd, owner, owner), 0);
}

static int record(struct world *w)
{
	const struct jobtree nobody = {0};
	return jobfiles_record(&w->f, &nobody, SNAPSHOT_FILES_SHARED, w->job, w->img_dir, &w->e);
}

static void what_lies_in_it_is_taken_and_put_back_whatever_the_mode_for_files(void)
{
	struct world w;
	char path[FS_PATH_MAX];
	scoped_free char *text = NULL;
	size_t len;
	struct stat st;
	begin(&w);
	put(&w, "a", "first", NOBODY);
	put(&w, "empty", "", NOBODY);
	CU_ASSERT_EQUAL(record(&w), 0);
	CU_ASSERT_EQUAL(w.f.count, 2);
	CU_ASSERT_EQUAL(jobfiles_capture(&w.f, w.img_dir, &w.e), 0);
	CU_ASSERT(routed_remove(w.job, &w.e) == 0 && routed_make(w.job, NOBODY, NOBODY, &w.e) == 0);
	CU_ASSERT_EQUAL(jobfiles_restore(&w.f, SNAPSHOT_FILES_SHARED, w.img_dir, w.dir, w.job, "1", &w.e), 0);
	CU_ASSERT_FATAL(fs_read(in(&w, "a", path), 100, &text, &len, &w.e) == 0);
	CU_ASSERT_STRING_EQUAL(text, "first");
	CU_ASSERT(stat(path, &st) == 0 && st.st_uid == NOBODY && (st.st_mode & 07777) == 0640);
	CU_ASSERT(stat(in(&w, "empty", path), &st) == 0 && st.st_size == 0 && st.st_uid == NOBODY);
	end(&w);
}

static void a_closed_file_that_is_changed_while_it_is_captured_makes_no_snapshot(void)
{
	struct world w;
	struct timespec later = {.tv_sec = 1};
	char path[FS_PATH_MAX];
	begin(&w);
	put(&w, "a", "first", NOBODY);
	CU_ASSERT_EQUAL(record(&w), 0);
	put(&w, "a", "other", NOBODY);
	CU_ASSERT_EQUAL(utimensat(AT_FDCWD, in(&w, "a", path), (struct timespec[]){later, later}, 0), 0);
	CU_ASSERT_EQUAL(jobfiles_capture(&w.f, w.img_dir, &w.e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.e.text, "opened again and changed"));
	end(&w);
}

static void a_file_that_is_removed_meanwhile_is_captured_all_the_same(void)
{
	struct world w;
	char path[FS_PATH_MAX];
	begin(&w);
	put(&w, "a", "first", NOBODY);
	CU_ASSERT_EQUAL(record(&w), 0);
	CU_ASSERT_EQUAL(unlink(in(&w, "a", path)), 0);
	CU_ASSERT_EQUAL(jobfiles_capture(&w.f, w.img_dir, &w.e), 0);
	end(&w);
}

static void links_pipes_and_the_files_of_others_are_left_where_they_are(void)
{
	struct world w;
	char path[FS_PATH_MAX];
	begin(&w);
	put(&w, "not-his", "secret", 0);
	CU_ASSERT_EQUAL(symlink("/etc/shadow", in(&w, "link", path)), 0);
	CU_ASSERT_EQUAL(mkfifo(in(&w, "pipe", path), 0600), 0);
	CU_ASSERT_EQUAL(mkdir(in(&w, "dir", path), 0700), 0);
	CU_ASSERT_EQUAL(record(&w), 0);
	CU_ASSERT_EQUAL(w.f.count, 0);
	end(&w);
}

static void an_open_file_that_could_not_be_put_back_is_refused_before_the_snapshot(void)
{
	struct world w;
	struct stat st;
	char path[FS_PATH_MAX];
	begin(&w);
	put(&w, "a", "first", NOBODY);
	CU_ASSERT_EQUAL(record(&w), 0);
	CU_ASSERT_EQUAL(stat(in(&w, "a", path), &st), 0);
	CU_ASSERT_EQUAL(jobfiles_note_routed(&w.f, SNAPSHOT_JOB_MOUNT "/files/a", &st, true, &w.e), 0);
	CU_ASSERT(w.f.list[0].written);
	CU_ASSERT_EQUAL(stat(w.img, &st), 0);
	CU_ASSERT_EQUAL(jobfiles_note_routed(&w.f, SNAPSHOT_JOB_MOUNT "/arena", &st, true, &w.e), 0);
	CU_ASSERT_EQUAL(jobfiles_note_routed(&w.f, SNAPSHOT_JOB_MOUNT "/files/dir/b", &st, true, &w.e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.e.text, "files/dir/b"));
	end(&w);
}

static void a_thousand_files_are_too_many(void)
{
	struct world w;
	char name[32];
	begin(&w);
	for (int i = 0; i <= 1024; i++) {
		snprintf(name, sizeof name, "%d", i);
		put(&w, name, "", NOBODY);
	}
	CU_ASSERT_EQUAL(record(&w), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.e.text, "too many files"));
	end(&w);
}

static const struct test tests[] = {
	{"what lies in it is taken and put back, whatever the mode for files",
	 what_lies_in_it_is_taken_and_put_back_whatever_the_mode_for_files},
	{"a closed file that is changed while it is captured makes no snapshot",
	 a_closed_file_that_is_changed_while_it_is_captured_makes_no_snapshot},
	{"a file that is removed meanwhile is captured all the same",
	 a_file_that_is_removed_meanwhile_is_captured_all_the_same},
	{"links, pipes and the files of others are left where they are",
	 links_pipes_and_the_files_of_others_are_left_where_they_are},
	{"an open file that could not be put back is refused before the snapshot",
	 an_open_file_that_could_not_be_put_back_is_refused_before_the_snapshot},
	{"a thousand files are too many", a_thousand_files_are_too_many},
};

int main(void)
{
	if (geteuid() != 0) {
		printf("skipped: it gives files to another user\n0 passed, 0 failed\n");
		return 0;
	}
	return harness_run("routed", tests, sizeof tests / sizeof *tests);
}
