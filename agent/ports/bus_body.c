/* Owns the order of a message's plain bytes (docs/protocol.md) and the queues of messages to be sent. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ports/bus_impl.h"

/* offsets; then the URL, the head and the data, each at a multiple of 16 */
enum { AT_ID = 0, AT_HEAD_LEN = 8, AT_URL_LEN = 12, AT_ZERO = 14, AT_URL = 16 };

static size_t up16(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

struct body *bus_body_make(const char *url, uint64_t id, const void *head, size_t head_len, const void *data,
                           size_t data_len)
{
	size_t url_len = strlen(url);

	if (head_len > BUS_PAYLOAD_MAX || data_len > BUS_PAYLOAD_MAX - head_len)
		return NULL;
	size_t head_at = AT_URL + up16(url_len), data_at = head_at + up16(head_len);
	struct body *b = malloc(sizeof *b + data_at + data_len);

	if (!b)
		return NULL;
	uint64_t id_le = htole64(id);
	uint32_t head_le = htole32((uint32_t)head_len);
	uint16_t url_le = htole16((uint16_t)url_len);

	b->refs = 1;
	b->len = data_at + data_len;
	memset(b->bytes, 0, AT_URL);
	memcpy(b->bytes + AT_ID, &id_le, sizeof id_le);
	memcpy(b->bytes + AT_HEAD_LEN, &head_le, sizeof head_le);
	memcpy(b->bytes + AT_URL_LEN, &url_le, sizeof url_le);
	memcpy(b->bytes + AT_URL, url, url_len);
	memset(b->bytes + AT_URL + url_len, 0, head_at - AT_URL - url_len);
	if (head_len)
		memcpy(b->bytes + head_at, head, head_len);
	memset(b->bytes + head_at + head_len, 0, data_at - head_at - head_len);
	if (data_len)
		memcpy(b->bytes + data_at, data, data_len);
	return b;
}

struct body *bus_body_ref(struct body *b)
{
	b->refs++;
	return b;
}

void bus_body_unref(struct body *b)
{
	if (b && --b->refs == 0)
		free(b);
}

int bus_body_parse(const uint8_t *bytes, size_t len, struct parts *p)
{
	uint64_t id_le;
	uint32_t head_le;
	uint16_t url_le;

	memset(p, 0, sizeof *p);
	if (len < AT_URL)
		return -1;
	memcpy(&id_le, bytes + AT_ID, sizeof id_le);
	memcpy(&head_le, bytes + AT_HEAD_LEN, sizeof head_le);
	memcpy(&url_le, bytes + AT_URL_LEN, sizeof url_le);
	size_t url_len = le16toh(url_le), head_len = le32toh(head_le);

	if (url_len >= BUS_URL_MAX || head_len > BUS_PAYLOAD_MAX)
		return -1;
	size_t head_at = AT_URL + up16(url_len), data_at = head_at + up16(head_len);

	if (data_at > len || memchr(bytes + AT_URL, 0, url_len))
		return -1;
	p->id = le64toh(id_le);
	memcpy(p->url, bytes + AT_URL, url_len);
	p->head = bytes + head_at;
	p->head_len = head_len;
	p->data = bytes + data_at;
	p->data_len = len - data_at;
	return p->url[0] && !bus_url_peer_ok(p->url) ? -1 : 0;
}

void outbox_init(struct outbox *box)
{
	*box = (struct outbox){ .last = &box->first };
}

void outbox_add(struct outbox *box, struct out *o)
{
	o->next = NULL;
	*box->last = o;
	box->last = &o->next;
	box->msgs++;
	box->bytes += o->body->len;
}

struct out *outbox_take(struct outbox *box, struct out **at)
{
	struct out *o = *at;

	*at = o->next;
	if (!o->next)
		box->last = at;
	box->msgs--;
	box->bytes -= o->body->len;
	return o;
}

void out_free(struct out *o)
{
	bus_body_unref(o->body);
	free(o);
}
