/* cpagent/var.h: variables as a checkpoint knows them: a name, an element type, a count. Included by cpagent.h. */
#ifndef CPAGENT_VAR_H
#define CPAGENT_VAR_H

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

#ifdef __cplusplus
}
#endif

#if !defined(__cplusplus) && defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L

/* CPA_VAR(x): a scalar; CPA_ARRAY(p, n): n elements from p (for several dimensions, from &p[0][0]); the type comes
 * from the expression, and one that has no type here (a structure) does not compile: use CPA_BYTES(x). */
#define CPA_VAR(x) {#x, CPA_DATA_(&(x)), 1, CPA_TYPE_(&(x))}
#define CPA_ARRAY(p, n) {#p, CPA_DATA_(p), (uint64_t)(n), CPA_TYPE_(p)}
#define CPA_BYTES(x) {#x, CPA_DATA_(&(x)), sizeof(x), CPA_BYTE}
/* A char array, whole, with what stands behind its end; a pointer does not compile. */
#define CPA_STRING(s) \
	{#s, CPA_DATA_(&(s)), sizeof(s) + 0 * sizeof(struct { int is_array[CPA_IS_ARRAY_(s)]; }), CPA_TYPE_(&(s)[0])}
/* The same under a name of one's own. */
#define CPA_NAMED(name, p, n) {name, CPA_DATA_(p), (uint64_t)(n), CPA_TYPE_(p)}

#define CPA_DATA_(p) ((void *)(uintptr_t)(p))
#define CPA_INT_(type, n) (sizeof(type) == 4 ? CPA_##n##32 : CPA_##n##64)
#define CPA_IS_ARRAY_(x) (1 - 2 * (int)__builtin_types_compatible_p(__typeof__(x), __typeof__(&(x)[0])))
#define CPA_PTR_(type, code) \
	type *: (code), const type *: (code), volatile type *: (code), const volatile type *: (code)
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

#endif
