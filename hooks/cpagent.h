/* cpagent.h: checkpoints from inside a program. Link with -lcpagent; see cpagent(3).
 *
 *	cpa *cp;
 *	int step = 0;
 *	double u[N];
 *
 *	cpa_open(&cp, NULL);
 *	cpa_restore(cp, "state", 0, CPA_VAR(step), CPA_ARRAY(u, N));
 *	for (; step < STEPS; advance(u), step++)
 *		if (step % 100 == 0)
 *			cpa_checkpoint(cp, "state", 1, CPA_VAR(step), CPA_ARRAY(u, N));
 *	cpa_close(cp);
 *
 * Under `cpagent run` an agent keeps the checkpoints and carries them to other machines; without it they lie in a
 * file of the program's own. Functions return 0 (or a count), or a negative cpa_error. A program may fork(): the
 * children share the handle. Threads may share it too. */
#ifndef CPAGENT_H
#define CPAGENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CPA_API __attribute__((visibility("default")))
#else
#define CPA_API
#endif

enum cpa_error {
	CPA_OK = 0,
	CPA_ERR_ARG = -1,      /* an argument is NULL, empty or out of bounds */
	CPA_ERR_KEY = -2,      /* no checkpoint under that key */
	CPA_ERR_VAR = -3,      /* a variable differs in type or count, or is not in the checkpoint */
	CPA_ERR_FULL = -4,     /* the arena's budget, or the memory behind it, is spent; nothing was lost */
	CPA_ERR_CORRUPT = -5,  /* no version of the key is whole */
	CPA_ERR_BROKEN = -6,   /* the arena is damaged, or no arena */
	CPA_ERR_FORMAT = -7,   /* the arena has another format version */
	CPA_ERR_LEVEL = -8,    /* that level does not hold it, or no agent is there to carry it */
	CPA_ERR_TIMEOUT = -9,  /* it did not happen in time */
	CPA_ERR_BUSY = -10,    /* the key is being written by the code that this call interrupted */
	CPA_ERR_DENIED = -11,  /* not permitted: another user's arena, or a read-only one */
	CPA_ERR_MEMORY = -12,  /* out of memory */
	CPA_ERR_SYSTEM = -13,  /* the system refused something; cpa_strerror() says what */
};

/* A sentence for a code. For the code that the calling thread got last, it says what it was about (the key, the
 * variable, the file). Valid until the thread's next call. */
CPA_API const char *cpa_strerror(int code);

typedef struct cpa cpa;

/* Open this job's arena. where: NULL for the one the launcher made ($CPAGENT_ARENA), or without a launcher a
 * private one of this program, which its next run finds again; a directory for a private arena there; an arena
 * file. *cp is owned by the caller. */
CPA_API int cpa_open(cpa **cp, const char *where);

/* Close it; what was checkpointed stays. NULL is allowed. */
CPA_API void cpa_close(cpa *cp);

/* Element types. The numbers never change. */
enum cpa_type {
	CPA_I8 = 1, CPA_U8, CPA_I16, CPA_U16, CPA_I32, CPA_U32, CPA_I64, CPA_U64,
	CPA_F32 = 9, CPA_F64,
	CPA_F80 = 11, CPA_F128,  /* long double: 80 bits of x87 in 16 bytes; IEEE quad */
	CPA_C32 = 13, CPA_C64,   /* complex: of two f32, of two f64 */
	CPA_C80 = 15, CPA_C128,  /* complex long double */
	CPA_BOOL = 17, CPA_CHAR = 18, CPA_BYTE = 19,
};

/* The type's name ("f64") and the size of one element; "?" and 0 for no type. */
CPA_API const char *cpa_type_name(int type);
CPA_API size_t cpa_type_size(int type);

/* A variable: count elements of a type at data. */
struct cpa_var {
	const char *name;
	void *data;
	uint64_t count;
	uint32_t type; /* enum cpa_type */
};

/* Commit vars as the next version of key: all of them, or on an error none. The version before stays until then,
 * and survives the caller's death at any instruction. key: UTF-8, 1 to 255 bytes.
 * level: 1 returns as soon as this node holds it; n > 1 also asks for it to be carried up to level n (see
 * cpa_wait(); the program may end meanwhile). Call it through cpa_checkpoint(). */
CPA_API int cpa_checkpoint_vars(cpa *cp, const char *key, int level, const struct cpa_var *vars, size_t n);

/* Copy the newest version of key into vars. They are found by name (else by position) and must agree in type and
 * count; CPA_ERR_VAR: one does not, cpa_strerror() names it, nothing was written. level: 0 for the newest version;
 * n for the newest that level n holds. Returns 0, or how many newer versions were damaged and passed over.
 * CPA_ERR_CORRUPT: every version is damaged; what the variables hold is undefined. */
CPA_API int cpa_restore_vars(cpa *cp, const char *key, int level, const struct cpa_var *vars, size_t n);

/* Wait until the version of key that is the newest now is held by that level or a higher one.
 * timeout_s: seconds, negative for ever. CPA_ERR_TIMEOUT, CPA_ERR_LEVEL (nobody carries), CPA_ERR_KEY. */
CPA_API int cpa_wait(cpa *cp, const char *key, int level, double timeout_s);

/* What is checkpointed: the newest version of every key. */
struct cpa_entry {
	const char *key;
	uint64_t version; /* grows by one with each checkpoint of the key */
	int level;        /* highest level that holds this version */
	uint64_t bytes;   /* of data */
	int64_t time_ns;  /* since 1970 */
	size_t n;
	const struct cpa_var *vars; /* names, types and counts; data is NULL */
};

/* All keys, sorted: returns their number, *list (NULL for none) freed with cpa_list_free(). Tells the count of an
 * array before it is restored. */
CPA_API int cpa_list(cpa *cp, struct cpa_entry **list);
CPA_API void cpa_list_free(struct cpa_entry *list);

/* Forget a key; with NULL, every key. */
CPA_API int cpa_reset(cpa *cp, const char *key);

#define CPA_KEY_MAX 255
/* The work of CPA_KEY(): "FILE_FUNCTION_ARGS" into buf of CPA_KEY_MAX + 1. Returns buf. */
CPA_API const char *cpa_key_join(char *buf, const char *file, const char *function, const char *args);

#if !defined(__cplusplus) && defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L

/* cpa_checkpoint(cp, key, level, CPA_VAR(step), CPA_ARRAY(u, n)), and the same for cpa_restore() */
#define cpa_checkpoint(cp, key, level, ...)                                   \
	cpa_checkpoint_vars(cp, key, level, (const struct cpa_var[]){__VA_ARGS__}, \
			    sizeof((const struct cpa_var[]){__VA_ARGS__}) / sizeof(struct cpa_var))
#define cpa_restore(cp, key, level, ...)                                   \
	cpa_restore_vars(cp, key, level, (const struct cpa_var[]){__VA_ARGS__}, \
			 sizeof((const struct cpa_var[]){__VA_ARGS__}) / sizeof(struct cpa_var))

/* CPA_VAR(x): a scalar; CPA_ARRAY(p, n): n elements from p (for several dimensions, from &p[0][0]); the type comes
 * from the expression, and one that has no type here (a structure) does not compile: use CPA_BYTES(x). */
#define CPA_VAR(x) {#x, CPA_DATA_(&(x)), 1, CPA_TYPE_(&(x))}
#define CPA_ARRAY(p, n) {#p, CPA_DATA_(p), (uint64_t)(n), CPA_TYPE_(p)}
#define CPA_BYTES(x) {#x, CPA_DATA_(&(x)), sizeof(x), CPA_BYTE}
/* The same under a name of one's own. */
#define CPA_NAMED(name, p, n) {name, CPA_DATA_(p), (uint64_t)(n), CPA_TYPE_(p)}

/* "file_function_a_b_123" for CPA_KEY(a, b, 123): the words as they stand. */
#define CPA_KEY(...) cpa_key_join((char[CPA_KEY_MAX + 1]){0}, __FILE__, __func__, #__VA_ARGS__)

#define CPA_DATA_(p) ((void *)(uintptr_t)(p))
#define CPA_INT_(type, n) (sizeof(type) == 4 ? CPA_##n##32 : CPA_##n##64)
#define CPA_PTR_(type, code) type *: (code), const type *: (code), volatile type *: (code)
#if defined(__x86_64__) || defined(__i386__)
#define CPA_LDBL_(x87, quad, f64) (sizeof(long double) == 8 ? (f64) : (x87))
#else
#define CPA_LDBL_(x87, quad, f64) (sizeof(long double) == 8 ? (f64) : (quad))
#endif
#define CPA_TYPE_(p)                                                           \
	((uint32_t)_Generic((p),                                               \
		CPA_PTR_(_Bool, CPA_BOOL),                                     \
		CPA_PTR_(char, CPA_CHAR),                                      \
		CPA_PTR_(signed char, CPA_I8), CPA_PTR_(unsigned char, CPA_U8), \
		CPA_PTR_(short, CPA_I16), CPA_PTR_(unsigned short, CPA_U16),   \
		CPA_PTR_(int, CPA_I32), CPA_PTR_(unsigned int, CPA_U32),       \
		CPA_PTR_(long, CPA_INT_(long, I)),                             \
		CPA_PTR_(unsigned long, CPA_INT_(unsigned long, U)),           \
		CPA_PTR_(long long, CPA_I64), CPA_PTR_(unsigned long long, CPA_U64), \
		CPA_PTR_(float, CPA_F32), CPA_PTR_(double, CPA_F64),           \
		CPA_PTR_(long double, CPA_LDBL_(CPA_F80, CPA_F128, CPA_F64)),  \
		CPA_PTR_(float _Complex, CPA_C32), CPA_PTR_(double _Complex, CPA_C64), \
		CPA_PTR_(long double _Complex, CPA_LDBL_(CPA_C80, CPA_C128, CPA_C64)), \
		void *: CPA_BYTE, const void *: CPA_BYTE))

#endif

#ifdef __cplusplus
}
#endif

#endif
