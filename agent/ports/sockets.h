/* Connected stream sockets as the kernel's socket diagnostics show them (libnl), in this process's network
 * namespace, which its jobs share. */
#ifndef CPA_PORTS_SOCKETS_H
#define CPA_PORTS_SOCKETS_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

struct socket_end {
	struct in6_addr addr; /* IPv4 in its first four bytes */
	uint16_t port;	      /* host byte order */
};

struct socket_info {
	uint32_t inode;
	int family; /* AF_INET, AF_INET6, AF_UNIX */
	int type;   /* AF_UNIX: SOCK_STREAM or SOCK_SEQPACKET */
	struct socket_end local, remote; /* TCP */
	uint32_t peer; /* AF_UNIX: the other end's inode; 0: none */
};

struct sockets {
	struct socket_info *list;
	size_t count;
};

/* TCP sockets that are connected or about to be, and connected unix ones. ERR_FAILED: no diagnostics here. */
int sockets_read(struct sockets *s, struct err *e);
void sockets_free(struct sockets *s);

/* The socket with this inode, or NULL. */
const struct socket_info *sockets_find(const struct sockets *s, uint32_t inode);

#define SOCKET_TEXT_MAX 64
/* "10.0.0.1:80"; into buf of SOCKET_TEXT_MAX. Returns buf. */
const char *socket_end_text(int family, const struct socket_end *end, char *buf);

#endif
