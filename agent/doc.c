/* Owns the documents that scripts rely on: field names, units, what is null. */
#include <string.h>

#include "agent/verbs.h"
#include "lib/base/clock.h"

json_t *doc_time(int64_t real_ns)
{
	char buf[CLOCK_TEXT_MAX];
	return real_ns > 0 ? json_string(clock_text(real_ns, buf)) : json_null();
}

json_t *doc_text(const char *text)
{
	char plain[CORE_WHY];
	json_t *t = json_string(text);
	if (t)
		return t;
	core_copy(plain, sizeof plain, text);
	for (char *p = plain; *p; p++)
		if (*p & 0x80)
			*p = '?';
	return json_string(plain);
}

json_t *doc_exit(const Cpa__Exit *x, const char *state)
{
	if (!x || (strcmp(state, "exited") != 0 && strcmp(state, "failed") != 0))
		return json_null();
	if (strcmp(state, "failed") == 0 && !x->code && !x->signal)
		return json_null(); /* it was lost or could not go on: there is no status */
	json_t *code = x->signal ? json_null() : json_integer(x->code);
	json_t *sig = x->signal ? json_integer(x->signal) : json_null();
	return json_pack("{s:o,s:o}", "code", code, "signal", sig);
}

static json_t *bytes_text(const ProtobufCBinaryData *b)
{
	json_t *t = json_stringn((const char *)b->data, b->len);
	return t ? t : json_string("?"); /* not UTF-8 */
}

static json_t *doc_snapshot(const Cpa__Report *r)
{
	if (!r || !r->generation)
		return json_null();
	return json_pack("{s:I,s:i,s:o,s:I}", "generation", (json_int_t)r->generation, "level",
	                 (int)r->generation_level, "time", doc_time(r->generation_time_ns), "size_bytes",
	                 (json_int_t)r->generation_bytes);
}

json_t *doc_job(const Cpa__Spec *spec, const Cpa__Report *r, const char *node, const char *state)
{
	json_t *command = json_array();
	for (size_t i = 0; i < spec->n_argv; i++)
		json_array_append_new(command, bytes_text(&spec->argv[i]));
	json_t *doc =
	        json_pack("{s:s,s:s,s:s,s:s}", "job", spec->job, "name", spec->name, "state", state, "node", node);
	json_object_set_new(doc, "incarnation", json_integer(r ? r->incarnation : 0));
	json_object_set_new(doc, "pid", r && r->pid > 0 ? json_integer(r->pid) : json_null());
	json_object_set_new(doc, "uid", json_integer(spec->uid));
	json_object_set_new(doc, "command", command);
	json_object_set_new(doc, "exit", doc_exit(r ? r->exit : NULL, state));
	json_object_set_new(doc, "snapshot", doc_snapshot(r));
	json_object_set_new(doc, "keys",
	                    json_pack("{s:I,s:I,s:i}", "count", (json_int_t)(r ? r->keys : 0), "bytes",
	                              (json_int_t)(r ? r->keys_bytes : 0), "level", (int)(r ? r->keys_level : 0)));
	json_object_set_new(doc, "group", spec->group[0] ? json_string(spec->group) : json_null());
	json_object_set_new(doc, "rank", json_integer(spec->rank));
	json_object_set_new(doc, "size", json_integer(spec->ranks ? spec->ranks : 1));
	json_object_set_new(doc, "reason", r && r->reason[0] ? doc_text(r->reason) : json_null());
	return doc;
}
