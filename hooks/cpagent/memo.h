/* cpagent/memo.h: computations that need not be done again, in this run or a later one. Included by cpagent.h.
 *
 *	cpa_memo *m;
 *	if (cpa_memo_begin(cp, &m, "spectrum 2", CPA_IN(CPA_ARRAY(signal, n)), CPA_OUT(CPA_ARRAY(power, k))) != 1) {
 *		spectrum(signal, n, power, k);
 *		cpa_memo_end(m);
 *	}
 *
 * The name carries the algorithm's version: change it when the algorithm changes. Inputs are compared by content (128-bit
 * hash of names, types, counts and bytes). Results lie in the arena, outlive the process and are carried up. */
#ifndef CPAGENT_MEMO_H
#define CPAGENT_MEMO_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cpa_memo cpa_memo;

/* Was name computed from these inputs before? 1: yes, and the outputs hold the result. 0: no; compute, then
 * cpa_memo_end(*m) keeps the outputs, or cpa_memo_drop(*m) does not. Negative: an error; *m is NULL, the outputs are
 * as they were, and the program computes as if there were no memo. name: 1 to 200 bytes of UTF-8. The output variables are
 * borrowed until the end; *m is NULL when it returns 1 or an error, and when the memo is off it returns 0 and *m is NULL
 * (which cpa_memo_end() accepts). Results whose outputs differ in type or count count as a miss. */
CPA_API int cpa_memo_begin(cpa *cp, cpa_memo **m, const char *name, const struct cpa_var *in, size_t n_in,
			   const struct cpa_var *out, size_t n_out);

/* Keep the outputs as the result and free m. Errors as cpa_checkpoint_vars(); the program loses nothing by them. */
CPA_API int cpa_memo_end(cpa_memo *m);
CPA_API void cpa_memo_drop(cpa_memo *m);

/* How memos of this handle behave. */
enum cpa_memo_option {
	CPA_MEMO_LIMIT = 1,   /* bytes that all results may have; the least recently used go first; 0: the arena's budget */
	CPA_MEMO_COMPARE = 2, /* 1: keep the inputs too, and compare them byte by byte on a hit */
};
CPA_API int cpa_memo_set(cpa *cp, enum cpa_memo_option option, uint64_t value);

/* Turn a name off (0) or on (1) in this process; NULL: all of them. $CPAGENT_MEMO_OFF, a list of names separated by
 * commas, or "*", does the same from outside. */
CPA_API int cpa_memo_enable(cpa *cp, const char *name, int on);

struct cpa_memo_stats {
	const char *name;
	uint64_t hits, misses; /* since the arena was made */
	uint64_t results;      /* kept now … */
	uint64_t bytes;        /* … and the bytes of their variables */
};

/* Every name, sorted: returns their number; *list (NULL for none) freed with cpa_memo_list_free(). */
CPA_API int cpa_memo_list(cpa *cp, struct cpa_memo_stats **list);
CPA_API void cpa_memo_list_free(struct cpa_memo_stats *list);

/* Forget a name's results and counts; NULL: all of them. */
CPA_API int cpa_memo_reset(cpa *cp, const char *name);

#ifdef __cplusplus
}
#endif

/* For cpa_memo_begin(): the inputs, the outputs. */
#define CPA_IN(...)                              \
	((const struct cpa_var[]){__VA_ARGS__}), \
		sizeof((const struct cpa_var[]){__VA_ARGS__}) / sizeof(struct cpa_var)
#define CPA_OUT(...) CPA_IN(__VA_ARGS__)

#endif
