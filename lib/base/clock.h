/* Time as the rest of the code sees it: nanoseconds, two clocks, no third. */
#ifndef CPA_BASE_CLOCK_H
#define CPA_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

/* CLOCK_BOOTTIME: goes on while the machine sleeps, never set; for leases, timeouts and durations. */
int64_t clock_boot_ns(void);

/* CLOCK_REALTIME: for the times that people read. */
int64_t clock_real_ns(void);

#define CLOCK_TEXT_MAX 40
/* RFC 3339 in UTC with milliseconds, "2026-01-31T12:00:00.123Z"; into buf of CLOCK_TEXT_MAX. Returns buf. */
const char *clock_text(int64_t real_ns, char *buf);

#endif
