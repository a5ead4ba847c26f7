/* Owns the hand-over between the loop and its worker threads. */
#include "agent/work.h"

#include <stdio.h>
#include <stdlib.h>

struct work {
	uv_work_t req;
	uv_loop_t *loop;
	struct work_gate *gate; /* NULL: none */
	struct work *next;
	void (*run)(void *);
	void (*done)(void *);
	void *ctx;
};

static void on_run(uv_work_t *req)
{
	struct work *w = req->data;
	w->run(w->ctx);
}

static void on_done(uv_work_t *req, int status);

static void begin(struct work *w)
{
	w->req.data = w;
	if (uv_queue_work(w->loop, &w->req, on_run, on_done) == 0)
		return;
	w->run(w->ctx);
	on_done(&w->req, 0);
}

static void on_done(uv_work_t *req, int status)
{
	(void)status; /* never cancelled */
	struct work *w = req->data;
	struct work_gate *gate = w->gate;
	struct work *next = gate ? gate->head : NULL;
	if (next) {
		gate->head = next->next;
		begin(next);
	} else if (gate) {
		gate->running--;
	}
	w->done(w->ctx);
	free(w);
}

void work_start_in(struct work_gate *gate, uv_loop_t *loop, void (*run)(void *), void (*done)(void *), void *ctx)
{
	struct work *w = malloc(sizeof *w);
	if (!w) {
		run(ctx);
		done(ctx);
		return;
	}
	*w = (struct work){ .loop = loop, .gate = gate, .run = run, .done = done, .ctx = ctx };
	if (gate && gate->running >= gate->limit) {
		*(gate->head ? &gate->tail->next : &gate->head) = w;
		gate->tail = w;
		return;
	}
	if (gate)
		gate->running++;
	begin(w);
}

void work_start(uv_loop_t *loop, void (*run)(void *), void (*done)(void *), void *ctx)
{
	work_start_in(NULL, loop, run, done, ctx);
}

void work_threads(unsigned n)
{
	char text[16];
	snprintf(text, sizeof text, "%u", n);
	setenv("UV_THREADPOOL_SIZE", text, 0);
}
