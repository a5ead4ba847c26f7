/* Owns the hand-over between the loop and its worker threads. */
#include "agent/work.h"

#include <stdio.h>
#include <stdlib.h>

struct work {
	uv_work_t req;
	void (*run)(void *);
	void (*done)(void *);
	void *ctx;
};

static void on_run(uv_work_t *req)
{
	struct work *w = req->data;
	w->run(w->ctx);
}

static void on_done(uv_work_t *req, int status)
{
	(void)status; /* never cancelled */
	struct work *w = req->data;
	w->done(w->ctx);
	free(w);
}

void work_start(uv_loop_t *loop, void (*run)(void *), void (*done)(void *), void *ctx)
{
	struct work *w = malloc(sizeof *w);
	if (w) {
		*w = (struct work){ .run = run, .done = done, .ctx = ctx };
		w->req.data = w;
		if (uv_queue_work(loop, &w->req, on_run, on_done) == 0)
			return;
		free(w);
	}
	run(ctx);
	done(ctx);
}

void work_threads(unsigned n)
{
	char text[16];
	snprintf(text, sizeof text, "%u", n);
	setenv("UV_THREADPOOL_SIZE", text, 0);
}
