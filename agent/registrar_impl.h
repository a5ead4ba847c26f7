/* Shared by the files of the registrar: registrar.c (what is asked of it), registrar_acts.c (what it does),
 * registrar_disk.c (its records), registrar_jobs.c (what is known of jobs besides ownership). */
#ifndef CPA_AGENT_REGISTRAR_IMPL_H
#define CPA_AGENT_REGISTRAR_IMPL_H

#include <uv.h>

#include "agent/ports/records.h"
#include "agent/registrar.h"

/* A user's order that waits for a node to run the job. */
struct order {
	struct order *next;
	registrar_done_fn *done;
	void *ctx;
	uint32_t after; /* satisfied by an incarnation from this one on */
	int64_t give_up;
};

/* What is known of a job besides core's record. */
struct known {
	char uuid[CORE_UUID];
	Cpa__Spec *spec;     /* owned */
	Cpa__Report *detail; /* owned; may be NULL */
	struct order *orders;
	struct source_wish wish; /* of an operator's restore, for the next start */
	bool wished;
};

struct registrar {
	struct agent *agent;
	struct registry reg;
	struct records *db;
	struct actions acts;
	struct table known;  /* uuid -> struct known */
	struct table agents; /* name -> struct known_agent */
	uv_timer_t timer;
	struct actions
	        later;   /* records that can wait for the next write: nothing is lost if they are not written */
	size_t n_orders; /* of all jobs */
	int64_t opened, later_due, forget_due;
	bool unsaved; /* a record could not be written: no orders until it is */
};

struct known_agent {
	char name[CORE_NAME];
	Cpa__Agent *agent; /* owned */
};

/* Nothing is ordered and nobody is told: what was decided now may be written with whatever comes next. */
void registrar_put_off(struct registrar *g);

/* registrar_orders.c: ACT_START, ACT_STOP, ACT_ASK. Lost ones are given again by core. */
void registrar_order_start(struct registrar *g, const struct action *act);
void registrar_order_stop(struct registrar *g, const struct action *act);
void registrar_ask_other(struct registrar *g, const struct action *act);

/* Do what core decided, records first, then be called again when it wants. */
void registrar_perform(struct registrar *g);
void registrar_go_on(struct registrar *g);

/* registrar_disk.c: all records named by acts in one go. */
int registrar_save(struct registrar *g, const struct actions *acts, struct err *e);
int registrar_load(struct registrar *g, bool *fresh, struct err *e);

/* registrar_jobs.c */
struct known *registrar_known(struct registrar *g, const char *uuid, const Cpa__Spec *spec);
void registrar_forget(struct registrar *g, const char *uuid);
void registrar_job_spec(const Cpa__Spec *spec, struct job_spec *out);
void registrar_settle_orders(struct registrar *g, struct known *k, uint32_t incarnation, int code,
                             const char *text, int launch_status);
void registrar_expire_orders(struct registrar *g, int64_t now);
void registrar_note_agent(struct registrar *g, const Cpa__Agent *agent);
/* False: what it says of itself makes no sense. */
bool registrar_node_info(const Cpa__Agent *a, uint64_t term, struct node_info *out);

#endif
