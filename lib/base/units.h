/* Durations and sizes as users write and read them: `250ms` `5s` `2m` `1h` (bare: seconds), `64K` `1M` `2G`. */
#ifndef CPA_BASE_UNITS_H
#define CPA_BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

/* Nanoseconds from text, fractions allowed ("0.5s"). 0, or ERR_USAGE for anything else (negative, empty,
 * unknown unit, trailing text, beyond ten years). */
int units_duration(const char *text, int64_t *ns);

/* Bytes from text; powers of 1024; K M G T, also with a trailing B or iB. 0 or ERR_USAGE. */
int units_size(const char *text, uint64_t *bytes);

#define UNITS_TEXT_MAX 32
/* For people: "1.5 GiB", "350 ms", "2 m 5 s"; into buf of UNITS_TEXT_MAX. Returns buf. */
const char *units_size_text(uint64_t bytes, char *buf);
const char *units_duration_text(double seconds, char *buf);

#endif
