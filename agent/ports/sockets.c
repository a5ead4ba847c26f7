/* Asks NETLINK_SOCK_DIAG for TCP and unix sockets. See sockets.h. */
#include "agent/ports/sockets.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct socket_info *append(struct sockets *s)
{
	if ((s->count & (s->count - 1)) == 0) { /* grow at powers of two */
		struct socket_info *more = realloc(s->list, (s->count ? s->count * 2 : 1) * sizeof *more);
		if (!more)
			return NULL;
		s->list = more;
	}
	s->list[s->count] = (struct socket_info){0};
	return &s->list[s->count++];
}

static void read_inet(struct sockets *s, const struct nlmsghdr *h)
{
	const struct inet_diag_msg *m = nlmsg_data(h);
	struct socket_info *i = nlmsg_datalen(h) >= (int)sizeof *m && m->idiag_inode ? append(s) : NULL;
	if (!i)
		return;
	i->inode = m->idiag_inode;
	i->family = m->idiag_family;
	memcpy(&i->local.addr, m->id.idiag_src, sizeof i->local.addr);
	memcpy(&i->remote.addr, m->id.idiag_dst, sizeof i->remote.addr);
	i->local.port = ntohs(m->id.idiag_sport);
	i->remote.port = ntohs(m->id.idiag_dport);
}

static void read_unix(struct sockets *s, struct nlmsghdr *h)
{
	const struct unix_diag_msg *m = nlmsg_data(h);
	struct nlattr *peer = nlmsg_find_attr(h, sizeof *m, UNIX_DIAG_PEER);
	if (nlmsg_datalen(h) < (int)sizeof *m || !peer || nla_len(peer) < (int)sizeof(uint32_t))
		return;
	if (m->udiag_type != SOCK_STREAM && m->udiag_type != SOCK_SEQPACKET)
		return;
	struct socket_info *i = append(s);
	if (!i)
		return;
	i->inode = m->udiag_ino;
	i->family = AF_UNIX;
	i->type = m->udiag_type;
	memcpy(&i->peer, nla_data(peer), sizeof i->peer);
}

static int on_message(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *h = nlmsg_hdr(msg);
	const uint8_t *family = nlmsg_data(h);
	if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || nlmsg_datalen(h) < 1)
		return NL_OK;
	if (*family == AF_UNIX)
		read_unix(arg, h);
	else
		read_inet(arg, h);
	return NL_OK;
}

static int dump(struct nl_sock *sk, void *request, size_t len)
{
	int rc = nl_send_simple(sk, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request, len);
	return rc < 0 ? rc : nl_recvmsgs_default(sk);
}

static int dump_tcp(struct nl_sock *sk, int family)
{
	struct inet_diag_req_v2 req = {
		.sdiag_family = (uint8_t)family,
		.sdiag_protocol = IPPROTO_TCP,
		.idiag_states = ~(1U << TCP_LISTEN | 1U << TCP_CLOSE | 1U << TCP_TIME_WAIT),
	};
	return dump(sk, &req, sizeof req);
}

static int dump_unix(struct nl_sock *sk)
{
	struct unix_diag_req req = {
		.sdiag_family = AF_UNIX, .udiag_states = ~0U, .udiag_show = UDIAG_SHOW_PEER};
	return dump(sk, &req, sizeof req);
}

int sockets_read(struct sockets *s, struct err *e)
{
	*s = (struct sockets){0};
	struct nl_sock *sk = nl_socket_alloc();
	if (!sk)
		return err_set(e, ERR_FAILED, "out of memory for socket diagnostics");
	int rc = nl_connect(sk, NETLINK_SOCK_DIAG);
	if (rc >= 0) {
		nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, on_message, s);
		rc = dump_tcp(sk, AF_INET);
		if (rc >= 0) {
			dump_tcp(sk, AF_INET6); /* a kernel without IPv6 has none to show */
			rc = dump_unix(sk);
		}
	}
	nl_socket_free(sk);
	if (rc >= 0)
		return ERR_OK;
	sockets_free(s);
	return err_set(e, ERR_FAILED, "the kernel's socket diagnostics do not answer: %s", nl_geterror(rc));
}

void sockets_free(struct sockets *s)
{
	free(s->list);
	*s = (struct sockets){0};
}

const struct socket_info *sockets_find(const struct sockets *s, uint32_t inode)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].inode == inode)
			return &s->list[i];
	return NULL;
}

const char *socket_end_text(int family, const struct socket_end *end, char *buf)
{
	char addr[INET6_ADDRSTRLEN] = "?";
	inet_ntop(family, &end->addr, addr, sizeof addr);
	snprintf(buf, SOCKET_TEXT_MAX, family == AF_INET6 ? "[%s]:%u" : "%s:%u", addr, end->port);
	return buf;
}
