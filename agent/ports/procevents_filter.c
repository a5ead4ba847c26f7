/* Owns the socket filter of the process events: a machine that compiles forks thousands of times a second, and
 * what was not asked for must not wake the agent. (The connector's own filter, of Linux 6.6, cannot tell processes
 * from threads.) */
#include "agent/ports/procevents_filter.h"

#include <arpa/inet.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <sys/socket.h>

#include "agent/ports/procevents.h"

#define PROGRAM_MAX 40
#define AT(field) ((uint32_t)(NLMSG_HDRLEN + sizeof(struct cn_msg) + offsetof(struct proc_event, field)))

struct program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned short n;
};

static void add(struct program *p, int code, uint32_t k, unsigned yes, unsigned no)
{
	p->code[p->n++] = (struct sock_filter){ (uint16_t)code, (uint8_t)yes, (uint8_t)no, k };
}

static void load(struct program *p, uint32_t at)
{
	add(p, BPF_LD | BPF_W | BPF_ABS, at, 0, 0);
}

static void pass(struct program *p)
{
	add(p, BPF_RET | BPF_K, 0xffffffffu, 0, 0);
}

static void drop(struct program *p)
{
	add(p, BPF_RET | BPF_K, 0, 0, 0);
}

/* The accumulator is value: go on; else leave out the next `skip` instructions. Loads turn the words around. */
static void require(struct program *p, uint32_t value, unsigned skip)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, htonl(value), 0, skip);
}

/* Six instructions: pass a process, drop a thread. */
#define PROCESS_ONLY 6
static void process_only(struct program *p, uint32_t pid_at, uint32_t tgid_at)
{
	load(p, pid_at);
	add(p, BPF_MISC | BPF_TAX, 0, 0, 0);
	load(p, tgid_at);
	add(p, BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1);
	pass(p);
	drop(p);
}

#define ZERO_EXIT 3
static void drop_zero_exit(struct program *p)
{
	load(p, AT(event_data.exit.exit_code));
	require(p, 0, 1);
	drop(p);
}

static void build(struct program *p, unsigned mask)
{
	load(p, AT(what));
	require(p, PROC_EVENT_NONE, 1); /* the answer to our subscription */
	pass(p);
	require(p, PROC_EVENT_EXEC, 1);
	mask &PROCEVENT_EXEC ? pass(p) : drop(p);
	if (mask & PROCEVENT_FORK) {
		require(p, PROC_EVENT_FORK, PROCESS_ONLY);
		process_only(p, AT(event_data.fork.child_pid), AT(event_data.fork.child_tgid));
	}
	if (mask & (PROCEVENT_EXIT | PROCEVENT_EXIT_FAILED)) {
		int failed_only = !(mask & PROCEVENT_EXIT);
		require(p, PROC_EVENT_EXIT, PROCESS_ONLY + (failed_only ? ZERO_EXIT : 0u));
		if (failed_only)
			drop_zero_exit(p);
		process_only(p, AT(event_data.exit.process_pid), AT(event_data.exit.process_tgid));
	}
	drop(p);
}

int procevents_attach_filter(int fd, unsigned mask)
{
	struct program p = { .n = 0 };
	build(&p, mask);
	struct sock_fprog prog = { .len = p.n, .filter = p.code };
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof prog);
}
