/* bench_bus: what sealing and calls cost, against raw nanomsg REQ/REP in the same run, both over TCP loopback.
 * Prints one line per figure: NAME VALUE UNIT, and the ratio. */
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ports/bus.h"
#include "lib/base/clock.h"

#define ROUNDS 5
#define SMALL 64
#define BIG ((size_t)1 << 20)
#define SMALL_CALLS 2000
#define BIG_CALLS 200
#define IN_FLIGHT 4

/* ---- raw: a thread that answers with as little ------------------------------------------------- */

static void *raw_answer(void *url)
{
	int sock = nn_socket(AF_SP, NN_REP), max = -1;
	void *msg;

	nn_setsockopt(sock, NN_SOL_SOCKET, NN_RCVMAXSIZE, &max, sizeof max);
	nn_bind(sock, url);
	for (;;) {
		int n = nn_recv(sock, &msg, NN_MSG, 0);
		char end = n > 0 ? *(char *)msg : 'q';

		nn_freemsg(msg);
		nn_send(sock, "ok", 2, 0);
		if (end == 'q')
			return (void *)(intptr_t)sock;
	}
}

static double raw_seconds(int sock, size_t size, int calls)
{
	char back[8];
	int64_t start = clock_boot_ns();

	for (int i = 0; i < calls; i++) {
		void *msg = nn_allocmsg(size, 0);

		memset(msg, 'x', size < 64 ? size : 64);
		nn_send(sock, &msg, NN_MSG, 0);
		nn_recv(sock, back, sizeof back, 0);
	}
	return (double)(clock_boot_ns() - start) / 1e9;
}

/* ---- the bus: another thread with a loop of its own --------------------------------------------- */

struct side {
	struct bus *bus;
	uv_loop_t loop;
	uv_async_t stop;
	uv_sem_t ready;
	char url[BUS_URL_MAX];
};

static const struct seal_key key = { { 1 } };

static void on_request(void *ctx, struct bus_request *req, const struct bus_msg *msg)
{
	(void)ctx;
	(void)msg;
	bus_reply(req, "ok", 2, NULL, 0);
}

static void side_open(struct side *s, const char *name)
{
	const char *url = "tcp://127.0.0.1:0";
	struct bus_config cfg = { name, &key, &url, 1, on_request, NULL, s };
	struct err e = { 0 };

	uv_loop_init(&s->loop);
	if (bus_open(&s->bus, &s->loop, &cfg, &e)) {
		fprintf(stderr, "bench_bus: %s\n", e.text);
		exit(1);
	}
	snprintf(s->url, sizeof s->url, "%s", bus_url(s->bus, 0));
}

static void on_stop(uv_async_t *stop)
{
	struct side *s = stop->data;

	bus_close(s->bus);
	uv_close((uv_handle_t *)stop, NULL);
}

static void *bus_answer(void *arg)
{
	struct side *s = arg;

	side_open(s, "answers");
	uv_async_init(&s->loop, &s->stop, on_stop);
	s->stop.data = s;
	uv_sem_post(&s->ready);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	uv_loop_close(&s->loop);
	return NULL;
}

static int left, failed;

static void on_reply(void *ctx, int status, const struct bus_msg *reply)
{
	(void)ctx;
	(void)reply;
	left--;
	failed += status != 0;
}

/* Keep `flight` calls under way until `calls` are done. */
static double bus_seconds(struct side *s, struct bus_peer *peer, const void *data, size_t size, int calls,
                          int flight)
{
	int64_t start = clock_boot_ns();
	int to_send = calls;

	left = 0;
	while (to_send || left) {
		while (to_send && left < flight) {
			failed += bus_call(s->bus, peer, NULL, 0, data, size, 60 * NS_PER_S, on_reply, NULL) != 0;
			left++;
			to_send--;
		}
		uv_run(&s->loop, UV_RUN_ONCE);
	}
	return (double)(clock_boot_ns() - start) / 1e9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof *v, by_value);
	return v[ROUNDS / 2];
}

/* The cost of sealing and opening alone, one core. */
static double seal_seconds(const uint8_t *data, size_t size, int times)
{
	struct seal_head h = { .kind = 4, .seq = 1, .from = "asks", .to = "answers" };
	size_t sealed = seal_size(&h, size), got;
	uint8_t *out = malloc(sealed), *back = malloc(size);
	int64_t start = clock_boot_ns();

	for (int i = 0; i < times; i++) {
		seal_message(&key, &h, data, size, out);
		failed += seal_open(&key, out, sealed, &h, back, size, &got) != SEAL_OK;
	}
	double s = (double)(clock_boot_ns() - start) / 1e9;

	free(out);
	free(back);
	return s;
}

int main(void)
{
	double raw_small[ROUNDS], raw_big[ROUNDS], small[ROUNDS], big[ROUNDS], piped[ROUNDS], seal[ROUNDS];
	struct side asks, answers;
	pthread_t raw_thread, bus_thread;
	void *rep;
	uint8_t *data = calloc(1, BIG);
	char raw_url[BUS_URL_MAX];

	uv_sem_init(&answers.ready, 0);
	pthread_create(&bus_thread, NULL, bus_answer, &answers);
	uv_sem_wait(&answers.ready);
	side_open(&asks, "asks");
	struct bus_peer *peer = bus_peer_by_url(asks.bus, answers.url, NULL);

	/* a port for the raw pair: one that a bus had just now */
	struct side port;

	side_open(&port, "port");
	snprintf(raw_url, sizeof raw_url, "%s", port.url);
	bus_close(port.bus);
	uv_run(&port.loop, UV_RUN_DEFAULT);
	uv_loop_close(&port.loop);
	pthread_create(&raw_thread, NULL, raw_answer, raw_url);
	int req = nn_socket(AF_SP, NN_REQ);

	nn_connect(req, raw_url);
	raw_seconds(req, SMALL, 100);
	bus_seconds(&asks, peer, data, SMALL, 100, 1);
	for (int i = 0; i < ROUNDS; i++) {
		raw_small[i] = raw_seconds(req, SMALL, SMALL_CALLS) / SMALL_CALLS * 1e6;
		small[i] = bus_seconds(&asks, peer, data, SMALL, SMALL_CALLS, 1) / SMALL_CALLS * 1e6;
		raw_big[i] = BIG_CALLS / raw_seconds(req, BIG, BIG_CALLS);
		big[i] = BIG_CALLS / bus_seconds(&asks, peer, data, BIG, BIG_CALLS, 1);
		piped[i] = BIG_CALLS / bus_seconds(&asks, peer, data, BIG, BIG_CALLS, IN_FLIGHT);
		seal[i] = BIG_CALLS / seal_seconds(data, BIG, BIG_CALLS);
	}
	double rs = median(raw_small), rb = median(raw_big), s = median(small), b = median(big), p = median(piped);

	printf("raw_round_trip_64B %.1f us\n", rs);
	printf("bus_call_64B %.1f us, %.2f times raw\n", s, s / rs);
	printf("raw_1MiB %.0f MiB/s\n", rb);
	printf("bus_call_1MiB_one_at_a_time %.0f MiB/s, %.2f of raw\n", b, b / rb);
	printf("bus_call_1MiB_%d_in_flight %.0f MiB/s, %.2f of raw\n", IN_FLIGHT, p, p / rb);
	printf("seal_and_open_1MiB %.0f MiB/s on one core\n", median(seal));
	bus_close(asks.bus);
	uv_run(&asks.loop, UV_RUN_DEFAULT);
	uv_loop_close(&asks.loop);
	uv_async_send(&answers.stop);
	pthread_join(bus_thread, NULL);
	nn_send(req, "q", 1, 0);
	pthread_join(raw_thread, &rep);
	nn_close((int)(intptr_t)rep);
	nn_close(req);
	free(data);
	return failed != 0;
}
