/* What cpagentd was told to be: its options and its configuration file, as one checked struct.
 * Every option is also a key of the file, and the command line wins. */
#ifndef CPA_AGENT_CONFIG_H
#define CPA_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

#define CONFIG_DEFAULT_FILE "/etc/cpagent/cpagentd.conf"
#define CONFIG_DEFAULT_RUN "/run/cpagent"
#define CONFIG_DEFAULT_STATE "/var/lib/cpagent"
#define CONFIG_NAME_MAX 64

enum config_isolation { ISOLATION_FREEZE, ISOLATION_RUN };

struct config_list {
	char **item;
	size_t n;
};

/* After config_load(): every string is set unless said otherwise; owned by the struct. */
struct config {
	char *name;                 /* the agent's name; the host's unless given */
	uint32_t level;             /* 1 and up */
	struct config_list listen;  /* tcp://ADDR:PORT; may be empty at level 1 and for an agent alone */
	struct config_list parents; /* tcp://ADDR:PORT in order of preference; may be empty */
	size_t registered;          /* the last of them, that were added while it runs */
	char *key;                  /* the cluster key's file; NULL: not given, the agent speaks to nobody */
	char *run;                  /* absolute, without a trailing slash */
	char *state;                /* absolute, without a trailing slash */
	uint64_t memory;            /* bytes; half of RAM unless given */
	int64_t update_ns;          /* 0: off */
	int64_t save_ns;            /* 0: off */
	bool automatic;             /* are updates and saves taken by themselves */
	int64_t lease_ns;
	enum config_isolation on_isolation;
	char *criu;   /* absolute path; NULL: find it */
	bool verbose; /* log debug events too */
	char *file;   /* the file that was read; NULL: none (the default one is absent) */
};

/* Read argv, then the file; check all of it. May be called again (SIGHUP) with the same argv into another
 * struct. 0; 1: --help or --version was printed, exit with 0; ERR_USAGE: an option, key or value is wrong, the
 * sentence names the option or FILE:LINE; ERR_NOT_FOUND: the file named with -c is absent; ERR_DENIED, ERR_FAILED:
 * the file cannot be read. c is initialised in any case, and to be freed only after 0. */
int config_load(int argc, char *const argv[], struct config *c, struct err *e);

/* Is it the address of an agent? ERR_USAGE with a sentence. */
int config_check_url(const char *url, struct err *e);

/* One more parent, behind the others, that no option named; and without the last such one. */
int config_add_parent(struct config *c, const char *url, struct err *e);
void config_drop_parent(struct config *c);

/* Idempotent. */
void config_free(struct config *c);

#endif
