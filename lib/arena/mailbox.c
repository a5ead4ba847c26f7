/* The mailbox, both sides: see mailbox.h. The agent's side writes with pwrite() and wakes sleepers through a
 * mapping that only the kernel looks at, so that a file cut short under it is an error and no signal. */
#include "lib/arena/mailbox.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena/internal.h"

#define NAP_NS INT64_C(250000000) /* a wake-up that got lost costs no more than this */

/* ---- the job's side ---- */

void arena_ring(const struct arena *a)
{
	const char *slash = strrchr(a->path, '/');
	int dir = slash ? (int)(slash - a->path) : 1;
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int n = snprintf(to.sun_path, sizeof to.sun_path, "%.*s/bell", dir, slash ? a->path : "."), s;

	if (n < 0 || (size_t)n >= sizeof to.sun_path)
		return;
	s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return;
	sendto(s, "r", 1, MSG_NOSIGNAL, (const struct sockaddr *)&to, sizeof to);
	close(s);
}

void arena_say_restores(struct arena *a)
{
	if (!a->read_only && !(load_relaxed(&a->head->job_flags) & ARENA_RESTORES))
		__atomic_or_fetch(&a->head->job_flags, ARENA_RESTORES, __ATOMIC_RELEASE);
}

/* Does a level from `level` on hold this version or a newer one? Numbers are compared by their low 32 bits. */
static int is_held(const struct arena_record *r, uint64_t version, uint32_t level)
{
	uint32_t l, held;

	for (l = level < 2 ? 2 : level; l <= ARENA_LEVEL_MAX; l++) {
		held = load_acquire(&r->held[l - 2]);
		if (held && (int32_t)(held - (uint32_t)version) >= 0)
			return 1;
	}
	return 0;
}

int arena_want(struct arena *a, const char *key, uint32_t level)
{
	struct arena_record *r;
	uint64_t version = arena_newest(a, key, &r), old;
	uint32_t old_level;

	if (a->read_only)
		return -EACCES;
	if (version == 0)
		return -ENOENT;
	if (level < 2 || level > ARENA_LEVEL_MAX)
		return -EINVAL;
	/* a wish for a higher level that is not yet fulfilled goes on, for the newer version */
	old = load_acquire(&r->want);
	old_level = old & 0xff;
	if (old_level > level && old_level <= ARENA_LEVEL_MAX && !is_held(r, old >> 8, old_level))
		level = old_level;
	store_release(&r->want, version << 8 | level);
	__atomic_add_fetch(&a->head->requests, 1, __ATOMIC_RELEASE);
	arena_ring(a);
	return 0;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

uint32_t arena_level(const struct arena *a, uint32_t level)
{
	uint32_t top = load_acquire(&a->head->top);

	return top && level > top ? top : level;
}

int arena_wait(struct arena *a, const char *key, uint32_t level, int64_t timeout_ns)
{
	struct arena_record *r;
	uint64_t version = arena_newest(a, key, &r);
	int64_t until = timeout_ns < 0 ? INT64_MAX : now_ns() + timeout_ns, left;
	struct timespec nap;
	uint32_t tick, meant;

	if (version == 0)
		return -ENOENT;
	if (level > ARENA_LEVEL_MAX)
		return -EINVAL;
	for (;;) {
		tick = load_acquire(&r->held_tick);
		meant = arena_level(a, level); /* its agent may have come to know of the top */
		if (meant <= 1 || is_held(r, version, meant))
			return 0;
		if (!(load_relaxed(&a->head->agent_flags) & ARENA_SERVED))
			return -ENOTCONN;
		left = until == INT64_MAX ? NAP_NS : until - now_ns();
		if (left <= 0)
			return -ETIMEDOUT;
		nap = (struct timespec){0, (long)(left < NAP_NS ? left : NAP_NS)};
		syscall(SYS_futex, &r->held_tick, FUTEX_WAIT, tick, &nap, NULL, 0);
		if (arena_newest(a, key, &r) < version) /* forgotten; or else its record may have moved: arena_keep() */
			return -ENOENT;
	}
}

int arena_set_intervals(struct arena *a, uint64_t update_ms, uint64_t save_ms, enum arena_periodic periodic)
{
	if (a->read_only)
		return -EACCES;
	store_relaxed(&a->head->update_ms, update_ms);
	store_relaxed(&a->head->save_ms, save_ms);
	store_relaxed(&a->head->periodic, (uint32_t)periodic);
	__atomic_add_fetch(&a->head->requests, 1, __ATOMIC_RELEASE);
	arena_ring(a);
	return 0;
}

/* Wait until the ask numbered `mine` is answered, or this process lives in another incarnation. */
static int wait_answer(struct arena *a, const struct arena_ask *q, uint32_t mine, uint32_t incarnation,
		       int64_t timeout_ns)
{
	int64_t until = timeout_ns < 0 ? INT64_MAX : now_ns() + timeout_ns, left;
	struct timespec nap;
	uint32_t answered;

	for (;;) {
		answered = load_acquire(&q->answered);
		if (load_acquire(&a->head->incarnation) != incarnation)
			return 1;
		if ((int32_t)(answered - mine) >= 0)
			return 0;
		left = until == INT64_MAX ? NAP_NS : until - now_ns();
		if (left <= 0)
			return -ETIMEDOUT;
		nap = (struct timespec){0, (long)(left < NAP_NS ? left : NAP_NS)};
		syscall(SYS_futex, &q->answered, FUTEX_WAIT, answered, &nap, NULL, 0);
	}
}

static int ask_locked(struct arena *a, struct arena_ask *q, uint32_t level, uint64_t number, const char *text,
		      int64_t timeout_ns, struct arena_ask *answer)
{
	uint32_t incarnation = load_acquire(&a->head->incarnation), mine;
	int rc;

	store_relaxed(&q->level, level);
	store_relaxed(&q->number, number);
	if (text)
		memcpy(q->text, text, strlen(text) + 1);
	mine = __atomic_add_fetch(&q->asked, 1, __ATOMIC_RELEASE);
	__atomic_add_fetch(&a->head->requests, 1, __ATOMIC_RELEASE);
	arena_ring(a);
	rc = wait_answer(a, q, mine, incarnation, timeout_ns);
	if (!rc) {
		*answer = *q;
		answer->why[sizeof answer->why - 1] = '\0';
	}
	return rc;
}

int arena_ask(struct arena *a, enum arena_ask_kind kind, uint32_t level, uint64_t number, const char *text,
	      int64_t timeout_ns, struct arena_ask *answer)
{
	struct arena_ask *q = &a->head->ask[kind];
	int rc;

	if (a->read_only)
		return -EACCES;
	if (!(load_relaxed(&a->head->agent_flags) & ARENA_SERVED))
		return -ENOTCONN;
	if (!text) /* without a text, many may ask at once: one answer is for all of them */
		return ask_locked(a, q, level, number, NULL, timeout_ns, answer);
	if (strlen(text) >= sizeof q->text)
		return -EINVAL;
	rc = lock_take(a, ARENA_LOCK_ASKS);
	if (rc)
		return rc;
	rc = ask_locked(a, q, level, number, text, timeout_ns, answer);
	lock_give(a, ARENA_LOCK_ASKS);
	return rc;
}

/* ---- the agent's side ---- */

static int put_at(int fd, uint64_t at, const void *data, size_t bytes)
{
	ssize_t n = pwrite(fd, data, bytes, (off_t)at);

	return n == (ssize_t)bytes ? 0 : n < 0 ? -errno : -EIO;
}

/* Wake who waits on the word at `at`. The mapping is for the kernel, which finds the futex by it. */
static void wake(int fd, uint64_t at)
{
	uint64_t page = at & ~UINT64_C(4095);
	uint8_t *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, (off_t)page);

	if (map == MAP_FAILED)
		return;
	syscall(SYS_futex, map + (at - page), FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	munmap(map, 4096);
}

/* A word in the part of the header that the agent writes, or of an ask. */
static int put_head(int fd, size_t at, const void *data, size_t bytes)
{
	struct arena_reader r = {.fd = fd};
	int rc = arena_read_open(&r);

	return rc ? rc : put_at(fd, at, data, bytes);
}

static int settle_asks(int fd, const struct arena_header *h)
{
	int rc = 0;

	for (size_t i = 0; i < ARENA_ASKS && !rc; i++)
		rc = put_at(fd, offsetof(struct arena_header, ask) + i * sizeof h->ask[0] +
				    offsetof(struct arena_ask, answered),
			    &h->ask[i].asked, sizeof h->ask[i].asked);
	return rc;
}

int arena_set_start(int fd, uint32_t incarnation, enum arena_start start, uint64_t generation)
{
	struct arena_reader r = {.fd = fd};
	const size_t from = offsetof(struct arena_header, agent_flags);
	uint64_t boot[2];
	int rc = arena_read_open(&r);

	if (rc)
		return rc;
	r.head.agent_flags |= ARENA_SERVED;
	r.head.incarnation = incarnation;
	r.head.start = start;
	r.head.give_up = 0;
	r.head.generation = generation;
	r.head.top = 0; /* this copy of the arena may come from elsewhere */
	rc = settle_asks(fd, &r.head);
	if (!rc)
		rc = put_at(fd, from, (const uint8_t *)&r.head + from,
			    offsetof(struct arena_header, top) + sizeof r.head.top - from);
	if (rc || start != ARENA_FROM_SNAPSHOT)
		return rc;
	/* the processes come back with the locks they held: these are locks of this boot now */
	arena_boot(boot);
	return put_at(fd, offsetof(struct arena_header, boot), boot, sizeof boot);
}

int arena_put_intervals(int fd, uint64_t update_ms, uint64_t save_ms, enum arena_periodic periodic)
{
	uint32_t word = (uint32_t)periodic;
	int rc = put_head(fd, offsetof(struct arena_header, update_ms), &update_ms, sizeof update_ms);

	if (!rc)
		rc = put_at(fd, offsetof(struct arena_header, save_ms), &save_ms, sizeof save_ms);
	return rc ? rc : put_at(fd, offsetof(struct arena_header, periodic), &word, sizeof word);
}

int arena_set_top(int fd, uint32_t top)
{
	return put_head(fd, offsetof(struct arena_header, top), &top, sizeof top);
}

int arena_set_give_up(int fd, uint32_t give_up)
{
	return put_head(fd, offsetof(struct arena_header, give_up), &give_up, sizeof give_up);
}

int arena_set_number_from(int fd, uint64_t number)
{
	if (number >> 56)
		return -EINVAL;
	return put_head(fd, offsetof(struct arena_header, number_from), &number, sizeof number);
}

int arena_set_mtbf(int fd, uint64_t mtbf_ms)
{
	return put_head(fd, offsetof(struct arena_header, mtbf_ms), &mtbf_ms, sizeof mtbf_ms);
}

void arena_says(const struct arena_reader *r, struct arena_says *out)
{
	out->flags = r->head.job_flags & ARENA_RESTORES;
	out->flags |= r->head.agent_flags & ARENA_SERVED;
	out->requests = r->head.requests;
	out->incarnation = r->head.incarnation;
	out->periodic = r->head.periodic <= ARENA_ON_DEMAND ? (enum arena_periodic)r->head.periodic
							    : ARENA_AS_CONFIGURED;
	out->top = r->head.top;
	out->update_ms = r->head.update_ms;
	out->save_ms = r->head.save_ms;
	memcpy(out->ask, r->head.ask, sizeof out->ask);
	for (size_t i = 0; i < ARENA_ASKS; i++) {
		out->ask[i].text[sizeof out->ask[i].text - 1] = '\0';
		out->ask[i].why[sizeof out->ask[i].why - 1] = '\0';
	}
}

int arena_set_held(struct arena_reader *r, const struct arena_key *k, uint64_t version, uint32_t level)
{
	struct arena_key now;
	uint32_t low = (uint32_t)version;
	uint64_t tick_at = k->record + offsetof(struct arena_record, held_tick);
	int rc;

	if (level < 2 || level > ARENA_LEVEL_MAX)
		return -EINVAL;
	rc = arena_read_key_at(r, k->record, &now);
	if (rc || strcmp(now.key, k->key) != 0)
		return -ENOENT;
	rc = put_at(r->fd, k->record + offsetof(struct arena_record, held) + 4 * (level - 2), &low, sizeof low);
	now.tick++;
	if (!rc)
		rc = put_at(r->fd, tick_at, &now.tick, sizeof now.tick);
	if (!rc)
		wake(r->fd, tick_at);
	return rc;
}

int arena_answer(int fd, enum arena_ask_kind kind, uint32_t asked, int result, uint64_t number, const char *why)
{
	const size_t at = offsetof(struct arena_header, ask) + kind * sizeof(struct arena_ask);
	char text[sizeof ((struct arena_ask *)0)->why] = "";
	int rc;

	if ((unsigned)kind >= ARENA_ASKS)
		return -EINVAL;
	snprintf(text, sizeof text, "%s", why ? why : "");
	rc = put_head(fd, at + offsetof(struct arena_ask, result), &result, sizeof result);
	if (!rc)
		rc = put_at(fd, at + offsetof(struct arena_ask, number), &number, sizeof number);
	if (!rc)
		rc = put_at(fd, at + offsetof(struct arena_ask, why), text, sizeof text);
	if (!rc)
		rc = put_at(fd, at + offsetof(struct arena_ask, answered), &asked, sizeof asked);
	if (!rc)
		wake(fd, at + offsetof(struct arena_ask, answered));
	return rc;
}
