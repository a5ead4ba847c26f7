/* Owns the process connector: a netlink socket over libnl and the translation of its messages. What the kernel
 * filters out before is in procevents_filter.c. */
#include "agent/ports/procevents.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/ports/procevents_filter.h"
#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/scoped.h"

#define ANSWER_MS 500    /* the kernel answers a subscription at once, or never */
#define BUFFER (1 << 20) /* thousands of events while the loop is busy */
#define ANCESTORS_MAX 16
#define BATCH 256 /* events read in one go, so that a storm cannot hold the loop */

struct procevents {
	struct nl_sock *sk;
	procevents_fn *fn;
	void *ctx;
	uint32_t mark; /* tells the answer to our subscription from those to others' */
	bool answered;
	uint32_t refusal; /* errno of the answer; 0: subscribed */
};

/* ---- messages ---------------------------------------------------------------------------------- */

static void deliver(struct procevents *p, const struct proc_event *from, size_t len)
{
	struct procevent ev = { .mono_ns = from->timestamp_ns };
	int status = (int)from->event_data.exit.exit_code;
	switch ((unsigned)from->what) {
	case PROC_EVENT_FORK:
		ev.type = PROCEVENT_FORK;
		ev.pid = from->event_data.fork.child_tgid;
		ev.parent = from->event_data.fork.parent_tgid;
		break;
	case PROC_EVENT_EXEC:
		ev.type = PROCEVENT_EXEC;
		ev.pid = from->event_data.exec.process_tgid;
		break;
	case PROC_EVENT_EXIT:
		ev.type = PROCEVENT_EXIT;
		ev.pid = from->event_data.exit.process_tgid;
		/* Linux before 4.18 does not tell the parent */
		ev.parent = len >= sizeof *from ? from->event_data.exit.parent_tgid : 0;
		ev.code = WIFSIGNALED(status) ? -1 : WEXITSTATUS(status);
		ev.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
		break;
	default:
		return;
	}
	p->fn(p->ctx, &ev);
}

/* NL_CB_MSG_IN, not NL_CB_VALID: the connector's messages bear the type NLMSG_DONE, which libnl takes for the end
 * of a dump. */
static int on_message(struct nl_msg *msg, void *ctx)
{
	struct procevents *p = ctx;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct cn_msg cn;
	struct proc_event ev = { 0 };
	size_t len = (size_t)nlmsg_datalen(h);
	if (nlmsg_get_src(msg)->nl_pid != 0 || len < sizeof cn) /* any process may send to a netlink socket */
		return NL_SKIP;
	memcpy(&cn, nlmsg_data(h), sizeof cn);
	len -= sizeof cn;
	if (cn.id.idx != CN_IDX_PROC || len < offsetof(struct proc_event, event_data) + sizeof ev.event_data.ack)
		return NL_SKIP;
	len = len < sizeof ev ? len : sizeof ev;
	memcpy(&ev, (const char *)nlmsg_data(h) + sizeof cn, len);
	if (ev.what != PROC_EVENT_NONE) {
		deliver(p, &ev, len);
	} else if (cn.ack == p->mark + 1) {
		p->answered = true;
		p->refusal = ev.event_data.ack.err;
	}
	return NL_SKIP;
}

/* One datagram: 1 when there was one, 0 when there is none, negative when the socket is broken. */
static int read_one(struct procevents *p, struct err *e)
{
	int rc = nl_recvmsgs_default(p->sk);
	if (rc == -NLE_AGAIN)
		return 0;
	if (rc == -NLE_NOMEM) { /* ENOBUFS */
		p->fn(p->ctx, &(struct procevent){ .type = PROCEVENT_LOST });
		return 1;
	}
	return rc < 0 ? err_set(e, ERR_FAILED, "cannot read process events: %s", nl_geterror(rc)) : 1;
}

int procevents_read(struct procevents *p, struct err *e)
{
	int rc = 1;
	for (int i = 0; i < BATCH && rc > 0; i++)
		rc = read_one(p, e);
	return rc < 0 ? rc : 0;
}

/* ---- subscribing ------------------------------------------------------------------------------- */

static int ask(struct procevents *p, enum proc_cn_mcast_op op)
{
	struct cn_msg head = { .id = { CN_IDX_PROC, CN_VAL_PROC }, .ack = p->mark, .len = sizeof(uint32_t) };
	uint32_t word = op;
	char msg[sizeof head + sizeof word];
	memcpy(msg, &head, sizeof head);
	memcpy(msg + sizeof head, &word, sizeof word);
	return nl_send_simple(p->sk, NLMSG_DONE, 0, msg, sizeof msg);
}

static int await_answer(struct procevents *p, struct err *e)
{
	int64_t end = clock_boot_ns() + ANSWER_MS * NS_PER_MS;
	while (!p->answered) {
		int64_t left = (end - clock_boot_ns()) / NS_PER_MS;
		struct pollfd fd = { .fd = nl_socket_get_fd(p->sk), .events = POLLIN };
		if (left <= 0)
			return err_set(e, ERR_DENIED, "the kernel gives no process events to this pid namespace");
		poll(&fd, 1, (int)left);
		int rc = procevents_read(p, e);
		if (rc < 0)
			return rc;
	}
	errno = (int)p->refusal;
	return p->refusal ? err_sys(e, ERR_DENIED, "the kernel refuses process events") : 0;
}

static int subscribe(struct procevents *p, unsigned mask, struct err *e)
{
	int rc = nl_connect(p->sk, NETLINK_CONNECTOR);
	if (rc == 0)
		rc = nl_socket_set_buffer_size(p->sk, BUFFER, 0);
	if (rc == 0)
		rc = nl_socket_set_nonblocking(p->sk);
	if (rc == 0 && procevents_attach_filter(nl_socket_get_fd(p->sk), mask) < 0)
		return err_sys(e, ERR_FAILED, "cannot filter process events");
	if (rc == 0)
		rc = nl_socket_add_membership(p->sk, CN_IDX_PROC);
	if (rc == 0 && (rc = ask(p, PROC_CN_MCAST_LISTEN)) > 0)
		rc = 0;
	if (rc < 0)
		return err_set(e, ERR_DENIED, "the kernel gives no process events to this process: %s",
		               nl_geterror(rc));
	return await_answer(p, e);
}

static struct nl_sock *new_socket(struct procevents *p)
{
	struct nl_sock *sk = nl_socket_alloc();
	if (!sk)
		return NULL;
	nl_socket_disable_seq_check(sk);
	nl_socket_disable_auto_ack(sk);
	nl_socket_disable_msg_peek(sk);
	nl_socket_set_msg_buf_size(sk, 4096);
	nl_socket_modify_cb(sk, NL_CB_MSG_IN, NL_CB_CUSTOM, on_message, p);
	return sk;
}

static int try_here(struct procevents *p, unsigned mask, struct err *e)
{
	p->sk = new_socket(p);
	if (!p->sk)
		return err_set(e, ERR_FAILED, "out of memory for process events");
	int rc = subscribe(p, mask, e);
	if (rc < 0) {
		nl_socket_free(p->sk);
		p->sk = NULL;
	}
	return rc;
}

static pid_t parent_of(pid_t pid)
{
	char path[64];
	scoped_free char *text = NULL;
	size_t len;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	const char *name_end = fs_read(path, 4096, &text, &len, NULL) == 0 ? strrchr(text, ')') : NULL;
	return name_end && strlen(name_end) > 4 ? (pid_t)strtol(name_end + 4, NULL, 10) : 0; /* ") S PPID" */
}

/* pid's network namespace, when it is another than `own`; or -1. */
static int other_netns(pid_t pid, const struct stat *own)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && fstat(fd, &st) == 0 && st.st_ino != own->st_ino ? scoped_take_fd(fd) : -1;
}

static int try_in_netns(struct procevents *p, unsigned mask, int own, int there, struct err *e)
{
	struct err ignored;
	if (setns(there, CLONE_NEWNET) < 0)
		return ERR_DENIED;
	int rc = try_here(p, mask, &ignored);
	if (setns(own, CLONE_NEWNET) < 0)
		abort(); /* all that this thread does from here on would happen on the wrong network */
	if (rc == 0 && e)
		*e = (struct err){ 0 };
	return rc;
}

/* The connector lives in the machine's first network namespace only, but a socket stays in the one it was made in.
 * So this thread goes there for a moment: to that of pid 1, else (where pid 1 is out of reach) of an ancestor. */
static int try_in_first_netns(struct procevents *p, unsigned mask, struct err *e)
{
	struct stat st;
	scoped_fd int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own < 0 || fstat(own, &st) < 0)
		return e->code;
	pid_t pid = 1, up = getpid();
	for (int i = 0; i < ANCESTORS_MAX && pid > 0; i++) {
		scoped_fd int there = other_netns(pid, &st);
		if (there >= 0 && try_in_netns(p, mask, own, there, e) == 0)
			return 0;
		pid = up = parent_of(up);
	}
	return e->code; /* what the first try said stands */
}

int procevents_open(struct procevents **out, unsigned mask, procevents_fn *fn, void *ctx, struct err *e)
{
	struct err local;
	struct procevents *p = *out = calloc(1, sizeof *p);
	e = e ? e : &local;
	if (!p)
		return err_set(e, ERR_FAILED, "out of memory for process events");
	p->fn = fn;
	p->ctx = ctx;
	p->mark = (uint32_t)getpid();
	int rc = try_here(p, mask, e);
	if (rc == ERR_DENIED)
		rc = try_in_first_netns(p, mask, e);
	if (rc < 0)
		procevents_close(out);
	return rc;
}

int procevents_fd(const struct procevents *p)
{
	return nl_socket_get_fd(p->sk);
}

/* No PROC_CN_MCAST_IGNORE: the kernel counts listeners per subscription and forgets ours with the socket. */
void procevents_close(struct procevents **p)
{
	if (!*p)
		return;
	if ((*p)->sk)
		nl_socket_free((*p)->sk);
	free(*p);
	*p = NULL;
}
