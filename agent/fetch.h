/* Fetching what another agent holds: manifests and chunks, several in flight, each checked. Blocking: worker
 * threads only. */
#ifndef CPA_AGENT_FETCH_H
#define CPA_AGENT_FETCH_H

#include "agent/agent.h"
#include "lib/chunk/chunk.h"
#include "lib/chunk/manifest.h"
#include "lib/wire/cpagent.pb-c.h"

/* One thing at one agent. */
struct fetch {
	struct agent *agent;
	const char *url;
	const char *job;
	Cpa__What what;
	uint64_t number;
	uint32_t uid; /* as its manifest says: fetch_manifest() fills it in */
};

/* The sealed manifest (owned, free) and what is in it (manifest_free()); checked against f. */
int fetch_manifest(struct fetch *f, uint8_t **sealed, size_t *len, struct manifest *m, struct err *e);

/* Called for each chunk in the order of ids: bytes as they came, with their length when unpacked. Non-zero ends
 * it. */
typedef int fetch_sink_fn(void *ctx, size_t index, const uint8_t *bytes, size_t len, bool compressed,
                          size_t raw_len, struct err *e);
int fetch_chunks(const struct fetch *f, const struct chunk_id *ids, size_t n, fetch_sink_fn *sink, void *ctx,
                 struct err *e);

/* A whole generation into dir (existing; what lies there is reused where it fits): complete, verified, its
 * manifest written last. *out is owned. */
int fetch_generation(struct agent *a, const Cpa__Holding *h, const char *job, const char *dir,
                     Cpa__Generation **out, struct err *e);

/* One key out of the newest keyset that h's holder has (h->number may be older, or 0), into a new arena file at
 * path that holds nothing else. ERR_NOT_FOUND: it is not among the keys there. */
struct fetch_wish {
	const char *key;
	uint64_t version; /* this one; 0: whichever is there */
	uint64_t ahead;   /* a keyset that may hold a later version than the newest one; 0: none */
	uint64_t room;    /* bytes that the file may take */
};
struct fetched_key {
	uint64_t version;
	uint64_t bytes; /* that the file may take */
};
int fetch_key(struct agent *a, const Cpa__Holding *h, const char *job, const struct fetch_wish *w,
              const char *path, struct fetched_key *out, struct err *e);

/* Every key of a keyset into the arena file at path, an empty one. */
int fetch_keys(struct agent *a, const Cpa__Holding *h, const char *job, const char *arena, struct err *e);

#endif
