/* The options of cpagentd as a table: shared by the command line, the configuration file and --help.
 * Used by config.c only. */
#ifndef CPA_AGENT_CONFIG_KEY_H
#define CPA_AGENT_CONFIG_KEY_H

#include "agent/config.h"

struct config_key {
	const char *name;
	const char *arg; /* NULL: a flag; on|off in the file */
	const char *help;
	struct config_list *(*list)(struct config *c); /* set: the key may repeat, and collects here */
	/* Check value and put it into c; says what is wrong and what to write instead. */
	int (*set)(struct config *c, const char *value, struct err *e);
};

extern const struct config_key config_keys[];
extern const size_t config_keys_n;

/* NULL: there is none. */
const struct config_key *config_key_find(const char *name);

/* Is text a name for an agent or a job: 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with . or -. */
bool config_name_ok(const char *text);

/* Replace *slot by a copy of value. Both fail with a sentence when memory is short. */
int config_set_string(char **slot, const char *value, struct err *e);
int config_list_add(struct config_list *l, const char *value, struct err *e);
void config_list_clear(struct config_list *l);

#endif
