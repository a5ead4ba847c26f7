/* One running cpagentd: what its parts share. Built and torn down by main.c; everything in it belongs to the
 * loop's thread except what is constant after start. */
#ifndef CPA_AGENT_AGENT_H
#define CPA_AGENT_AGENT_H

#include <stdbool.h>
#include <uv.h>

#include "agent/config.h"
#include "agent/core/words.h"
#include "lib/base/fs.h"
#include "lib/wire/seal.h"

struct bus;
struct calls;
struct cgroups;
struct collector;
struct control;
struct fence;
struct follows;
struct jobs;
struct procs;
struct registrar;
struct upward;
struct store;

struct agent {
	uv_loop_t loop;
	struct config cfg;

	/* constant after start */
	char **argv;
	int argc;
	bool root;              /* namespaces, cgroups, other users' jobs */
	char criu[FS_PATH_MAX]; /* "": no snapshots, and why_no_criu says why */
	char why_no_criu[ERR_TEXT_MAX];
	char cpinit[FS_PATH_MAX];
	char cpfence[FS_PATH_MAX];
	struct machine has;  /* for the registry */
	char machine[1024];  /* what an image taken here needs of a machine */
	struct seal_key key; /* the cluster's; without one, one of this agent's own */
	uint8_t manifest_key[SEAL_KEY_BYTES];

	struct bus *bus; /* NULL: this agent talks to nobody */
	char url[256];   /* where others reach it; "" while not known */
	struct calls *calls;
	struct control *control;
	struct jobs *jobs;      /* level 1 */
	struct cgroups *cgroup; /* of this node; NULL without root */
	int name_fd;            /* locked while this agent lives: its name is its own on this machine */
	struct fence *fence;
	struct follows *follows;     /* who waits for a job */
	struct procs *procs;         /* kernel process events; may be NULL */
	struct upward *standing;     /* towards parent and registry; NULL: this agent has no parent */
	struct registrar *registrar; /* this agent holds the registry; NULL: its registry is elsewhere */
	struct collector *collector; /* level 2 and up */
	struct store *store;         /* level 2 and up */
	bool stopping;
};

#endif
