/* Snapshots of real jobs by a real CRIU: what a restored job finds. Needs root. */
#include <fcntl.h>
#include <sched.h>

#include "agent/ports/cgroup.h"
#include "agent/ports/jobtree.h"
#include "tests/unit/harness.h"
#include "tests/unit/snapshot_job.h"

/* Does the file hold 1, 2, 3, … up to at least `least`, each once? (Its last line may be in the making.) */
static bool counts_up(const char *path, unsigned least)
{
	scoped_file FILE *f = fopen(path, "re");
	unsigned n = 0, got;
	while (f && fscanf(f, "%u\n", &got) == 1) {
		if (got != ++n) {
			printf("    %s: %u where %u was expected\n", path, got, n);
			return false;
		}
	}
	return n >= least;
}

static void a_job_runs_on_while_and_after_it_is_dumped(void)
{
	struct job j;
	char out[FS_PATH_MAX];
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "lines", j.file) && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL(job_take(&j), 0);
	CU_ASSERT(job_goes_on(&j, 100));
	CU_ASSERT(j.taken.frozen_ns > 0 && j.taken.bytes > 4096 && j.taken.processes == 2);
	CU_ASSERT(counts_up(job_stdout(&j, out), 20));
	CU_ASSERT(counts_up(j.file, 20));
	job_clean(&j);
}

static void a_restored_job_goes_on_where_it_was_and_its_output_with_it(const char *mode)
{
	struct job j;
	char path[FS_PATH_MAX];
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, mode, j.file) && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL_FATAL(job_take(&j), 0);
	CU_ASSERT(job_goes_on(&j, 300));
	job_kill(&j, 0);
	off_t grown = size_of(j.file);
	CU_ASSERT_EQUAL(job_restore(&j), 0);
	off_t tail = size_of(fs_path(path, "%s.cpagent-tail.1", j.file));
	CU_ASSERT(tail > 100 && tail < grown);
	CU_ASSERT(size_of(fs_path(path, "%s/stdout.cpagent-tail.1", j.log)) > 100);
	CU_ASSERT(job_goes_on(&j, 400));
	CU_ASSERT(job_lives(j.copies[1]));
	CU_ASSERT(counts_up(job_stdout(&j, path), 100));
	CU_ASSERT(counts_up(j.file, 100));
	job_clean(&j);
}

static void a_file_that_grew_is_cut_back_and_its_tail_kept(void)
{
	a_restored_job_goes_on_where_it_was_and_its_output_with_it("lines");
}

static void so_is_a_file_opened_to_append(void)
{
	a_restored_job_goes_on_where_it_was_and_its_output_with_it("append");
}

/* The job itself looks whether its file is as it left it. */
static void survives_in_mode(const char *mode)
{
	struct job j;
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, mode, j.file) && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL_FATAL(job_take(&j), 0);
	CU_ASSERT(job_goes_on(&j, 100));
	job_kill(&j, 0);
	CU_ASSERT(routed_remove(j.job, &j.e) == 0 && routed_make(j.job, (uid_t)-1, (gid_t)-1, &j.e) == 0);
	CU_ASSERT_EQUAL(job_restore(&j), 0);
	CU_ASSERT(job_goes_on(&j, 100));
	CU_ASSERT(job_lives(j.copies[1]));
	job_clean(&j);
}

static void a_file_changed_in_place_is_rolled_back(void)
{
	survives_in_mode("in-place");
}

static void a_file_mapped_shared_is_rolled_back(void)
{
	survives_in_mode("mapped");
}

static void checkpoints_written_as_files_come_back_open_or_closed(void)
{
	survives_in_mode("routed");
}

static void an_unlinked_file_comes_back(void)
{
	survives_in_mode("unlinked");
}

static void a_tree_of_processes_keeps_its_shared_memory(void)
{
	struct job j;
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "tree", "4") && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL_FATAL(job_take(&j), 0);
	CU_ASSERT_EQUAL(j.taken.processes, 6);
	job_kill(&j, 0);
	CU_ASSERT_EQUAL(job_restore(&j), 0);
	CU_ASSERT(job_goes_on(&j, 100));
	CU_ASSERT(job_lives(j.copies[1]));
	job_clean(&j);
}

static void an_image_directory_used_again_holds_the_newer_snapshot_only(void)
{
	struct job j;
	char path[FS_PATH_MAX];
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "tree", "3") && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL_FATAL(job_take(&j), 0);
	uint64_t first = j.taken.bytes;
	job_kill(&j, 0);
	j.ncopies = 0;
	CU_ASSERT_FATAL(job_start(&j, "lines", j.file) && job_goes_on(&j, 50));
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(job_take(&j), 0);
	CU_ASSERT(j.taken.bytes < first);
	CU_ASSERT(access(fs_path(path, "%s/pages-3.img", j.img), F_OK));
	job_kill(&j, 0);
	CU_ASSERT_EQUAL(job_restore(&j), 0);
	CU_ASSERT(job_goes_on(&j, 100));
	CU_ASSERT(counts_up(j.file, 30));
	job_clean(&j);
}

static void a_snapshot_restores_twice_also_beside_the_living_original(void)
{
	struct job j;
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "memory", "20") && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL_FATAL(job_take(&j), 0);
	struct snapshot_restore how = job_how_to_restore(&j);
	CU_ASSERT_EQUAL(job_restore_as(&j, &how), 0);
	how.tail_suffix = "2";
	CU_ASSERT_EQUAL(job_restore_as(&j, &how), 0);
	CU_ASSERT(job_goes_on(&j, 500));
	for (int i = 0; i < 3; i++)
		CU_ASSERT(job_lives(j.copies[i]));
	job_clean(&j);
}

static void the_arena_is_as_it_was_in_the_snapshot(void)
{
	struct job j;
	struct stat st;
	job_make(&j);
	int fd = open(j.arena, O_RDWR | O_CREAT, 0600);
	CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, 64 << 20) == 0 && fchown(fd, 1234, 1235) == 0);
	close(fd);
	CU_ASSERT_FATAL(job_start(&j, "mapped", SNAPSHOT_JOB_MOUNT "/arena") && job_goes_on(&j, 50));
	struct snapshot_take how = job_how_to_take(&j);
	how.arena = j.arena;
	for (int i = 0; i < 2; i++)
		CU_ASSERT_EQUAL_FATAL(snapshot_take(&how, &j.taken, &j.e), 0);
	CU_ASSERT(job_goes_on(&j, 100));
	job_kill(&j, 0);
	unlink(j.arena);
	struct snapshot_restore back = job_how_to_restore(&j);
	back.arena = j.arena;
	CU_ASSERT_EQUAL(job_restore_as(&j, &back), 0);
	CU_ASSERT(job_goes_on(&j, 100));
	CU_ASSERT(job_lives(j.copies[1]));
	CU_ASSERT(stat(j.arena, &st) == 0 && st.st_uid == 1234 && st.st_gid == 1235 && st.st_size == 64 << 20);
	CU_ASSERT(st.st_blocks < 1000);
	job_clean(&j);
}

static void a_node_without_the_jobs_files_gets_those_that_travel(void)
{
	struct job j;
	char path[FS_PATH_MAX];
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "lines", j.file) && job_goes_on(&j, 200));
	CU_ASSERT_EQUAL_FATAL(job_take(&j), 0);
	job_kill(&j, 0);
	fs_remove_tree(j.log, NULL);
	fs_remove_tree(j.job, NULL);
	mkdir(j.log, 0755);
	mkdir(j.job, 0755);
	unlink(j.file);
	CU_ASSERT_EQUAL(job_restore(&j), 0);
	CU_ASSERT(job_goes_on(&j, 100));
	CU_ASSERT(counts_up(job_stdout(&j, path), 60));
	CU_ASSERT(counts_up(j.file, 60));
	job_clean(&j);
}

static pid_t worker_of(const struct job *j, int copy)
{
	struct jobtree t;
	pid_t pid = 0;
	if (!jobtree_read(j->copies[copy], &t, NULL) && t.count > 1)
		pid = t.list[1].pid;
	jobtree_free(&t);
	return pid;
}

static void cpu_affinity_is_set_again(void)
{
	struct job j;
	cpu_set_t set;
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "one-cpu", NULL) && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL_FATAL(job_take(&j), 0);
	job_kill(&j, 0);
	CU_ASSERT_EQUAL(job_restore(&j), 0);
	CU_ASSERT(sched_getaffinity(worker_of(&j, 1), sizeof set, &set) == 0 && CPU_COUNT(&set) == 1);
	job_clean(&j);
}

static int count_in(const char *cgroup)
{
	char path[FS_PATH_MAX];
	int n = 0, pid;
	scoped_file FILE *f = fopen(fs_path(path, "%s/cgroup.procs", cgroup), "re");
	while (f && fscanf(f, "%d", &pid) == 1)
		n++;
	return n;
}

static int say_no(void *ctx, pid_t pid, struct err *e)
{
	*(bool *)ctx = pid > 0 && kill(pid, 0) == 0;
	return err_set(e, ERR_FAILED, "not today");
}

static void a_restored_job_lives_in_its_cgroup_and_a_refused_one_nowhere(void)
{
	struct job j;
	struct cgroups cg;
	char dir[FS_PATH_MAX + 8];
	bool asked = false;
	job_make(&j);
	CU_ASSERT_FATAL(cgroups_open(&cg, "cpa-test-snapshot", &j.e) == 0 && cgroup_make(&cg, "job", &j.e) == 0);
	snprintf(dir, sizeof dir, "%s/job", cg.node);
	CU_ASSERT_FATAL(job_start(&j, "tree", "2") && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL_FATAL(job_take(&j), 0);
	job_kill(&j, 0);
	struct snapshot_restore how = job_how_to_restore(&j);
	how.cgroup = dir;
	how.ready = say_no;
	how.ctx = &asked;
	CU_ASSERT_EQUAL(job_restore_as(&j, &how), ERR_FAILED);
	CU_ASSERT(asked && strstr(j.e.text, "not today"));
	CU_ASSERT_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
	CU_ASSERT_EQUAL(cgroup_wait_empty(&cg, "job", 5000, &j.e), 0);
	how.ready = NULL;
	how.tail_suffix = "2";
	CU_ASSERT_EQUAL(job_restore_as(&j, &how), 0);
	CU_ASSERT(job_goes_on(&j, 100));
	CU_ASSERT_EQUAL(count_in(dir), 4);
	job_clean(&j);
	CU_ASSERT_EQUAL(cgroup_remove(&cg, "job", 5000, &j.e), 0);
	cgroups_close(&cg);
}

static const struct test tests[] = {
	{"a job runs on while and after it is dumped", a_job_runs_on_while_and_after_it_is_dumped},
	{"a file that grew is cut back and its tail kept", a_file_that_grew_is_cut_back_and_its_tail_kept},
	{"so is a file opened to append", so_is_a_file_opened_to_append},
	{"a file changed in place is rolled back", a_file_changed_in_place_is_rolled_back},
	{"a file mapped shared is rolled back", a_file_mapped_shared_is_rolled_back},
	{"checkpoints written as files come back, open or closed", checkpoints_written_as_files_come_back_open_or_closed},
	{"an unlinked file comes back", an_unlinked_file_comes_back},
	{"a tree of processes keeps its shared memory", a_tree_of_processes_keeps_its_shared_memory},
	{"an image directory used again holds the newer snapshot only",
	 an_image_directory_used_again_holds_the_newer_snapshot_only},
	{"a snapshot restores twice, also beside the living original",
	 a_snapshot_restores_twice_also_beside_the_living_original},
	{"the arena is as it was in the snapshot", the_arena_is_as_it_was_in_the_snapshot},
	{"a node without the job's files gets those that travel", a_node_without_the_jobs_files_gets_those_that_travel},
	{"a restored job lives in its cgroup, and a refused one nowhere",
	 a_restored_job_lives_in_its_cgroup_and_a_refused_one_nowhere},
	{"CPU affinity is set again", cpu_affinity_is_set_again},
};

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (snapshot_tests_open())
		return 0;
	return harness_run("snapshot", tests, sizeof tests / sizeof *tests);
}
