/* What the subcommands of cpagent share: one invocation's context, its arguments, the call to the agent, and how
 * things are shown. A subcommand is one cmd_NAME.c with one struct cli_command. */
#ifndef CPA_CLI_H
#define CPA_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "lib/base/err.h"
#include "lib/base/fs.h"

#define CLI_DEFAULT_RUN "/run/cpagent"
#define CLI_USAGE 2 /* the exit status for wrong usage */

/* ---- one invocation ------------------------------------------------------------------------------ */

struct cli {
	char run[FS_PATH_MAX]; /* the agent's runtime directory */
	bool json;
	bool color;   /* stdout is a terminal, and nobody asked for plain text */
	int fd;       /* the connection to the agent; -1: none */
	bool reached; /* an agent has answered in this invocation */
	/* Signals as a descriptor (-1: none); handed to on_signal while a call waits for its answer. */
	int signal_fd;
	void (*on_signal)(struct cli *c, int signo);
	const char *job; /* for on_signal; borrowed */
};

/* Run cpagent: returns the exit status. Safe to call repeatedly in one process (tests do). */
int cli_main(int argc, char **argv);

/* ---- arguments ----------------------------------------------------------------------------------- */

struct cli_option {
	const char *name;
	char letter;     /* 0: none */
	const char *arg; /* NULL: a flag */
	const char *help;
};

struct cli_given {
	const char *name, *value; /* a flag's value is "" */
};

struct cli_args {
	const struct cli_command *command;
	char **pos; /* what is no option; borrowed from argv */
	int n;
	struct cli_given *given;
	size_t n_given;
};

struct cli_command {
	const char *name;
	const char *args; /* as usage shows it: "[-a]", "JOB" */
	const char *summary;
	const char *example;
	const struct cli_option *options; /* ends with name NULL; NULL: none */
	int min, max;                     /* arguments; max -1: any number */
	bool stops;                       /* options end at the first argument */
	int (*fn)(struct cli *c, const struct cli_args *a);
};

extern const struct cli_command *const cli_commands[]; /* ends with NULL */
extern const struct cli_command cli_cmd_run, cli_cmd_ps, cli_cmd_status, cli_cmd_logs, cli_cmd_wait,
        cli_cmd_signal, cli_cmd_stop, cli_cmd_checkpoint, cli_cmd_restore, cli_cmd_history, cli_cmd_keys,
        cli_cmd_get, cli_cmd_save, cli_cmd_interval, cli_cmd_register, cli_cmd_keygen, cli_cmd_doctor,
        cli_cmd_show, cli_cmd_verify;

/* Read argv into *a (owned; cli_args_free) and the global options into c. 0; 1: --help was printed; ERR_USAGE. */
int cli_args_read(struct cli *c, const struct cli_command *cmd, int argc, char **argv, struct cli_args *a,
                  struct err *e);
void cli_args_free(struct cli_args *a);
void cli_help(const struct cli_command *cmd);

/* The last value given for an option; NULL: not given. */
const char *cli_opt(const struct cli_args *a, const char *name);
/* The same as a number from min to max, nanoseconds, or bytes: fallback when not given. 0 or ERR_USAGE. */
int cli_opt_number(const struct cli_args *a, const char *name, uint64_t min, uint64_t max, uint64_t *n,
                   struct err *e);
int cli_opt_duration(const struct cli_args *a, const char *name, int64_t *ns, struct err *e);
int cli_opt_size(const struct cli_args *a, const char *name, uint64_t *bytes, struct err *e);
/* The place of the option's word in words (ends with NULL), into *i; unchanged when not given. 0 or ERR_USAGE. */
int cli_opt_word(const struct cli_args *a, const char *name, const char *const *words, int *i, struct err *e);

/* ---- the agent ----------------------------------------------------------------------------------- */

struct cli_answer {
	json_t *json;  /* owned; without "ok" */
	uint8_t *data; /* owned; may be NULL */
	size_t len;
	int launch_status; /* of an error: 125 to 127; 0: none */
};

#define CLI_SHOW_SECONDS 30 /* an agent that is alive answers what it knows by itself within this */

/* Ask the agent and wait; seconds 0: without limit. request is adopted. ERR_NO_AGENT: none answers; else what the
 * agent said. a is to be freed in any case. */
int cli_call(struct cli *c, json_t *request, const void *data, size_t len, unsigned seconds, struct cli_answer *a,
             struct err *e);

/* The same for requests that may be repeated: an agent that goes after it had answered once (it is restarted,
 * while jobs run on) is waited for, up to 30 s. */
int cli_call_patient(struct cli *c, json_t *request, unsigned seconds, struct cli_answer *a, struct err *e);
void cli_answer_free(struct cli_answer *a);
void cli_disconnect(struct cli *c);

/* The two halves of a call, for many connections at once: c->fd can be read when there is an answer. A connection that
 * failed is closed. */
int cli_send(struct cli *c, const json_t *request, struct err *e);
int cli_receive(struct cli *c, unsigned seconds, struct cli_answer *a, struct err *e);

/* Ask for a document and show it: as it came with --json, else through render. Returns the exit status. */
typedef void cli_render(FILE *out, const json_t *doc, bool color);
int cli_show(struct cli *c, json_t *request, unsigned seconds, cli_render *render);

/* ---- following a job's output --------------------------------------------------------------------- */

struct cli_follow {
	const char *job;
	bool to_end;      /* print what there is, don't wait for more */
	bool only_stderr; /* the job's stderr alone, to stdout */
	json_t *last;     /* the last answer; owned by the caller after */
};

/* Copy the job's output to ours until it has ended (or to_end). 0 or an error. */
int cli_follow_run(struct cli *c, struct cli_follow *f, struct err *e);

/* The exit status that stands for a job's end: {"state","exit":{"code","signal"}}; 1 when it has none. */
int cli_job_status(const json_t *doc);

/* What of one of many outputs has come, so that theirs go to ours in whole lines. */
struct cli_lines {
	uint8_t *text; /* owned: the beginning of a line whose end has not come */
	size_t n;
};

/* More of it: whole lines are written, the rest is kept; a very long line comes in pieces. Nothing is done where *e
 * is an error already. */
void cli_lines_put(struct cli_lines *l, int fd, const uint8_t *data, size_t n, struct err *e);
/* There is no more: what is left becomes a line. */
void cli_lines_end(struct cli_lines *l, int fd, struct err *e);

/* ---- ranks ---------------------------------------------------------------------------------------- */

/* Follow them all until the last has ended: whole lines, as they come. jobs: an array of their UUIDs. The exit status:
 * the first rank's that is not 0. */
int cli_ranks_follow(struct cli *c, const json_t *jobs);

/* cpagent run --group: start them all, or none. */
int cli_ranks_run(struct cli *c, const struct cli_args *a);

/* The jobs of the group that the word names, as {"job","name",…}, by rank: those of the run that lives, else of one that
 * has ended. ERR_NOT_FOUND: there is no such group. *list is owned by the caller. */
int cli_ranks_of(struct cli *c, const char *word, json_t **list, struct err *e);

/* Is a rank of that list among those that have not ended? */
bool cli_ranks_live(const json_t *list);

/* ---- the job to be started ------------------------------------------------------------------------ */

/* What makes a job one of several; all NULL and 0: it is none. */
struct cli_rank {
	const char *group, *launch, *name, *node; /* name, node: instead of the options */
	uint32_t rank, ranks;
};

/* Pack a Cpa__Spec of this process (environment, directory, limits, …) and the options of `run`: *out owned. */
int cli_spec_pack(const struct cli_args *a, const struct cli_rank *rank, uint8_t **out, size_t *len, struct err *e);
/* Is it a job's or node's name? Else an error that names the option. */
int cli_spec_name(const char *option, const char *name, struct err *e);

/* ---- showing ------------------------------------------------------------------------------------- */

/* Print "cpagent: TEXT" and return the exit status of the error. */
int cli_fail(const struct err *e);
int cli_print_json(const json_t *doc);

/* Text from outside, fit for a terminal: control characters become '?'. Into buf; returns buf. */
const char *cli_safe(const char *text, char *buf, size_t size);
/* An RFC 3339 time as "12 s ago"; "-" when there is none. Into buf; returns buf. */
const char *cli_ago(const char *rfc3339, char *buf, size_t size);

struct cli_table {
	size_t columns, cells;
	char **text;
	const char **color; /* per cell; NULL: none */
	bool broken;        /* out of memory: nothing is printed */
};

/* Headers, ended by NULL; one that begins with '>' is aligned to the right. Cells then follow row by row. */
void cli_table_begin(struct cli_table *t, const char *header, ...) __attribute__((sentinel));
void cli_table_column(struct cli_table *t, const char *header); /* one more, before the first cell */
void cli_cell(struct cli_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_cell_state(struct cli_table *t, const char *state); /* in the colour that the state has */
/* Print and free. */
void cli_table_end(struct cli_table *t, FILE *out, bool color);

cli_render cli_render_ps, cli_render_status, cli_render_history, cli_render_keys;

/* The values of a key, readably: vars as in "keys", bytes one after the other. 0, or ERR_FAILED: they don't fit.
 */
int cli_render_values(FILE *out, const json_t *vars, const uint8_t *data, size_t len, struct err *e);

#endif
