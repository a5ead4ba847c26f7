/* Errors that an operator will read: a code and one sentence, wrapped on the way up, printed once.
 * A code is also the exit status of the command that reports it, with the sign turned. */
#ifndef CPA_BASE_ERR_H
#define CPA_BASE_ERR_H

enum err_code {
	ERR_OK = 0,
	ERR_FAILED = -1,    /* it was tried and failed */
	ERR_USAGE = -2,     /* the caller's words are wrong: an option, a configuration line, a value */
	ERR_NOT_FOUND = -3, /* no such job, key, node, generation or file */
	ERR_NO_AGENT = -4,  /* no agent answers */
	ERR_DENIED = -5,    /* not permitted to this user, or this process lacks a privilege */
	ERR_TIMEOUT = -6,   /* it did not happen in time */
};

#define ERR_TEXT_MAX 1024

/* Filled by whoever fails; text is always terminated. Zero-initialised means "no error". */
struct err {
	int code;
	char text[ERR_TEXT_MAX];
};

/* Every function below returns code, so that a caller can write `return err_set(...)`.
 * e may be NULL where nobody will read the sentence. */

/* Say what failed: "WHAT: WHY; WHAT TO DO". */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same with ": strerror(errno)" appended; keeps errno. */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put context in front of the sentence: "CONTEXT: old text". Returns e's code. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The status a command exits with for this code: 0 to 6. */
int err_exit_status(int code);

#endif
