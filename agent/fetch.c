/* Owns the pulling side of levels: one window of calls, and a checked chunk at a time for whoever wants it. */
#include "agent/fetch.h"

#include <stdlib.h>
#include <string.h>

#include "agent/call.h"
#include "lib/base/clock.h"

#define FETCH_WINDOW 8
#define FETCH_TIMEOUT_NS (20 * NS_PER_S)

static int fetch_slice(const struct fetch *f, uint8_t **buf, size_t *have, struct err *e)
{
	Cpa__Manifest q = CPA__MANIFEST__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	struct call_reply r;
	q.job = (char *)(uintptr_t)f->job;
	q.what = f->what;
	q.number = f->number;
	q.offset = *have;
	ask.what_case = CPA__ASK__WHAT_MANIFEST;
	ask.manifest = &q;
	struct call *c = call_post(f->agent, f->url, &ask, FETCH_TIMEOUT_NS);
	int rc = call_wait(c, &r, e);
	const Cpa__Slice *s = rc == 0 && r.answer->what_case == CPA__ANSWER__WHAT_SLICE ? r.answer->slice : NULL;
	if (rc == 0 &&
	    (!s || s->total > MANIFEST_MAX || s->total <= *have || r.len == 0 || r.len > s->total - *have))
		rc = err_set(e, ERR_FAILED, "the agent at %s sent no manifest", f->url);
	uint8_t *more = rc == 0 ? realloc(*buf, *have + r.len) : NULL;
	if (more) {
		*buf = more;
		memcpy(more + *have, r.data, r.len);
		*have += r.len;
		rc = *have == s->total ? 0 : 1;
	} else if (rc == 0) {
		rc = err_set(e, ERR_FAILED, "out of memory for a manifest");
	}
	call_free(c);
	return rc;
}

int fetch_manifest(struct fetch *f, uint8_t **sealed, size_t *len, struct manifest *m, struct err *e)
{
	uint8_t *buf = NULL;
	size_t have = 0;
	int rc;
	do
		rc = fetch_slice(f, &buf, &have, e);
	while (rc == 1);
	if (rc == 0)
		rc = manifest_unpack(f->what, buf, have, f->agent->manifest_key, m, e);
	if (rc == 0 && (strcmp(manifest_job(m), f->job) != 0 || manifest_number(m) != f->number)) {
		rc = err_set(e, ERR_FAILED, "the agent at %s sent the manifest of something else", f->url);
		manifest_free(m);
	}
	if (rc < 0) {
		free(buf);
		return rc;
	}
	f->uid = manifest_uid(m);
	*sealed = buf;
	*len = have;
	return 0;
}

static struct call *ask_chunk(const struct fetch *f, const struct chunk_id *id)
{
	Cpa__Fetch q = CPA__FETCH__INIT;
	Cpa__Ask ask = CPA__ASK__INIT;
	q.job = (char *)(uintptr_t)f->job;
	q.what = f->what;
	q.number = f->number;
	q.uid = f->uid;
	q.chunk.data = (uint8_t *)(uintptr_t)id->b;
	q.chunk.len = CHUNK_ID_BYTES;
	ask.what_case = CPA__ASK__WHAT_FETCH;
	ask.fetch = &q;
	return call_post(f->agent, f->url, &ask, FETCH_TIMEOUT_NS);
}

int fetch_chunks(const struct fetch *f, const struct chunk_id *ids, size_t n, fetch_sink_fn *sink, void *ctx,
                 struct err *e)
{
	struct call *flying[FETCH_WINDOW] = { 0 };
	size_t asked = 0;
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct call_reply r;
		for (; asked < n && asked < i + FETCH_WINDOW; asked++)
			flying[asked % FETCH_WINDOW] = ask_chunk(f, &ids[asked]);
		struct call *c = flying[i % FETCH_WINDOW];
		flying[i % FETCH_WINDOW] = NULL;
		rc = call_wait(c, &r, e);
		const Cpa__Fetched *got =
		        rc == 0 && r.answer->what_case == CPA__ANSWER__WHAT_FETCHED ? r.answer->fetched : NULL;
		if (rc == 0 && (!got || got->bytes > CHUNK_BYTES || r.len == 0 || r.len > CHUNK_BYTES))
			rc = err_set(e, ERR_FAILED, "the agent at %s sent no chunk", f->url);
		if (rc == 0)
			rc = sink(ctx, i, r.data, r.len, got->compressed, got->bytes, e);
		call_free(c);
	}
	for (size_t i = 0; i < FETCH_WINDOW; i++) {
		struct call_reply r;
		if (flying[i] && (call_wait(flying[i], &r, NULL), 1))
			call_free(flying[i]);
	}
	return rc;
}
