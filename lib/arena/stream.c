/* Variables as one stream of bytes: see stream.h. Knows where each begins; neither slots nor checksums. */
#include "lib/arena/stream.h"

#include "lib/arena/internal.h"

static void enter(struct stream *s, uint64_t behind)
{
	if (s->i == s->n)
		return;
	s->start = round_up(behind, 8) + (s->pads ? s->pads[s->i] : 0);
	s->end = s->start + s->vars[s->i].count * arena_type_size(s->vars[s->i].type);
}

void stream_open(struct stream *s, const struct arena_var *vars, const uint32_t *pads, size_t n)
{
	*s = (struct stream){.vars = vars, .pads = pads, .n = n};
	enter(s, 0);
}

static void go_to(struct stream *s, uint64_t at)
{
	while (s->i < s->n && at >= s->end) {
		s->i++;
		enter(s, s->end);
	}
}

void stream_read(struct stream *s, uint64_t at, uint8_t *out, uint64_t bytes)
{
	uint64_t take, in_var;

	for (; bytes; at += take, out += take, bytes -= take) {
		go_to(s, at);
		in_var = s->i < s->n && at >= s->start;
		take = s->i == s->n ? bytes : in_var ? s->end - at : s->start - at;
		take = take < bytes ? take : bytes;
		if (in_var)
			memcpy(out, (const uint8_t *)s->vars[s->i].data + (at - s->start), take);
		else
			memset(out, 0, take);
	}
}

const uint8_t *stream_run(struct stream *s, uint64_t at, uint64_t *bytes)
{
	*bytes = 0;
	go_to(s, at);
	if (s->i == s->n || at < s->start)
		return NULL;
	*bytes = s->end - at;
	return (const uint8_t *)s->vars[s->i].data + (at - s->start);
}
