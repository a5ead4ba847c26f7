/* Owns reading the spec. It comes from the agent, yet every count is checked: pid 1 of a job runs as root. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/init/init.h"

/* The next string of the block, or NULL behind its end. */
static const char *next_string(const char **at, const char *end)
{
	const char *s = *at;
	const char *nul = s < end ? memchr(s, '\0', (size_t)(end - s)) : NULL;
	if (!nul)
		return NULL;
	*at = nul + 1;
	return s;
}

static int read_strings(char **into, uint32_t n, const char **at, const char *end)
{
	for (uint32_t i = 0; i < n; i++)
		if (!(into[i] = (char *)next_string(at, end)))
			return -1;
	into[n] = NULL;
	return 0;
}

static int parse(struct job *j, const char *data, size_t len, char **pointers)
{
	const struct spec *s = (const struct spec *)data;
	j->spec = s;
	j->groups = (const uint32_t *)(s + 1);
	const char *at = (const char *)(j->groups + s->ngroups), *end = data + len;
	char *fixed[SPEC_FIXED_STRINGS + 1];
	j->argv = pointers;
	j->envp = pointers + s->argc + 1;
	if (read_strings(fixed, SPEC_FIXED_STRINGS, &at, end) < 0 ||
	    read_strings(j->argv, s->argc, &at, end) < 0 || read_strings(j->envp, s->envc, &at, end) < 0)
		return -1;
	j->job_dir = fixed[0], j->log_dir = fixed[1], j->cwd = fixed[2], j->stdin_path = fixed[3];
	return 0;
}

static int head_fits(const struct spec *s, size_t len)
{
	return s->magic == SPEC_MAGIC && s->total == len && s->argc > 0 && s->argc < len && s->envc < len &&
	       s->ngroups <= SPEC_MAX_GROUPS && sizeof *s + s->ngroups * sizeof(uint32_t) < len;
}

static int read_all(char *into, size_t len)
{
	for (size_t have = 0; have < len;) {
		ssize_t n = pread(SPEC_FD, into + have, len - have, (off_t)have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		have += (size_t)n;
	}
	return 0;
}

int spec_read(struct job *j)
{
	struct stat st;
	if (fstat(SPEC_FD, &st) < 0)
		return -1;
	size_t len = (size_t)st.st_size;
	errno = EBADMSG;
	if (len < sizeof(struct spec) || len > SPEC_MAX)
		return -1;
	struct spec head;
	if (read_all((char *)&head, sizeof head) < 0 || !head_fits(&head, len))
		return -1;
	/* anonymous, not a map of the memfd: nothing of the spec may stay in an image */
	size_t room = (len + 15) & ~(size_t)15;
	j->map_len = room + ((size_t)head.argc + head.envc + 2) * sizeof(char *);
	j->map = mmap(NULL, j->map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (j->map == MAP_FAILED)
		return -1;
	if (read_all(j->map, len) == 0 && parse(j, j->map, len, (char **)(void *)((char *)j->map + room)) == 0)
		return 0;
	errno = EBADMSG;
	return -1;
}

void spec_drop(struct job *j)
{
	munmap(j->map, j->map_len);
	*j = (struct job){ 0 };
}
