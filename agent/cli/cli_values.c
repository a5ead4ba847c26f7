/* Owns how typed values are printed: one variable per line, long arrays with their first and last elements. */
#include "agent/cli/cli.h"

#include <float.h>
#include <inttypes.h>
#include <string.h>

#include "lib/arena/format.h"

#define SHOWN 8 /* elements at either end of a long array */
#define BYTES_SHOWN 64

static uint32_t type_of(const char *name)
{
	for (uint32_t t = 1; name && t < ARENA_TYPES; t++)
		if (!strcmp(arena_type_name(t), name))
			return t;
	return 0;
}

#define AS(type)                                                                                                  \
	({                                                                                                        \
		type v_;                                                                                          \
		memcpy(&v_, p, sizeof v_);                                                                        \
		v_;                                                                                               \
	})

/* long double as this machine has it: x87's 80 bits, IEEE quad, or none of ours. */
#if LDBL_MANT_DIG == 64
#define LONG_DOUBLE ARENA_F80
#elif LDBL_MANT_DIG == 113
#define LONG_DOUBLE ARENA_F128
#else
#define LONG_DOUBLE 0
#endif

/* What this machine has no type for, and unknown types, print as hexadecimal bytes. */
static void print_bytes(FILE *out, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%02x", p[i]);
}

/* x87's numbers have their first bit written out; what lacks it is no number, and not every C library prints it. */
static int is_number(const uint8_t *p)
{
	return LONG_DOUBLE != ARENA_F80 || p[7] >> 7 || !(p[8] | (p[9] & 0x7f));
}

static void print_long(FILE *out, uint32_t type, const uint8_t *p)
{
	if (type != LONG_DOUBLE || !is_number(p))
		print_bytes(out, p, type == ARENA_F80 ? 10 : 16); /* the rest of an f80 is padding */
	else
		fprintf(out, "%.*Lg", LDBL_DECIMAL_DIG, AS(long double));
}

static void print_element(FILE *out, uint32_t type, const uint8_t *p, size_t size)
{
	switch (type) {
	case ARENA_I8:
		fprintf(out, "%" PRId8, AS(int8_t));
		break;
	case ARENA_U8:
		fprintf(out, "%" PRIu8, *p);
		break;
	case ARENA_I16:
		fprintf(out, "%" PRId16, AS(int16_t));
		break;
	case ARENA_U16:
		fprintf(out, "%" PRIu16, AS(uint16_t));
		break;
	case ARENA_I32:
		fprintf(out, "%" PRId32, AS(int32_t));
		break;
	case ARENA_U32:
		fprintf(out, "%" PRIu32, AS(uint32_t));
		break;
	case ARENA_I64:
		fprintf(out, "%" PRId64, AS(int64_t));
		break;
	case ARENA_U64:
		fprintf(out, "%" PRIu64, AS(uint64_t));
		break;
	case ARENA_F32:
		fprintf(out, "%.9g", (double)AS(float));
		break;
	case ARENA_F64:
		fprintf(out, "%.17g", AS(double));
		break;
	case ARENA_F80:
	case ARENA_F128:
		print_long(out, type, p);
		break;
	case ARENA_BOOL:
		fputs(*p ? "true" : "false", out);
		break;
	default:
		print_bytes(out, p, size);
		break;
	}
}

/* What the two parts of a complex number are; 0: it is none. */
static uint32_t part_of(uint32_t type)
{
	return type >= ARENA_C32 && type <= ARENA_C128 ? type - ARENA_C32 + ARENA_F32 : 0; /* numbered alike */
}

static void print_complex(FILE *out, uint32_t part, const uint8_t *p, size_t size)
{
	fputc('(', out);
	print_element(out, part, p, size / 2);
	fputs(", ", out);
	print_element(out, part, p + size / 2, size / 2);
	fputc(')', out);
}

static void print_text(FILE *out, const uint8_t *p, size_t n)
{
	fputc('"', out);
	for (size_t i = 0; i < n && p[i]; i++) {
		if (p[i] == '"' || p[i] == '\\')
			fprintf(out, "\\%c", p[i]);
		else if (p[i] < 0x20 || p[i] == 0x7f)
			fprintf(out, "\\x%02x", p[i]);
		else
			fputc(p[i], out);
	}
	fputc('"', out);
}

static void print_array(FILE *out, uint32_t type, const uint8_t *p, uint64_t count, size_t size)
{
	if (count != 1)
		fputc('[', out);
	for (uint64_t i = 0; i < count; i++) {
		if (count > 2 * SHOWN + 1 && i == SHOWN) {
			fprintf(out, ", …");
			i = count - SHOWN;
		}
		if (i)
			fputs(", ", out);
		if (part_of(type))
			print_complex(out, part_of(type), p + i * size, size);
		else
			print_element(out, type, p + i * size, size);
	}
	if (count != 1)
		fputc(']', out);
}

static void print_var(FILE *out, const char *name, const char *type_name, uint64_t count, const uint8_t *p)
{
	uint32_t type = type_of(type_name);
	size_t size = arena_type_size(type);
	char safe[256];

	fprintf(out, "%s %s", type_name, cli_safe(name, safe, sizeof safe));
	if (count != 1)
		fprintf(out, "[%" PRIu64 "]", count);
	fputs(" = ", out);
	if (type == ARENA_CHAR)
		print_text(out, p, count);
	else if (type == ARENA_BYTES && count > BYTES_SHOWN)
		fprintf(out, "(%" PRIu64 " bytes; fetch them with -o FILE)", count);
	else if (type == ARENA_BYTES)
		print_bytes(out, p, count);
	else
		print_array(out, type, p, count, size);
	fputc('\n', out);
}

int cli_render_values(FILE *out, const json_t *vars, const uint8_t *data, size_t len, struct err *e)
{
	const json_t *v;
	size_t i;

	json_array_foreach(vars, i, v)
	{
		const char *name = json_string_value(json_object_get(v, "name"));
		const char *type = json_string_value(json_object_get(v, "type"));
		json_int_t count = json_integer_value(json_object_get(v, "count"));
		size_t size = arena_type_size(type_of(type));

		if (!size || count < 0 || (uint64_t)count > len / size)
			return err_set(e, ERR_FAILED,
			               "the value of '%s' (%s) does not fit what came with it; fetch its bytes "
			               "with -o FILE",
			               name ? name : "?", type ? type : "?");
		print_var(out, name, type, (uint64_t)count, data);
		data += (size_t)count * size;
		len -= (size_t)count * size;
	}
	return 0;
}
