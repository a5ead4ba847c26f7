/* Snapshots when something goes wrong, or somebody wants it to: the job runs on, nothing is touched that is not the
 * job's, and the operator reads why. Needs root. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "agent/ports/cgroup.h"
#include "agent/ports/jobfiles.h"
#include "agent/ports/jobtree.h"
#include "agent/ports/precheck.h"
#include "tests/unit/harness.h"
#include "tests/unit/snapshot_job.h"

#define NOBODY 65534

/* ---- dumps that are disturbed ----------------------------------------------------------------- */

/* Until CRIU has seized the process: from then on it is being dumped. */
static bool await_seized(pid_t pid)
{
	for (int64_t end = clock_boot_ns() + WAIT_NS; clock_boot_ns() < end;) {
		char line[256];
		int tracer = 0;
		scoped_file FILE *f = jobtree_open(pid, "status");
		while (f && fgets(line, sizeof line, f))
			if (sscanf(line, "TracerPid: %d", &tracer) == 1 && tracer)
				return true;
	}
	return false;
}

/* Until the pages of the job's pid 1 are there and those of its large process are on their way. CRIU can be killed
 * now; earlier or later the job may die with it, as it then runs code of CRIU's that only CRIU can undo. */
static bool await_pages(const char *img)
{
	char path[FS_PATH_MAX];
	fs_path(path, "%s/pagemap-1.img", img);
	for (int64_t end = clock_boot_ns() + WAIT_NS; clock_boot_ns() < end;)
		if (!access(path, F_OK))
			return true;
	return false;
}

/* Somebody who sends CRIU a signal while the job is frozen. */
struct disturber {
	const char *img;
	pid_t criu;
	int signal;
	pthread_t thread;
	bool sent, unwatched;
};

static void *disturb(void *arg)
{
	struct disturber *d = arg;
	if (await_pages(d->img) && d->criu > 1)
		d->sent = kill(d->criu, d->signal) == 0;
	return NULL;
}

static void on_watch(void *ctx, pid_t criu)
{
	struct disturber *d = ctx;
	d->criu = criu;
	pthread_create(&d->thread, NULL, disturb, d);
}

static void on_unwatch(void *ctx, pid_t criu)
{
	struct disturber *d = ctx;
	d->unwatched = criu == d->criu;
	pthread_join(d->thread, NULL);
}

static int take_disturbed(struct job *j, int signal, int64_t watchdog_ns)
{
	struct disturber d = {.img = j->img, .signal = signal};
	struct snapshot_take how = job_how_to_take(j);
	how.watchdog_ns = watchdog_ns;
	how.watch = on_watch;
	how.unwatch = on_unwatch;
	how.ctx = &d;
	int rc = snapshot_take(&how, &j->taken, &j->e);
	CU_ASSERT(d.sent && d.unwatched);
	return rc;
}

static void runs_on_and_can_be_dumped(struct job *j)
{
	CU_ASSERT(job_goes_on(j, 200));
	CU_ASSERT(job_lives(j->copies[0]));
	CU_ASSERT_EQUAL(job_take(j), 0);
	CU_ASSERT(job_goes_on(j, 100));
	job_kill(j, 0);
	CU_ASSERT_EQUAL(job_restore(j), 0);
	CU_ASSERT(job_goes_on(j, 100));
}

static void a_job_whose_criu_is_killed_runs_on(void)
{
	struct job j;
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "memory", "100") && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL(take_disturbed(&j, SIGKILL, 0), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(j.e.text, "the job runs on"));
	runs_on_and_can_be_dumped(&j);
	job_clean(&j);
}

static void a_dump_that_hangs_is_ended_by_the_watchdog(void)
{
	struct job j;
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "memory", "100") && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL(take_disturbed(&j, SIGSTOP, 5 * NS_PER_S), ERR_TIMEOUT);
	CU_ASSERT_PTR_NOT_NULL(strstr(j.e.text, "took too long"));
	runs_on_and_can_be_dumped(&j);
	job_clean(&j);
}

static void a_dump_ended_at_any_moment_leaves_the_job_running(void)
{
	struct job j;
	int given_up = 0;
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "memory", "60") && job_goes_on(&j, 50));
	for (int ms = 40; ms < 160; ms += 5) {
		struct snapshot_take how = job_how_to_take(&j);
		how.watchdog_ns = ms * NS_PER_MS;
		int rc = snapshot_take(&how, &j.taken, &j.e);
		given_up += rc == ERR_TIMEOUT;
		CU_ASSERT(rc == 0 || rc == ERR_TIMEOUT);
		CU_ASSERT_FATAL(job_goes_on(&j, 10));
	}
	CU_ASSERT(given_up > 0);
	runs_on_and_can_be_dumped(&j);
	job_clean(&j);
}

static void an_agent_killed_in_the_middle_of_a_dump_leaves_the_job_running(void)
{
	struct job j;
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "memory", "200") && job_goes_on(&j, 50));
	pid_t agent = fork();
	if (agent == 0) {
		job_take(&j);
		_exit(0);
	}
	CU_ASSERT_FATAL(agent > 0);
	CU_ASSERT(await_seized(j.copies[0]));
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
	runs_on_and_can_be_dumped(&j);
	job_clean(&j);
}

static void a_full_disk_costs_the_snapshot_and_not_the_job(void)
{
	struct job j;
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "memory", "20") && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL_FATAL(mount("tmpfs", j.img, "tmpfs", 0, "size=8m"), 0);
	struct snapshot_take how = job_how_to_take(&j);
	CU_ASSERT_EQUAL(snapshot_take(&how, &j.taken, &j.e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(j.e.text, "No space left"));
	umount(j.img);
	runs_on_and_can_be_dumped(&j);
	job_clean(&j);
}

static void a_refusal_of_criu_is_told_in_its_own_words(void)
{
	struct job j;
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "userfaultfd", NULL) && job_goes_on(&j, 50));
	struct snapshot_take how = job_how_to_take(&j);
	CU_ASSERT_EQUAL(snapshot_take(&how, &j.taken, &j.e), ERR_FAILED);
	printf("    %s\n", j.e.text);
	CU_ASSERT_PTR_NOT_NULL(strstr(j.e.text, "CRIU says"));
	CU_ASSERT_PTR_NOT_NULL(strstr(j.e.text, "userfaultfd"));
	CU_ASSERT(job_goes_on(&j, 100));
	job_clean(&j);
}

/* ---- restores that cannot be ------------------------------------------------------------------ */

static bool fails_naming(struct job *j, const struct snapshot_restore *how, const char *what)
{
	pid_t pid = 0;
	int rc = snapshot_restore(how, &pid, &j->e);
	printf("    %s\n", j->e.text);
	return rc == ERR_FAILED && pid == 0 && strstr(j->e.text, what);
}

static void a_file_that_got_shorter_is_named(void)
{
	struct job j;
	char big[160];
	job_make(&j);
	snprintf(big, sizeof big, "%s/big", j.dir);
	int fd = open(big, O_WRONLY | O_CREAT, 0644);
	CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, 2 << 20) == 0);
	close(fd);
	CU_ASSERT_FATAL(job_start(&j, "append", big) && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL_FATAL(job_take(&j), 0);
	job_kill(&j, 0);
	CU_ASSERT_EQUAL(truncate(big, 1000), 0);
	struct snapshot_restore how = job_how_to_restore(&j);
	CU_ASSERT(fails_naming(&j, &how, big));
	unlink(big);
	CU_ASSERT(fails_naming(&j, &how, "--files carry"));
	job_clean(&j);
}

static void a_damaged_image_leaves_nothing_running(void)
{
	struct job j;
	char path[FS_PATH_MAX];
	job_make(&j);
	CU_ASSERT_FATAL(job_start(&j, "lines", NULL) && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL_FATAL(job_take(&j), 0);
	job_kill(&j, 0);
	CU_ASSERT_EQUAL(truncate(fs_path(path, "%s/core-2.img", j.img), 100), 0);
	struct snapshot_restore how = job_how_to_restore(&j);
	CU_ASSERT(fails_naming(&j, &how, "CRIU says"));
	CU_ASSERT_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
	job_clean(&j);
}

static void a_restore_given_up_at_any_moment_leaves_nothing_running(void)
{
	struct job j;
	struct cgroups cg;
	char dir[FS_PATH_MAX + 8], suffix[16];
	int given_up = 0;
	pid_t pid;
	job_make(&j);
	CU_ASSERT_FATAL(cgroups_open(&cg, "cpa-test-faults", &j.e) == 0 && cgroup_make(&cg, "job", &j.e) == 0);
	snprintf(dir, sizeof dir, "%s/job", cg.node);
	CU_ASSERT_FATAL(job_start(&j, "tree", "3") && job_goes_on(&j, 50));
	CU_ASSERT_EQUAL_FATAL(job_take(&j), 0);
	job_kill(&j, 0);
	for (int ms = 2; ms < 150; ms += 6) {
		struct snapshot_restore how = job_how_to_restore(&j);
		snprintf(suffix, sizeof suffix, "%d", ms);
		how.cgroup = dir;
		how.tail_suffix = suffix;
		how.watchdog_ns = ms * NS_PER_MS;
		int rc = snapshot_restore(&how, &pid, &j.e);
		given_up += rc == ERR_TIMEOUT;
		CU_ASSERT(rc == 0 || rc == ERR_TIMEOUT);
		if (rc == 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
		CU_ASSERT_EQUAL(cgroup_wait_empty(&cg, "job", 5000, &j.e), 0);
		CU_ASSERT_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
	}
	CU_ASSERT(given_up > 0);
	job_clean(&j);
	CU_ASSERT_EQUAL(cgroup_remove(&cg, "job", 5000, &j.e), 0);
	cgroups_close(&cg);
}

/* ---- users who want root to do something for them --------------------------------------------- */

struct trap {
	char dir[64], victim[128], file[128];
	struct jobfile f;
	int img, fd;
};

/* A user's directory, and a file of root's that the user would like to have cut. */
static void trap_make(struct trap *t)
{
	*t = (struct trap){.dir = "/var/tmp/cpa-trap.XXXXXX"};
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(t->dir));
	CU_ASSERT_EQUAL(chown(t->dir, NOBODY, NOBODY), 0);
	snprintf(t->victim, sizeof t->victim, "%s/victim", t->dir);
	snprintf(t->file, sizeof t->file, "%s/file", t->dir);
	t->fd = open(t->victim, O_RDWR | O_CREAT, 0644);
	CU_ASSERT_EQUAL(write(t->fd, "precious", 8), 8);
	t->img = open(t->dir, O_RDONLY | O_DIRECTORY);
	t->f = (struct jobfile){.path = t->file, .kind = JOBFILE_APPEND, .size = 2, .mode = 0644, .owner = NOBODY,
				.owner_group = NOBODY, .rights = {.uid = NOBODY, .gid = NOBODY}, .source = -1};
}

static int trap_restore(struct trap *t, struct err *e)
{
	struct jobfiles all = {.list = &t->f, .count = 1};
	return jobfiles_restore(&all, SNAPSHOT_FILES_TRACK, t->img, t->dir, t->dir, "1", e);
}

static void trap_clean(struct trap *t)
{
	struct stat st;
	CU_ASSERT(fstat(t->fd, &st) == 0 && st.st_size == 8 && st.st_uid == 0);
	close(t->fd);
	close(t->img);
	fs_remove_tree(t->dir, NULL);
}

static void a_link_swapped_in_leads_nowhere(void)
{
	struct trap t;
	struct err e = {0};
	trap_make(&t);
	CU_ASSERT_EQUAL(symlink(t.victim, t.file), 0);
	CU_ASSERT_EQUAL(trap_restore(&t, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "no longer the file"));
	trap_clean(&t);
}

static void a_file_is_opened_with_the_jobs_rights_only(void)
{
	struct trap t;
	struct err e = {0};
	trap_make(&t);
	t.f.path = t.victim; /* as after a directory was swapped for a link */
	CU_ASSERT_EQUAL(trap_restore(&t, &e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "Permission denied"));
	CU_ASSERT_EQUAL((int)syscall(SYS_setfsuid, -1), 0);
	trap_clean(&t);
}

static void a_log_that_is_another_users_file_is_not_cut(void)
{
	struct trap t;
	struct err e = {0};
	trap_make(&t);
	t.f.kind = JOBFILE_LOG;
	t.f.path = (char *)SNAPSHOT_LOG_MOUNT "/file";
	CU_ASSERT_EQUAL(link(t.victim, t.file), 0);
	CU_ASSERT_EQUAL(trap_restore(&t, &e), ERR_FAILED);
	trap_clean(&t);
}

static void an_own_file_is_cut_and_the_tail_is_the_users(void)
{
	struct trap t;
	struct err e = {0};
	struct stat st;
	char tail[160];
	trap_make(&t);
	int fd = open(t.file, O_RDWR | O_CREAT, 0644);
	CU_ASSERT(fchown(fd, NOBODY, NOBODY) == 0 && write(fd, "abcd", 4) == 4);
	CU_ASSERT_EQUAL(trap_restore(&t, &e), 0);
	CU_ASSERT(fstat(fd, &st) == 0 && st.st_size == 2);
	snprintf(tail, sizeof tail, "%s.cpagent-tail.1", t.file);
	CU_ASSERT(stat(tail, &st) == 0 && st.st_size == 2 && st.st_uid == NOBODY);
	close(fd);
	trap_clean(&t);
}

/* ---- what precheck says ----------------------------------------------------------------------- */

static void precheck_of(struct job *j, const char *mode, const char *arg, struct precheck *found)
{
	job_make(j);
	CU_ASSERT_FATAL(job_start(j, mode, arg) && job_goes_on(j, 50));
	CU_ASSERT_EQUAL(precheck_job(j->copies[0], found, &j->e), 0);
	for (size_t i = 0; i < found->count; i++)
		printf("    %s\n", found->list[i].text);
}

static void a_plain_job_has_nothing_against_a_snapshot(void)
{
	struct job j;
	struct precheck found;
	precheck_of(&j, "lines", "/dev/null", &found);
	CU_ASSERT(found.count == 0 && precheck_verdict(&found, NULL) == 0);
	job_clean(&j);
}

static void an_established_connection_is_named_and_ends_at_a_restore(void)
{
	struct job j;
	struct precheck found;
	char port[16];
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CU_ASSERT_FATAL(bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 4) == 0);
	getsockname(fd, (struct sockaddr *)&at, &len);
	snprintf(port, sizeof port, "%u", ntohs(at.sin_port));
	precheck_of(&j, "connect", port, &found);
	CU_ASSERT(found.count == 1 && found.refusing == 0);
	CU_ASSERT(strstr(found.list[0].text, "established connection to 127.0.0.1:") &&
		  strstr(found.list[0].text, port));
	CU_ASSERT_EQUAL(job_take(&j), 0);
	job_kill(&j, 0);
	close(fd);
	CU_ASSERT_EQUAL(job_restore(&j), 0);
	CU_ASSERT(job_goes_on(&j, 100));
	job_clean(&j);
}

static void a_unix_connection_to_outside_refuses(void)
{
	struct job j;
	struct precheck found;
	struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/var/tmp/cpa-snapshot-test.sock"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(at.sun_path);
	CU_ASSERT_FATAL(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 4) == 0);
	precheck_of(&j, "connect-unix", at.sun_path, &found);
	int peer = accept(fd, NULL, NULL);
	CU_ASSERT_EQUAL(precheck_job(j.copies[0], &found, &j.e), 0);
	CU_ASSERT_EQUAL(precheck_verdict(&found, &j.e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(j.e.text, "unix socket"));
	close(peer);
	close(fd);
	unlink(at.sun_path);
	job_clean(&j);
}

static void refuses(const char *mode, const char *arg, const char *words)
{
	struct job j;
	struct precheck found;
	precheck_of(&j, mode, arg, &found);
	CU_ASSERT_EQUAL(precheck_verdict(&found, &j.e), ERR_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(j.e.text, words));
	job_clean(&j);
}

static void a_device_and_a_userfaultfd_refuse(void)
{
	refuses("device", "/dev/fuse", "the device /dev/fuse");
	refuses("userfaultfd", NULL, "userfaultfd");
}

static void a_terminal_from_outside_refuses(void)
{
	char slave[64];
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	CU_ASSERT_FATAL(master >= 0 && unlockpt(master) == 0 && ptsname_r(master, slave, sizeof slave) == 0);
	refuses("device", slave, "the terminal");
	close(master);
}

static const struct test tests[] = {
	{"a job whose CRIU is killed runs on", a_job_whose_criu_is_killed_runs_on},
	{"a dump that hangs is ended by the watchdog", a_dump_that_hangs_is_ended_by_the_watchdog},
	{"a dump ended at any moment leaves the job running", a_dump_ended_at_any_moment_leaves_the_job_running},
	{"an agent killed in the middle of a dump leaves the job running",
	 an_agent_killed_in_the_middle_of_a_dump_leaves_the_job_running},
	{"a full disk costs the snapshot and not the job", a_full_disk_costs_the_snapshot_and_not_the_job},
	{"a refusal of CRIU is told in its own words", a_refusal_of_criu_is_told_in_its_own_words},
	{"a file that got shorter is named", a_file_that_got_shorter_is_named},
	{"a damaged image leaves nothing running", a_damaged_image_leaves_nothing_running},
	{"a restore given up at any moment leaves nothing running",
	 a_restore_given_up_at_any_moment_leaves_nothing_running},
	{"a link swapped in leads nowhere", a_link_swapped_in_leads_nowhere},
	{"a file is opened with the job's rights only", a_file_is_opened_with_the_jobs_rights_only},
	{"a log that is another user's file is not cut", a_log_that_is_another_users_file_is_not_cut},
	{"an own file is cut and the tail is the user's", an_own_file_is_cut_and_the_tail_is_the_users},
	{"a plain job has nothing against a snapshot", a_plain_job_has_nothing_against_a_snapshot},
	{"an established connection is named and ends at a restore",
	 an_established_connection_is_named_and_ends_at_a_restore},
	{"a unix connection to outside refuses", a_unix_connection_to_outside_refuses},
	{"a device and a userfaultfd refuse", a_device_and_a_userfaultfd_refuse},
	{"a terminal from outside refuses", a_terminal_from_outside_refuses},
};

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (snapshot_tests_open())
		return 0;
	return harness_run("snapshot faults", tests, sizeof tests / sizeof *tests);
}
