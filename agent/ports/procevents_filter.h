/* Private to the process events port: what the kernel drops before it wakes the agent. */
#ifndef CPA_AGENT_PROCEVENTS_FILTER_H
#define CPA_AGENT_PROCEVENTS_FILTER_H

/* Attach to the netlink socket a filter for this mask of enum procevent_type. 0 or -1 with errno. */
int procevents_attach_filter(int fd, unsigned mask);

#endif
