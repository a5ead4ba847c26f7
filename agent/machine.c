/* Owns what this machine is: architecture, CPU features that programs choose code paths by, memory. */
#include "agent/machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "lib/base/scoped.h"

/* Features that libraries choose their code by at start: an image taken with one of them needs it. */
static const char *const features[] = {
	"sse3",         "ssse3",       "sse4_1",      "sse4_2",      "popcnt",   "aes",        "pclmulqdq",
	"avx",          "f16c",        "fma",         "avx2",        "bmi1",     "bmi2",       "movbe",
	"lzcnt",        "abm",         "adx",         "rdrand",      "rdseed",   "sha_ni",     "erms",
	"fsrm",         "rtm",         "xsave",       "xsaveopt",    "xsavec",   "xgetbv1",    "xsaves",
	"avx512f",      "avx512dq",    "avx512bw",    "avx512vl",    "avx512cd", "avx512ifma", "avx512vbmi",
	"avx512_vbmi2", "avx512_vnni", "avx512_bf16", "avx512_fp16", "vaes",     "vpclmulqdq", "gfni",
	"amx_tile",     "amx_int8",    "amx_bf16",    "pku",         "clwb",     "movdiri",    "serialize",
	"asimd",        "fp",          "crc32",       "atomics",     "sve",      "sve2",       "bf16",
	"i8mm",
};
#define N_FEATURES (sizeof features / sizeof *features)

static void read_flags(char *out, size_t max)
{
	char line[8192];
	scoped_file FILE *f = fopen("/proc/cpuinfo", "re");
	out[0] = '\0';
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, "flags", 5) == 0 || strncmp(line, "Features", 8) == 0) {
			snprintf(out, max, " %s", line + strcspn(line, ":") + 1);
			out[strcspn(out, "\n")] = ' ';
			return;
		}
}

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = strstr(list, word); p; p = strstr(p + 1, word))
		if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
			return true;
	return false;
}

static void describe(const struct agent *a, struct machine *m)
{
	struct sysinfo si;
	*m = (struct machine){ 0 };
	snprintf(m->arch, sizeof m->arch, "%.*s", (int)strcspn(a->machine, " "), a->machine);
	for (size_t i = 0; i < N_FEATURES; i++)
		if (has_word(a->machine, features[i]))
			m->features[i / 64] |= UINT64_C(1) << i % 64;
	if (sysinfo(&si) == 0)
		m->memory = (uint64_t)si.totalram * si.mem_unit;
	m->cpus = (uint32_t)get_nprocs();
}

void machine_look(struct agent *a)
{
	char flags[8192];
	struct utsname u;
	uname(&u);
	read_flags(flags, sizeof flags);
	size_t n = (size_t)snprintf(a->machine, sizeof a->machine, "%s", u.machine);
	for (size_t i = 0; i < N_FEATURES && n < sizeof a->machine; i++)
		if (has_word(flags, features[i]))
			n += (size_t)snprintf(a->machine + n, sizeof a->machine - n, " %s", features[i]);
	describe(a, &a->has);
}

int machine_fits(const struct agent *a, const char *needs, struct err *e)
{
	char word[64];
	for (const char *p = needs; *p;) {
		size_t n = strcspn(p, " ");
		snprintf(word, sizeof word, "%.*s", (int)n, p);
		if (n && !has_word(a->machine, word))
			return err_set(
			        e, ERR_FAILED,
			        "its images need a CPU with %s, which this node lacks; restore it on another node",
			        word);
		p += n + (p[n] == ' ');
	}
	return 0;
}
