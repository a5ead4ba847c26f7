/* The agent's log: one line per event on stderr, `LEVEL event key=value …`, with the systemd priority
 * prefix when stderr is the journal. Libraries don't log; the place that handles a thing does. */
#ifndef CPA_BASE_LOG_H
#define CPA_BASE_LOG_H

enum log_level { LOG_EVENT_ERROR = 3, LOG_EVENT_WARN = 4, LOG_EVENT_INFO = 6, LOG_EVENT_DEBUG = 7 };

/* who stands in front of every line (the agent's name; borrowed); threshold drops what is less urgent. */
void log_open(const char *who, enum log_level threshold);

/* event: a stable name in snake_case; fmt: key=value pairs. Keeps errno. Safe from any thread. */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(event, ...) log_event(LOG_EVENT_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_event(LOG_EVENT_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_event(LOG_EVENT_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_event(LOG_EVENT_DEBUG, event, __VA_ARGS__)

#endif
