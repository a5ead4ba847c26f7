/* Owns the step from pid 1's child to the job's command: session, limits, CPUs, user, directory, input, exec. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/init/init.h"

_Static_assert(SPEC_CPUS == CPU_SETSIZE, "the spec's CPU mask is a cpu_set_t");

/* A limit above what this process may grant is cut, not refused: a login on another host may have had more. */
static void set_limit(int resource, const struct spec_limit *want)
{
	struct rlimit have, set = { .rlim_cur = want->soft, .rlim_max = want->hard };
	if (setrlimit((__rlimit_resource_t)resource, &set) == 0 ||
	    getrlimit((__rlimit_resource_t)resource, &have) < 0)
		return;
	if (set.rlim_max > have.rlim_max)
		set.rlim_max = have.rlim_max;
	if (set.rlim_cur > set.rlim_max)
		set.rlim_cur = set.rlim_max;
	setrlimit((__rlimit_resource_t)resource, &set);
}

/* What a job can do without if this node refuses: fewer CPUs than asked for, a lower priority. */
static void apply_scheduling(const struct spec *s)
{
	for (int r = 0; r < SPEC_LIMITS; r++)
		if (s->limits_set & 1u << r)
			set_limit(r, &s->limits[r]);
	if (s->flags & SPEC_AFFINITY)
		sched_setaffinity(0, sizeof s->cpus, (const cpu_set_t *)s->cpus);
	setpriority(PRIO_PROCESS, 0, s->nice);
}

static void become_user(const struct job *j)
{
	const struct spec *s = j->spec;
	if (s->flags & SPEC_PLAIN) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* no pid namespace ends it with its cpinit */
		return;
	}
	if (setgroups(s->ngroups, j->groups) < 0)
		init_fail(STEP_GROUPS);
	if (setresgid(s->gid, s->gid, s->gid) < 0 || setresuid(s->uid, s->uid, s->uid) < 0)
		init_fail(STEP_USER);
}

static void open_input(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOCTTY);
	if (fd < 0 || dup2(fd, 0) < 0)
		init_fail(STEP_STDIN);
	if (fd > 0)
		close(fd);
}

_Noreturn void command_exec(const struct job *j)
{
	sigset_t none;
	sigemptyset(&none);
	setsid();
	apply_scheduling(j->spec);
	become_user(j);
	umask(j->spec->umask);
	/* from here with the job's own rights, on its own files */
	if (chdir(j->cwd) < 0)
		init_fail(STEP_CWD);
	if (*j->stdin_path)
		open_input(j->stdin_path);
	sigprocmask(SIG_SETMASK, &none, NULL);
	environ = j->envp; /* execvp looks into this PATH */
	execvp(j->argv[0], j->argv);
	init_fail(STEP_EXEC);
}
