/* Owns starting a job from a process with threads: the spec into a memfd, clone3 into namespaces and cgroup,
 * nothing but system calls in the child until cpinit runs, and the answer from the report pipe. */
#include "agent/ports/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/init/spec.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

_Static_assert(SPEC_LIMITS >= RLIM_NLIMITS, "the spec has room for every limit");
_Static_assert(sizeof(((struct spec *)0)->cpus) == sizeof(cpu_set_t), "the spec has room for every CPU");

/* ---- the spec ---------------------------------------------------------------------------------- */

static uint32_t count(char *const *list)
{
	uint32_t n = 0;
	while (list[n])
		n++;
	return n;
}

static void fill_head(struct spec *s, const struct launch *l)
{
	*s = (struct spec){ .magic = SPEC_MAGIC,
		            .flags = (l->plain ? SPEC_PLAIN : 0u) | (l->affinity ? SPEC_AFFINITY : 0u),
		            .uid = l->uid,
		            .gid = l->gid,
		            .umask = l->umask,
		            .nice = l->nice,
		            .limits_set = l->limits_set,
		            .ngroups = (uint32_t)l->ngroups,
		            .argc = count(l->argv),
		            .envc = count(l->envp) };
	if (l->affinity)
		memcpy(s->cpus, l->affinity, sizeof s->cpus);
	for (int r = 0; r < RLIM_NLIMITS; r++)
		s->limits[r] = (struct spec_limit){ l->limits[r].rlim_cur, l->limits[r].rlim_max };
}

static void put_strings(FILE *f, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fwrite(list[i], 1, strlen(list[i]) + 1, f);
}

static int build_spec(const struct launch *l, char **data, size_t *len)
{
	struct spec head;
	const char *fixed[SPEC_FIXED_STRINGS] = { l->job_dir, l->log_dir, l->cwd ? l->cwd : "/",
		                                  l->stdin_path ? l->stdin_path : "" };
	FILE *f = open_memstream(data, len);
	if (!f)
		return -1;
	fill_head(&head, l);
	fwrite(&head, sizeof head, 1, f);
	if (l->ngroups > 0)
		fwrite(l->groups, sizeof *l->groups, l->ngroups, f);
	put_strings(f, fixed, SPEC_FIXED_STRINGS);
	put_strings(f, (const char *const *)l->argv, head.argc);
	put_strings(f, (const char *const *)l->envp, head.envc);
	if (fclose(f) != 0)
		return -1;
	head.total = (uint32_t)*len;
	memcpy(*data, &head, sizeof head);
	return 0;
}

static int spec_fd(const struct launch *l, int *out, struct err *e)
{
	if (!l->argv[0] || !*l->argv[0])
		return err_set(e, ERR_USAGE, "cannot start a job without a command");
	if (l->ngroups > SPEC_MAX_GROUPS)
		return err_set(e, ERR_USAGE, "a job may have %u groups, not %zu", SPEC_MAX_GROUPS, l->ngroups);
	scoped_free char *data = NULL;
	size_t len = 0;
	if (build_spec(l, &data, &len) < 0)
		return err_sys(e, ERR_FAILED, "cannot write down the job for cpinit");
	if (len > SPEC_MAX)
		return err_set(e, ERR_USAGE, "command line and environment take %zu bytes, more than %u", len,
		               SPEC_MAX);
	scoped_fd int fd = memfd_create("cpagent-spec", MFD_CLOEXEC);
	if (fd < 0 || fs_write_full(fd, data, len) < 0)
		return err_sys(e, ERR_FAILED, "cannot write down the job for cpinit");
	*out = scoped_take_fd(fd);
	return 0;
}

#define TEXT_BUSY_TRIES 1000

/* ---- the child --------------------------------------------------------------------------------- */

/* Everything the child needs, made before: between clone and exec it may only make system calls. */
struct start {
	int cpinit, spec, report; /* all above REPORT_FD */
	char *argv[4];
};

static void child(const struct start *s)
{
	static char *const no_env[] = { NULL };
	/* dup2 clears close-on-exec */
	if (dup2(s->spec, SPEC_FD) < 0 || dup2(s->report, REPORT_FD) < 0)
		_exit(125);
	/* ETXTBSY: another thread forked while this copy of cpinit was being written, and its child has not
	 * executed yet; no new writer can come */
	for (int i = 0; i < TEXT_BUSY_TRIES; i++) {
		syscall(SYS_execveat, s->cpinit, "", s->argv, no_env, AT_EMPTY_PATH);
		if (errno != ETXTBSY)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	struct spec_report r = { .step = STEP_REEXEC, .error = errno };
	_exit(write(REPORT_FD, &r, sizeof r) == sizeof r ? 125 : 124);
}

/* As fork(), but raw: glibc has no clone3, and its fork() runs handlers that a threaded parent cannot afford here.
 * Signals stay blocked (cpinit sets its own), or a handler of the agent would run in the child. */
static pid_t clone_child(const struct launch *l, const struct start *s, int *pidfd)
{
	struct clone_args args = { .flags = CLONE_PIDFD, .pidfd = (uintptr_t)pidfd, .exit_signal = SIGCHLD };
	sigset_t all, before;
	if (!l->plain)
		args.flags |= CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
	if (l->cgroup_fd >= 0 && !l->plain) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (unsigned)l->cgroup_fd;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		child(s);
	int saved = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = saved;
	return pid;
}

/* A copy of fd that dup2 to SPEC_FD and REPORT_FD cannot overwrite. */
static int lift(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, REPORT_FD + 1);
}

static int start_child(const struct launch *l, int spec, int report, struct launched *out, struct err *e)
{
	char path[FS_PATH_MAX];
	fs_path(path, "%s/" SPEC_CPINIT, l->job_dir);
	scoped_fd int binary = open(path, O_RDONLY | O_CLOEXEC);
	scoped_fd int high_binary = lift(binary), high_spec = lift(spec), high_report = lift(report);
	if (high_binary < 0 || high_spec < 0 || high_report < 0)
		return err_sys(e, ERR_FAILED, "cannot open %s", path);
	struct start s = {
		high_binary, high_spec, high_report, { (char *)"cpinit", (char *)"setup", (char *)l->uuid, NULL }
	};
	out->pid = clone_child(l, &s, &out->pidfd);
	if (out->pid >= 0)
		return 0;
	return err_sys(e, errno == EPERM ? ERR_DENIED : ERR_FAILED, "cannot make the namespaces of job %s",
	               l->uuid);
}

/* ---- the answer -------------------------------------------------------------------------------- */

static const char *const step_text[] = {
	[STEP_SPEC] = "cpinit cannot read the job",
	[STEP_MOUNTS] = "cannot make its mounts private",
	[STEP_PROC] = "cannot mount its /proc",
	[STEP_BIND_JOB] = "cannot mount its directory at " SPEC_JOB_DIR,
	[STEP_BIND_LOG] = "cannot mount its log directory at " SPEC_LOG_DIR,
	[STEP_REEXEC] = "cannot run cpinit from the job's directory (is it mounted noexec?)",
	[STEP_STDIO] = "cannot open its output files",
	[STEP_FORK] = "cannot fork",
	[STEP_GROUPS] = "cannot set its groups",
	[STEP_USER] = "cannot become its user",
	[STEP_CWD] = "cannot enter its directory",
	[STEP_STDIN] = "cannot open its input",
	[STEP_EXEC] = "cannot run the command",
};

static const char *step_object(const struct launch *l, int step)
{
	return step == STEP_CWD     ? l->cwd
	       : step == STEP_STDIN ? l->stdin_path
	       : step == STEP_EXEC  ? l->argv[0]
	                            : NULL;
}

static int say_failure(const struct launch *l, const struct spec_report *r, struct launched *out, struct err *e)
{
	bool known = r->step > 0 && (size_t)r->step < sizeof step_text / sizeof *step_text && step_text[r->step];
	const char *object = step_object(l, r->step);
	if (r->step == STEP_EXEC)
		out->status = r->error == ENOENT ? 127 : 126;
	errno = r->error;
	return err_sys(e,
	               r->error == ENOENT                        ? ERR_NOT_FOUND
	               : r->error == EACCES || r->error == EPERM ? ERR_DENIED
	                                                         : ERR_FAILED,
	               "%s%s%s", known ? step_text[r->step] : "cpinit failed", object ? " " : "",
	               object ? object : "");
}

/* The pipe's end without a word is the command's exec. */
static int await_report(const struct launch *l, int report, int timeout_ms, struct launched *out, struct err *e)
{
	struct pollfd p = { .fd = report, .events = POLLIN };
	struct spec_report r;
	int n;
	while ((n = poll(&p, 1, timeout_ms)) < 0 && errno == EINTR)
		;
	if (n == 0)
		return err_set(e, ERR_TIMEOUT,
		               "the command %s was not executed within %d ms; is its file system slow?",
		               l->argv[0], timeout_ms);
	ssize_t got = read(report, &r, sizeof r);
	if (got == 0)
		return 0;
	if (got != (ssize_t)sizeof r)
		return err_set(e, ERR_FAILED, "cpinit of job %s answered with nonsense", l->uuid);
	return say_failure(l, &r, out, e);
}

static void undo(struct launched *out)
{
	siginfo_t si;
	kill(out->pid, SIGKILL); /* pid 1 takes its namespace with it */
	while (waitid(P_PIDFD, (id_t)out->pidfd, &si, WEXITED) < 0 && errno == EINTR)
		;
	close(out->pidfd);
	out->pidfd = -1;
	out->pid = -1;
}

int launch_job(const struct launch *l, int timeout_ms, struct launched *out, struct err *e)
{
	*out = (struct launched){ .pid = -1, .pidfd = -1, .status = 125 };
	scoped_fd int spec = -1, report = -1, report_end = -1;
	int ends[2];
	if ((!l->plain && launch_prepare_node(e) < 0) || spec_fd(l, &spec, e) < 0 ||
	    launch_put_cpinit(l->cpinit, l->job_dir, e) < 0)
		return e ? e->code : ERR_FAILED;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, ERR_FAILED, "cannot make a pipe for job %s", l->uuid);
	report = ends[0], report_end = ends[1];
	int rc = start_child(l, spec, report_end, out, e);
	if (rc < 0)
		return rc;
	close(scoped_take_fd(report_end));
	rc = await_report(l, report, timeout_ms, out, e);
	if (rc < 0)
		undo(out);
	else
		out->status = 0;
	return rc;
}
