/* What users may ask of an agent: a table of verbs. A verb about a job runs where the job is; anywhere else the
 * request is passed on: to the registry, and from there to the job's node. */
#ifndef CPA_AGENT_VERBS_H
#define CPA_AGENT_VERBS_H

#include "agent/jobs.h"
#include "agent/request.h"

/* Handlers answer now or later. With a job: it is here, and the caller may use it. */
void verb_run(struct request *rq);
void verb_ps(struct request *rq);
void verb_status(struct request *rq);
void verb_save(struct request *rq);
void verb_signal(struct request *rq, struct job *j);
void verb_stop(struct request *rq, struct job *j);
void verb_checkpoint(struct request *rq, struct job *j);
void verb_restore(struct request *rq, struct job *j);
void verb_history(struct request *rq, struct job *j);
void verb_keys(struct request *rq, struct job *j);
void verb_get(struct request *rq, struct job *j);
void verb_interval(struct request *rq, struct job *j); /* verbs_tune.c; j NULL: of the agent */
void verb_register(struct request *rq);
void verb_group(struct request *rq); /* verbs_group.c */
void verb_versions(struct request *rq, struct job *j);
void verb_follow(struct request *rq, struct job *j); /* follow.c */
void verb_wait(struct request *rq, struct job *j);

/* Answer with where and as which incarnation j runs, when its start that is about to begin is done, or with why it
 * failed. The request is adopted. False: somebody waits for that already, or no memory. */
bool verbs_answer_when_started(struct request *rq, struct job *j);
/* The registry's lease ran out: who waits for it to take a job is told. */
void verbs_run_registry_lost(struct agent *a);
/* Answers with an error, and true, when the job has ended. */
bool verbs_refuse_ended(struct request *rq, const struct job *j);
/* Has a level been reached that a checkpoint waits for? Called at each change and tick. */
void verbs_checkpoint_look(struct agent *a);

/* Verbs about a job that no node has now (it ended and its node forgot it, or it waits for a node): answered by
 * the registry, or refused. */
void verb_elsewhere(struct request *rq, const struct reg_job *j);
/* Verbs that wait for a job's end or its output wait for its new node, too; one that was passed on is held for a
 * while, answered, and asked again. False: not this one, or not any longer. */
bool verbs_wait_for_node(struct request *rq);
/* An order that the registry itself carries out. */
void verb_registry_restore(struct request *rq, const struct reg_job *j);

/* Pass the request on; its answer is passed back. what: for the error when that agent does not answer. */
void verbs_forward(struct request *rq, const char *url, const char *what);
/* Something else was to be tried first: do this when the forwarded request fails to reach anyone. */
void verbs_forward_or(struct request *rq, const char *url, void (*otherwise)(struct request *));

/* doc.c: documents as INTERFACE promises them. */
json_t *doc_job(const Cpa__Spec *spec, const Cpa__Report *r, const char *node, const char *state);
json_t *doc_exit(const Cpa__Exit *x, const char *state);
json_t *doc_time(int64_t real_ns);  /* null for 0 */
json_t *doc_text(const char *text); /* a reason may quote a path of any bytes, or be cut inside a character */

#endif
