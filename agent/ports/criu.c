/* One run of CRIU's service: the process, its RPC socket, requests, notifications. Knows nothing of jobs.
 * CRIU opens our directories as /proc/OUR-PID/fd/N (it takes our pid from the socket's credentials), so the
 * fds in a request are plain numbers of this process. Called by snapshot_take.c, snapshot_restore.c, criu_find.c. */
#include "agent/ports/criu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/ports/criu_rpc.pb-c.h"
#include "lib/base/clock.h"
#include "lib/base/scoped.h"

#define RPC_FD 3
#define MESSAGE_MAX 65536
#define GHOST_LIMIT (1U << 30) /* an unlinked file of the job up to 1 GiB goes into the image */
#define LOG_LEVEL_WARN 2       /* more than errors and warnings costs time while the job is frozen */
#define FREEZE_SECONDS 10

/* ---- the process ------------------------------------------------------------------------------ */

/* In the child of a process with threads: only calls that are safe after fork. Closed on exec: all but 0 to 4. */
static void __attribute__((noreturn)) become_criu(const struct criu_start *how, const char *procs, int rpc)
{
	static const int reset[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGALRM, SIGUSR1, SIGUSR2};
	sigset_t none;
	sigemptyset(&none);
	for (size_t i = 0; i < sizeof reset / sizeof *reset; i++)
		signal(reset[i], SIG_DFL);
	signal(SIGPIPE, SIG_IGN); /* a receiver that went away is an error to report, not a death */
	sigprocmask(SIG_SETMASK, &none, NULL);

	if (*procs) {
		int fd = open(procs, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "0", 1) != 1)
			_exit(126);
	}
	/* above the numbers they are to get, so that neither dup2 overwrites the other */
	rpc = fcntl(rpc, F_DUPFD_CLOEXEC, 16);
	int pages = how->page_sock >= 0 ? fcntl(how->page_sock, F_DUPFD_CLOEXEC, 16) : -1;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	null = fcntl(null, F_DUPFD_CLOEXEC, 16);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	dup2(rpc, RPC_FD);
	if (pages >= 0)
		dup2(pages, CRIU_PAGE_FD);
	char *const argv[] = {(char *)"criu", (char *)"swrk", (char *)"3", NULL};
	execv(how->path, argv);
	_exit(127);
}

int criu_start(struct criu *c, const struct criu_start *how, struct err *e)
{
	char procs[FS_PATH_MAX] = "";
	int sv[2];
	*c = (struct criu){.sock = -1};
	if (access(how->path, X_OK))
		return err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_DENIED, "cannot run %s", how->path);
	if (how->cgroup)
		fs_path(procs, "%s/cgroup.procs", how->cgroup);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return err_sys(e, ERR_FAILED, "cannot make a socket for CRIU");
	pid_t pid = fork();
	if (pid == 0)
		become_criu(how, procs, sv[1]);
	close(sv[1]);
	if (pid < 0) {
		close(sv[0]);
		return err_sys(e, ERR_FAILED, "cannot start %s", how->path);
	}
	*c = (struct criu){.pid = pid, .sock = sv[0]};
	return ERR_OK;
}

/* Until the process ends, or for so long. */
static void await_end(pid_t pid, int64_t grace_ns)
{
	scoped_fd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t end = clock_boot_ns() + grace_ns;
	for (int64_t left = grace_ns; fd >= 0 && left > 0; left = end - clock_boot_ns())
		if (poll(&p, 1, (int)(left / NS_PER_MS) + 1) > 0)
			return;
}

void criu_close(struct criu *c, int64_t grace_ns)
{
	if (!grace_ns && c->pid > 0)
		kill(c->pid, SIGKILL); /* before it can notice, and say so in its log */
	if (c->sock >= 0)
		close(c->sock);
	c->sock = -1;
	if (c->pid <= 0)
		return;
	await_end(c->pid, grace_ns);
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	c->pid = 0;
}

/* ---- requests --------------------------------------------------------------------------------- */

static int send_request(const struct criu *c, const CriuRpcRequest *req, struct err *e)
{
	uint8_t buf[MESSAGE_MAX];
	size_t len = criu_rpc_request__get_packed_size(req);
	if (len > sizeof buf)
		return err_set(e, ERR_FAILED, "a request of %zu bytes is too long for CRIU", len);
	criu_rpc_request__pack(req, buf);
	ssize_t n;
	do {
		n = send(c->sock, buf, len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? err_sys(e, ERR_FAILED, "cannot reach the CRIU process") : ERR_OK;
}

int criu_request(const struct criu *c, const struct criu_opts *o, struct err *e)
{
	CriuRpcRequest req = CRIU_RPC_REQUEST__INIT;
	CriuRpcOpts opts = CRIU_RPC_OPTS__INIT;
	CriuRpcPageServer ps = CRIU_RPC_PAGE_SERVER__INIT;
	req.type = CRIU_RPC_TYPE__CRIU_RPC_VERSION;
	if (!o)
		return send_request(c, &req, e);

	req.type = o->restore ? CRIU_RPC_TYPE__CRIU_RPC_RESTORE : CRIU_RPC_TYPE__CRIU_RPC_DUMP;
	req.opts = &opts;
	opts.images_dir_fd = o->img_fd;
	opts.has_work_dir_fd = true;
	opts.work_dir_fd = o->work_fd;
	opts.log_file = (char *)o->log_file;
	opts.has_log_level = true;
	opts.log_level = LOG_LEVEL_WARN;
	opts.has_notify_scripts = opts.notify_scripts = true;
	opts.has_manage_cgroups_mode = true;
	opts.manage_cgroups_mode = 0;
	opts.has_file_locks = opts.file_locks = true;
	opts.has_ext_unix_sk = opts.ext_unix_sk = true; /* datagram sockets such as the one to syslog */
	opts.has_tcp_established = opts.tcp_established = o->tcp_established;
	opts.has_tcp_close = opts.tcp_close = !o->tcp_established;
	for (opts.n_external = 0; o->external[opts.n_external]; opts.n_external++)
		;
	opts.external = (char **)o->external;
	if (o->restore) {
		opts.root = (char *)"/";
		opts.has_rst_sibling = opts.rst_sibling = true;
	} else {
		opts.has_pid = true;
		opts.pid = o->pid;
		opts.has_leave_running = opts.leave_running = true;
		opts.has_ghost_limit = true;
		opts.ghost_limit = GHOST_LIMIT;
		opts.has_timeout = true;
		opts.timeout = FREEZE_SECONDS;
	}
	if (o->page_server) {
		ps.has_fd = true;
		ps.fd = CRIU_PAGE_FD;
		opts.ps = &ps;
	}
	return send_request(c, &req, e);
}

int criu_answer(const struct criu *c, bool go_on, struct err *e)
{
	CriuRpcRequest req = CRIU_RPC_REQUEST__INIT;
	req.type = CRIU_RPC_TYPE__CRIU_RPC_NOTIFY;
	req.has_notify_success = true;
	req.notify_success = go_on;
	return send_request(c, &req, e);
}

/* ---- events ----------------------------------------------------------------------------------- */

/* Wait until the socket can be read. */
static int wait_readable(const struct criu *c, int64_t deadline_ns, struct err *e)
{
	for (;;) {
		int64_t left = deadline_ns - clock_boot_ns();
		if (left <= 0)
			return err_set(e, ERR_TIMEOUT, "CRIU did not finish in time");
		int64_t ms = left / NS_PER_MS + 1;
		struct pollfd p = {.fd = c->sock, .events = POLLIN};
		int n = poll(&p, 1, ms > 60000 ? 60000 : (int)ms);
		if (n > 0)
			return ERR_OK;
		if (n < 0 && errno != EINTR)
			return err_sys(e, ERR_FAILED, "cannot wait for CRIU");
	}
}

static void read_response(const CriuRpcResponse *r, struct criu_event *ev)
{
	*ev = (struct criu_event){.kind = CRIU_DONE, .success = r->success};
	if (r->type == CRIU_RPC_TYPE__CRIU_RPC_NOTIFY && r->notify) {
		ev->kind = CRIU_NOTIFY;
		if (r->notify->script)
			strncpy(ev->script, r->notify->script, sizeof ev->script - 1);
		if (r->notify->has_pid)
			ev->pid = r->notify->pid;
	}
	if (r->restore)
		ev->pid = r->restore->pid;
	if (r->version)
		ev->version = r->version->major_number * 10000 + r->version->minor_number * 100 +
			      (r->version->has_sublevel ? r->version->sublevel : 0);
}

int criu_next(const struct criu *c, int64_t deadline_ns, struct criu_event *ev, struct err *e)
{
	uint8_t buf[MESSAGE_MAX];
	ssize_t n;
	do {
		if (wait_readable(c, deadline_ns, e))
			return e ? e->code : ERR_TIMEOUT;
		/* CRIU passes fds with some notifications; without room for them the kernel drops them */
		n = recv(c->sock, buf, sizeof buf, MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n < 0 && errno != ECONNRESET)
		return err_sys(e, ERR_FAILED, "cannot hear the CRIU process");
	if (n <= 0)
		return err_set(e, ERR_FAILED, "the CRIU process ended before its work was done");
	CriuRpcResponse *r = criu_rpc_response__unpack(NULL, (size_t)n, buf);
	if (!r)
		return err_set(e, ERR_FAILED, "CRIU sent a message that does not parse");
	read_response(r, ev);
	criu_rpc_response__free_unpacked(r, NULL);
	return ERR_OK;
}
