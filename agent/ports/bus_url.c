/* Owns URLs: what one is, binding to it, finding a free port, and which address of ours a peer sees. */
#include <arpa/inet.h>
#include <errno.h>
#include <nanomsg/nn.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/ports/bus_impl.h"
#include "lib/base/scoped.h"

#define PORT_TRIES 16

static int port_parse(const char *text, unsigned *port)
{
	char *end;

	if (!strcmp(text, "*")) {
		*port = 0;
		return 0;
	}
	if (text[0] < '0' || text[0] > '9' || strlen(text) > 5)
		return ERR_USAGE;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || n > 65535)
		return ERR_USAGE;
	*port = (unsigned)n;
	return 0;
}

static int host_ok(const char *host)
{
	if (!strcmp(host, "*"))
		return 1;
	size_t len = strlen(host);

	if (host[0] == '[')
		return len > 2 && host[len - 1] == ']' && strspn(host + 1, "0123456789abcdefABCDEF:.%") == len - 2;
	return len > 0 && strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == len;
}

int bus_url_parse(const char *url, struct bus_addr *a)
{
	if (!url || strncmp(url, "tcp://", 6) || strlen(url) >= BUS_URL_MAX)
		return ERR_USAGE;
	const char *host = url + 6, *colon = strrchr(host, ':');

	if (!colon)
		return ERR_USAGE;
	memcpy(a->host, host, (size_t)(colon - host));
	a->host[colon - host] = 0;
	return host_ok(a->host) ? port_parse(colon + 1, &a->port) : ERR_USAGE;
}

static int wildcard(const char *host)
{
	return !strcmp(host, "*") || !strcmp(host, "0.0.0.0") || !strcmp(host, "[::]");
}

int bus_url_peer_ok(const char *url)
{
	struct bus_addr a;

	return !bus_url_parse(url, &a) && a.port && !wildcard(a.host);
}

/* The first address of host (brackets or not); passive: to bind to. 0, or getaddrinfo's code. */
static int resolve(const struct bus_addr *a, int flags, struct sockaddr_storage *ss, socklen_t *len)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV }, *found;
	char host[BUS_URL_MAX], port[8];
	size_t n = strlen(a->host);

	hints.ai_family = a->host[0] == '[' ? AF_INET6 : AF_INET;
	snprintf(host, sizeof host, "%s", a->host[0] == '[' ? a->host + 1 : a->host);
	if (a->host[0] == '[')
		host[n - 2] = 0;
	snprintf(port, sizeof port, "%u", a->port);
	int rc = getaddrinfo(wildcard(a->host) ? NULL : host, port, &hints, &found);

	if (rc)
		return rc;
	memcpy(ss, found->ai_addr, found->ai_addrlen);
	*len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static void host_text(const struct sockaddr_storage *ss, socklen_t len, char *out, size_t size)
{
	char text[INET6_ADDRSTRLEN + IF_NAMESIZE] = "";

	getnameinfo((const struct sockaddr *)ss, len, text, sizeof text, NULL, 0, NI_NUMERICHOST);
	snprintf(out, size, ss->ss_family == AF_INET6 ? "[%s]" : "%s", text);
}

/* A port that nobody has at this moment; 0 if there is none. */
static unsigned free_port(const struct sockaddr_storage *ss, socklen_t len)
{
	struct sockaddr_storage got;
	socklen_t got_len = sizeof got;
	scoped_fd int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)ss, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&got, &got_len) < 0)
		return 0;
	return got.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&got)->sin6_port)
	                                 : ntohs(((struct sockaddr_in *)&got)->sin_port);
}

static int bind_error(const char *url, unsigned port, int why, struct err *e)
{
	if (why == EADDRINUSE)
		return err_set(e, ERR_FAILED,
		               "cannot listen on %s: port %u is in use; stop who has it (`ss -ltnp 'sport = :%u'` "
		               "shows it), or listen on another port",
		               url, port, port);
	if (why == EADDRNOTAVAIL)
		return err_set(e, ERR_FAILED,
		               "cannot listen on %s: no interface of this machine has that address; see `ip addr`",
		               url);
	return err_set(e, why == EACCES ? ERR_DENIED : ERR_FAILED, "cannot listen on %s: %s", url,
	               nn_strerror(why));
}

int bus_listen(struct bus *bus, const char *url, struct err *e)
{
	struct bus_addr a;
	struct sockaddr_storage ss;
	socklen_t len = 0;
	int ipv4only = 0, why = EADDRINUSE;

	if (bus_url_parse(url, &a))
		return err_set(e, ERR_USAGE, "cannot listen on %s: not of the form tcp://ADDRESS:PORT",
		               url ? url : "nothing");
	int rc = resolve(&a, AI_PASSIVE, &ss, &len);

	if (rc)
		return err_set(e, ERR_USAGE, "cannot listen on %s: %s; give an address of this machine, or *", url,
		               gai_strerror(rc));
	if (wildcard(a.host))
		snprintf(a.host, sizeof a.host, "*");
	else
		host_text(&ss, len, a.host, sizeof a.host);
	if (ss.ss_family == AF_INET6)
		nn_setsockopt(bus->pull, NN_SOL_SOCKET, NN_IPV4ONLY, &ipv4only, sizeof ipv4only);
	/* nanomsg cannot bind to port 0: between finding a port and binding to it someone may take it */
	for (int i = 0; i < (a.port ? 1 : PORT_TRIES); i++) {
		unsigned port = a.port ? a.port : free_port(&ss, len);
		char *real = bus->urls[bus->n_urls];

		snprintf(real, BUS_URL_MAX, "tcp://%.200s:%u", a.host, port);
		if (port && nn_bind(bus->pull, real) >= 0) {
			bus->n_urls++;
			return 0;
		}
		why = port ? nn_errno() : errno;
		if (why != EADDRINUSE)
			break;
	}
	return bind_error(url, a.port, why, e);
}

int bus_facing(const char *url, char *addr, size_t size, struct err *e)
{
	struct bus_addr a;
	struct sockaddr_storage ss, mine;
	socklen_t len = 0, mine_len = sizeof mine;

	if (!bus_url_peer_ok(url) || bus_url_parse(url, &a))
		return err_set(e, ERR_USAGE, "%s: not of the form tcp://ADDRESS:PORT", url);
	int rc = resolve(&a, 0, &ss, &len);

	if (rc)
		return err_set(e, ERR_FAILED, "cannot find the address of %s: %s", url, gai_strerror(rc));
	/* connecting a datagram socket sends nothing, and lets the kernel choose the route */
	scoped_fd int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&ss, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&mine, &mine_len) < 0)
		return err_sys(e, ERR_FAILED, "no route to %s", url);
	host_text(&mine, mine_len, addr, size);
	return 0;
}

/* Of several listen URLs the one with the address that faces the peer, else a wildcard with that address put in,
 * else the first. "": only wildcards, and no route yet. */
void bus_url_mine(const struct bus *bus, const char *peer_url, char *mine)
{
	char addr[INET6_ADDRSTRLEN + IF_NAMESIZE + 2];
	const char *named = NULL, *facing = NULL;
	struct bus_addr a, wild = { .port = 0 };

	mine[0] = 0;
	int routed = bus->n_urls == 1 && bus_url_peer_ok(bus->urls[0])
	                     ? 0
	                     : !bus_facing(peer_url, addr, sizeof addr, NULL);

	for (size_t i = bus->n_urls; i-- > 0;) {
		bus_url_parse(bus->urls[i], &a);
		if (wildcard(a.host))
			wild = a;
		else
			named = bus->urls[i];
		if (routed && !strcmp(a.host, addr))
			facing = bus->urls[i];
	}
	if (facing || (named && !(wild.port && routed)))
		snprintf(mine, BUS_URL_MAX, "%s", facing ? facing : named);
	else if (wild.port && routed)
		snprintf(mine, BUS_URL_MAX, "tcp://%s:%u", addr, wild.port);
}
