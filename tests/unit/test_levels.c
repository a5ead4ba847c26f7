/* A real agent of level 2, and a child that the test plays on a bus of its own: what the parent makes of what a child
 * says, however the child came to say it. */
#include <arpa/inet.h>
#include <signal.h>
#include <sodium.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "agent/ports/bus.h"
#include "lib/base/clock.h"
#include "lib/chunk/manifest.h"
#include "lib/wire/copy.h"
#include "tests/unit/harness.h"
#include "tests/unit/scratch.h"

#define LONG_NS (30 * NS_PER_S)
#define JOBS 3

static uv_loop_t loop;

/* What the child says that it has, and what it was told. */
struct said {
	char job[40];
	uint64_t generation;
	uint32_t incarnation;
	bool gone;
	uint64_t held; /* newest generation that the parent said it holds, and of which life */
	uint32_t held_incarnation;
};

static struct play {
	struct bus *bus;
	struct bus_peer *top;
	pid_t pid;
	char url[64];
	struct seal_key key;
	uint8_t manifest_key[32];
	struct said jobs[JOBS];
	size_t n;
	bool one_by_one; /* each job on a page of its own */
	bool silent;     /* asked for a manifest, it says nothing */
	struct bus_request *kept[64];
	size_t n_kept;
	int collects; /* rounds begun */
	bool joined;
	bool answered;
	uint64_t top_generation; /* what the parent itself says that it has of jobs[0] */
	uint32_t top_incarnation;
} play;

static void answer(struct bus_request *rq, const Cpa__Answer *a, const void *data, size_t len)
{
	size_t n;
	void *head = wire_pack(&a->base, &n);
	bus_reply(rq, head, n, data, len);
	free(head);
}

static void on_collect(struct bus_request *rq, const Cpa__Collect *q)
{
	Cpa__Answer a = CPA__ANSWER__INIT;
	Cpa__Collected got = CPA__COLLECTED__INIT;
	Cpa__Stock stock[JOBS], *list[JOBS];
	Cpa__Spec spec[JOBS];
	play.collects += !q->after[0];
	for (size_t i = 0; i < play.n; i++) {
		struct said *s = &play.jobs[i];
		if (strcmp(s->job, q->after) <= 0 || (play.one_by_one && got.n_stock == 1))
			continue;
		cpa__spec__init(&spec[i]);
		cpa__stock__init(&stock[i]);
		spec[i].job = spec[i].name = s->job;
		spec[i].keep = 2;
		stock[i].spec = &spec[i];
		stock[i].incarnation = stock[i].generation_incarnation = s->incarnation;
		stock[i].generation = s->generation;
		stock[i].gone = s->gone;
		list[got.n_stock++] = &stock[i];
		got.more = play.one_by_one && i + 1 < play.n ? s->job : got.more;
	}
	got.stock = list;
	a.what_case = CPA__ANSWER__WHAT_COLLECTED;
	a.collected = &got;
	answer(rq, &a, NULL, 0);
}

static void on_manifest(struct bus_request *rq, const Cpa__Manifest *q)
{
	Cpa__Answer a = CPA__ANSWER__INIT;
	Cpa__Slice slice = CPA__SLICE__INIT;
	Cpa__Generation g = CPA__GENERATION__INIT;
	uint8_t *sealed = NULL;
	size_t len = 0;
	if (play.silent && play.n_kept < sizeof play.kept / sizeof *play.kept) {
		play.kept[play.n_kept++] = rq;
		return;
	}
	g.job = q->job;
	g.generation = q->number;
	for (size_t i = 0; i < play.n; i++)
		if (strcmp(play.jobs[i].job, q->job) == 0)
			g.incarnation = play.jobs[i].incarnation;
	CU_ASSERT(manifest_pack_generation(&g, play.manifest_key, &sealed, &len, NULL) == 0);
	slice.total = len;
	a.what_case = CPA__ANSWER__WHAT_SLICE;
	a.slice = &slice;
	answer(rq, &a, sealed, len);
	free(sealed);
}

static void on_request(void *ctx, struct bus_request *rq, const struct bus_msg *msg)
{
	Cpa__Answer ok = CPA__ANSWER__INIT;
	Cpa__Ask *ask = cpa__ask__unpack(NULL, msg->head_len, msg->head);
	(void)ctx;
	CU_ASSERT_FATAL(ask != NULL);
	if (ask->what_case == CPA__ASK__WHAT_COLLECT) {
		on_collect(rq, ask->collect);
	} else if (ask->what_case == CPA__ASK__WHAT_MANIFEST) {
		on_manifest(rq, ask->manifest);
	} else {
		for (size_t i = 0; ask->what_case == CPA__ASK__WHAT_HELD && i < play.n; i++)
			if (strcmp(play.jobs[i].job, ask->held->job) == 0) {
				play.jobs[i].held = ask->held->holding->number;
				play.jobs[i].held_incarnation = ask->held->holding->incarnation;
			}
		answer(rq, &ok, NULL, 0);
	}
	cpa__ask__free_unpacked(ask, NULL);
}

/* ---- the stage ---- */

static void wake(uv_timer_t *t)
{
	(void)t;
}

static bool until(bool (*is_so)(void))
{
	int64_t end = clock_boot_ns() + LONG_NS;
	uv_timer_t timer;
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, wake, 20, 20);
	while (!is_so() && clock_boot_ns() < end)
		uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	return is_so();
}

static void ask_top(const Cpa__Ask *ask, bus_reply_fn *fn)
{
	size_t n;
	void *head = wire_pack(&ask->base, &n);
	CU_ASSERT(bus_call(play.bus, play.top, head, n, NULL, 0, 10 * NS_PER_S, fn, NULL) == 0);
	free(head);
}

static void on_joined(void *ctx, int status, const struct bus_msg *reply)
{
	(void)ctx, (void)reply;
	play.joined = status == 0;
	play.answered = true;
}

static bool is_answered(void)
{
	return play.answered;
}

static void join(void)
{
	Cpa__Ask ask = CPA__ASK__INIT;
	Cpa__Join q = CPA__JOIN__INIT;
	Cpa__Agent me = CPA__AGENT__INIT;
	me.name = (char *)(uintptr_t) "kid";
	me.level = 1;
	me.url = (char *)(uintptr_t)bus_url(play.bus, 0);
	q.agent = &me;
	ask.what_case = CPA__ASK__WHAT_JOIN;
	ask.join = &q;
	play.answered = false;
	ask_top(&ask, on_joined);
	CU_ASSERT(until(is_answered) && play.joined);
}

static int free_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sa;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CU_ASSERT_FATAL(bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0 &&
			getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
	close(fd);
	return ntohs(sa.sin_port);
}

static void start_top(const char *key)
{
	char self[FS_PATH_MAX], program[FS_PATH_MAX], run[FS_PATH_MAX], state[FS_PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	CU_ASSERT_FATAL(n > 0);
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	fs_path(program, "%s/../../cpagentd", self);
	snprintf(play.url, sizeof play.url, "tcp://127.0.0.1:%d", free_port());
	scratch_path(run);
	scratch_path(state);
	play.pid = fork();
	if (play.pid == 0) {
		execl(program, "cpagentd", "--name", "top", "--level", "2", "--listen", play.url, "--key", key, "--run", run,
		      "--state", state, "--update", "100ms", "--save", "0", (char *)NULL);
		_exit(127);
	}
}

static void begin(void)
{
	char key[FS_PATH_MAX];
	static const char *const listen[] = { "tcp://127.0.0.1:0" };
	memset(&play, 0, sizeof play);
	CU_ASSERT_FATAL(seal_keygen(scratch_path(key), NULL) == 0 && seal_key_load(key, &play.key, NULL) == 0);
	crypto_kdf_derive_from_key(play.manifest_key, sizeof play.manifest_key, 1, "manifest", play.key.bytes);
	uv_loop_init(&loop);
	struct bus_config cfg = { .name = "kid", .key = &play.key, .listen = listen, .n_listen = 1,
				  .on_request = on_request };
	CU_ASSERT_FATAL(bus_open(&play.bus, &loop, &cfg, NULL) == 0);
	for (size_t i = 0; i < JOBS; i++)
		snprintf(play.jobs[i].job, sizeof play.jobs[i].job, "00000000-0000-4000-8000-00000000000%zu", i);
	start_top(key);
	play.top = bus_peer_by_url(play.bus, play.url, NULL);
}

/* The agent's exit status, or -1 when it had to be killed. */
static int end_top(void)
{
	int status, waited = 0;
	kill(play.pid, SIGTERM);
	for (int64_t end = clock_boot_ns() + LONG_NS; !waited && clock_boot_ns() < end;) {
		waited = waitpid(play.pid, &status, WNOHANG);
		uv_run(&loop, UV_RUN_NOWAIT);
		usleep(5000);
	}
	if (waited == play.pid)
		return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	kill(play.pid, SIGKILL);
	waitpid(play.pid, &status, 0);
	return -1;
}

static void end(void)
{
	CU_ASSERT_EQUAL(end_top(), 0);
	for (size_t i = 0; i < play.n_kept; i++)
		bus_reply(play.kept[i], NULL, 0, NULL, 0);
	bus_close(play.bus);
	uv_run(&loop, UV_RUN_DEFAULT);
	CU_ASSERT(uv_loop_close(&loop) == 0);
}

/* ---- what the parent has, by its own word ---- */

static void on_stock(void *ctx, int status, const struct bus_msg *reply)
{
	(void)ctx;
	Cpa__Answer *a = status == 0 ? cpa__answer__unpack(NULL, reply->head_len, reply->head) : NULL;
	play.top_generation = play.top_incarnation = 0;
	play.answered = true;
	CU_ASSERT(a && a->what_case == CPA__ANSWER__WHAT_COLLECTED);
	for (size_t i = 0; a && a->what_case == CPA__ANSWER__WHAT_COLLECTED && i < a->collected->n_stock; i++)
		if (strcmp(a->collected->stock[i]->spec->job, play.jobs[0].job) == 0) {
			play.top_generation = a->collected->stock[i]->generation;
			play.top_incarnation = a->collected->stock[i]->generation_incarnation;
		}
	if (a)
		cpa__answer__free_unpacked(a, NULL);
}

static void look_into_top(void)
{
	Cpa__Ask ask = CPA__ASK__INIT;
	Cpa__Collect q = CPA__COLLECT__INIT;
	ask.what_case = CPA__ASK__WHAT_COLLECT;
	ask.collect = &q;
	play.answered = false;
	ask_top(&ask, on_stock);
	CU_ASSERT(until(is_answered));
}

static int rounds_wanted;

static bool enough_rounds(void)
{
	return play.collects >= rounds_wanted;
}

/* A round that began after now is over when the next but one begins. */
static void a_round_later(void)
{
	rounds_wanted = play.collects + 3;
	CU_ASSERT(until(enough_rounds));
	look_into_top();
}

static bool all_held(void)
{
	for (size_t i = 0; i < play.n; i++)
		if (play.jobs[i].held != play.jobs[i].generation ||
		    play.jobs[i].held_incarnation != play.jobs[i].incarnation)
			return false;
	return true;
}

static void say(uint64_t generation, uint32_t incarnation, bool gone)
{
	play.n = 1;
	play.jobs[0].generation = generation;
	play.jobs[0].incarnation = incarnation;
	play.jobs[0].gone = gone;
}

/* ---- tests ---- */

static void jobs_behind_the_first_page_are_collected_too(void)
{
	begin();
	play.n = JOBS;
	play.one_by_one = true;
	for (size_t i = 0; i < JOBS; i++)
		play.jobs[i].generation = 10 + i;
	join();
	CU_ASSERT(until(all_held));
	end();
}

static void a_later_life_is_newer_whatever_its_numbers(void)
{
	begin();
	say(8, 1, false);
	join();
	CU_ASSERT(until(all_held));
	say(5, 2, false);
	CU_ASSERT(until(all_held));
	play.jobs[0].held = 0;
	say(9, 1, false); /* a copy that was cut off comes back and has counted on */
	a_round_later();
	CU_ASSERT_EQUAL(play.jobs[0].held, 0);
	CU_ASSERT_EQUAL(play.top_generation, 5);
	CU_ASSERT_EQUAL(play.top_incarnation, 2);
	say(8, 2, false); /* the number is there, from the earlier life */
	CU_ASSERT(until(all_held));
	end();
}

static void the_end_of_an_earlier_life_costs_nothing_that_a_later_one_gave(void)
{
	begin();
	say(3, 2, false);
	join();
	CU_ASSERT(until(all_held));
	say(7, 1, true);
	a_round_later();
	CU_ASSERT_EQUAL(play.top_generation, 3);
	say(3, 2, true);
	a_round_later();
	CU_ASSERT_EQUAL(play.top_generation, 0);
	end();
}

static bool was_asked_for_a_manifest(void)
{
	return play.n_kept > 0;
}

static void an_agent_that_waits_for_a_child_ends_when_it_is_told_to(void)
{
	begin();
	play.silent = true;
	play.n = JOBS;
	for (size_t i = 0; i < JOBS; i++)
		play.jobs[i].generation = 1;
	join();
	CU_ASSERT(until(was_asked_for_a_manifest));
	int64_t began = clock_boot_ns();
	end();
	CU_ASSERT(clock_boot_ns() - began < 18 * NS_PER_S); /* and not when its calls time out, after 20 s */
}

static const struct test tests[] = {
	{ "jobs behind the first page are collected too", jobs_behind_the_first_page_are_collected_too },
	{ "a later life is newer, whatever its numbers", a_later_life_is_newer_whatever_its_numbers },
	{ "the end of an earlier life costs nothing that a later one gave",
	  the_end_of_an_earlier_life_costs_nothing_that_a_later_one_gave },
	{ "an agent that waits for a child ends when it is told to",
	  an_agent_that_waits_for_a_child_ends_when_it_is_told_to },
};

int main(void)
{
	return harness_run("levels", tests, sizeof tests / sizeof *tests);
}
