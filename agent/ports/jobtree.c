/* Walks /proc for a job's processes and threads. See jobtree.h. */
#include "agent/ports/jobtree.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define PROCESSES_MAX 1000000

FILE *jobtree_open(pid_t pid, const char *name)
{
	char path[FS_PATH_MAX];
	return fopen(fs_path(path, "/proc/%d/%s", pid, name), "re");
}

pid_t jobtree_inner(pid_t pid, pid_t tid)
{
	char name[64], line[512];
	snprintf(name, sizeof name, "task/%d/status", tid);
	scoped_file FILE *f = jobtree_open(pid, name);
	while (f && fgets(line, sizeof line, f)) {
		if (strncmp(line, "NSpid:", 6))
			continue;
		const char *last = strrchr(line, '\t');
		return last ? (pid_t)strtol(last + 1, NULL, 10) : 0;
	}
	return 0;
}

static int add(struct jobtree *t, pid_t pid)
{
	if (t->count >= PROCESSES_MAX)
		return -1;
	if ((t->count & (t->count - 1)) == 0) { /* grow at powers of two */
		struct job_process *more = realloc(t->list, (t->count ? t->count * 2 : 1) * sizeof *more);
		if (!more)
			return -1;
		t->list = more;
	}
	struct job_process p = {.pid = pid, .inner = jobtree_inner(pid, pid)};
	scoped_file FILE *f = jobtree_open(pid, "comm");
	if (!f || !fgets(p.name, sizeof p.name, f))
		p.name[0] = '\0';
	p.name[strcspn(p.name, "\n")] = '\0';
	t->list[t->count++] = p;
	return 0;
}

static void visit_tasks(pid_t pid, void (*visit)(void *ctx, pid_t tid), void *ctx)
{
	char path[FS_PATH_MAX];
	scoped_dir DIR *d = opendir(fs_path(path, "/proc/%d/task", pid));
	for (struct dirent *ent; d && (ent = readdir(d));) {
		pid_t tid = (pid_t)strtol(ent->d_name, NULL, 10);
		if (tid > 0)
			visit(ctx, tid);
	}
}

struct child_walk {
	pid_t pid;
	void (*visit)(void *ctx, pid_t child);
	void *ctx;
};

static void children_of_task(void *ctx, pid_t tid)
{
	struct child_walk *w = ctx;
	char name[64];
	int child;
	snprintf(name, sizeof name, "task/%d/children", tid);
	scoped_file FILE *f = jobtree_open(w->pid, name);
	while (f && fscanf(f, "%d", &child) == 1)
		if (child > 0)
			w->visit(w->ctx, child);
}

void jobtree_children(pid_t pid, void (*visit)(void *ctx, pid_t child), void *ctx)
{
	struct child_walk w = {.pid = pid, .visit = visit, .ctx = ctx};
	visit_tasks(pid, children_of_task, &w);
}

struct walk {
	struct jobtree *tree;
	bool failed;
};

static void add_child(void *ctx, pid_t child)
{
	struct walk *w = ctx;
	if (add(w->tree, child))
		w->failed = true;
}

int jobtree_read(pid_t pid, struct jobtree *t, struct err *e)
{
	*t = (struct jobtree){0};
	if (pid <= 0 || kill(pid, 0))
		return err_set(e, ERR_NOT_FOUND, "there is no process %d", pid);
	struct walk w = {.tree = t, .failed = add(t, pid) != 0};
	for (size_t i = 0; i < t->count && !w.failed; i++)
		jobtree_children(t->list[i].pid, add_child, &w);
	if (!w.failed)
		return ERR_OK;
	jobtree_free(t);
	return err_set(e, ERR_FAILED, "cannot list the processes below %d: too many", pid);
}

void jobtree_free(struct jobtree *t)
{
	free(t->list);
	*t = (struct jobtree){0};
}

struct thread_walk {
	void (*visit)(void *ctx, const struct job_process *p, pid_t tid);
	void *ctx;
	const struct job_process *p;
};

static void pass_on(void *ctx, pid_t tid)
{
	struct thread_walk *w = ctx;
	w->visit(w->ctx, w->p, tid);
}

void jobtree_threads(const struct jobtree *t, void (*visit)(void *ctx, const struct job_process *p, pid_t tid),
		     void *ctx)
{
	for (size_t i = 0; i < t->count; i++) {
		struct thread_walk w = {.visit = visit, .ctx = ctx, .p = &t->list[i]};
		visit_tasks(t->list[i].pid, pass_on, &w);
	}
}

uint64_t jobtree_memory(pid_t pid)
{
	char line[256];
	unsigned long long kb;
	scoped_file FILE *f = jobtree_open(pid, "smaps_rollup");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "Anonymous: %llu kB", &kb) == 1)
			return kb * 1024;
	return 0;
}
