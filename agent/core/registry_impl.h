/* What the parts of the registry share, and nobody else sees. */
#ifndef CPA_CORE_REGISTRY_IMPL_H
#define CPA_CORE_REGISTRY_IMPL_H

#include "agent/core/registry.h"

/* registry.c */
struct action *act_add(struct actions *acts, enum act what, const struct reg_job *j, const char *node);
struct reg_node *reg_node_find(const struct registry *r, const char *name);
struct reg_node *reg_node_make(struct registry *r, const char *name);
struct reg_job *reg_job_find(const struct registry *r, const char *uuid);
struct reg_job *reg_job_make(struct registry *r, const struct job_spec *spec);
void reg_job_drop(struct registry *r, struct reg_job *j, struct actions *acts);
void reg_say(char why[static CORE_WHY], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* registry_steps.c: what a job can go through */
/* One step of its state, noted; ownership links follow from it. False: not legal, nothing happened. */
bool job_step(struct registry *r, struct reg_job *j, enum job_event ev, struct actions *acts);
void job_persist(struct reg_job *j, struct actions *acts);
void job_own(struct registry *r, struct reg_job *j, struct reg_node *n);
void job_disown(struct registry *r, struct reg_job *j);
/* Something is pending from `at` on; REG_QUIET: nothing. */
void job_pend(struct registry *r, struct reg_job *j, int pending, int64_t at);
/* No copy is left at its owner: it ends, or goes on elsewhere (at the next service). */
void job_release(struct registry *r, struct reg_job *j, enum job_event ev, int64_t now, struct actions *acts);
/* It may be given to another node now. */
void job_free_to_place(struct registry *r, struct reg_job *j, int64_t now);
void job_tried(struct reg_job *j, const char *node);
/* Do what is pending, if it is time. */
void job_service(struct registry *r, struct reg_job *j, int64_t now, struct actions *acts);

/* registry_place.c */
/* The node for j, or NULL and j->why. */
struct reg_node *reg_choose(struct registry *r, const struct reg_job *j, const char *wanted, bool only,
			    const char *avoid, char why[static CORE_WHY]);
/* Is there any node that it could be given to? */
bool reg_fits_somewhere(struct registry *r, struct reg_job *j);
void reg_place_job(struct registry *r, struct reg_job *j, int64_t now, struct actions *acts);
void reg_assign(struct registry *r, struct reg_job *j, struct reg_node *n, int64_t now, struct actions *acts);
void reg_places_count(struct registry *r, const struct reg_node *n);

/* registry_nodes.c: nodes whose lease ran out */
void reg_expire_nodes(struct registry *r, int64_t now, struct actions *acts);

/* registry_peers.c */
/* The other parents of the node that had j which are registries of their own, a bit each. */
unsigned reg_peers_of(const struct registry *r, const struct reg_job *j);
void reg_ask_peers(struct registry *r, struct reg_job *j, unsigned peers, bool take, struct actions *acts);

#endif
