/* files: a program that writes its checkpoint as a file, as many do already. The file is complete under its key, or it
 * is not there; the program that is killed in the middle of writing finds the one before.
 *
 *	cc -o files files.c -lcpagent && ./files && ./files && ./files */
#include <stdio.h>
#include <stdlib.h>

#include <cpagent.h>

static void stop_on(int rc)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "files: %s\n", cpa_strerror(rc));
	exit(1);
}

int main(int argc, char **argv)
{
	char path[4096];
	int runs = 0, rc;
	FILE *f;
	cpa *cp;

	stop_on(cpa_open(&cp, argc > 1 ? argv[1] : NULL));
	rc = cpa_restore_file(cp, "diary", 0, path, sizeof path);
	if (rc != CPA_ERR_KEY) {
		stop_on(rc);
		f = fopen(path, "r");
		if (!f || fscanf(f, "%d runs", &runs) != 1)
			return 1;
		fclose(f);
		remove(path); /* it was ours */
	}

	stop_on(cpa_route_file(cp, "diary", path, sizeof path));
	f = fopen(path, "w");
	if (!f || fprintf(f, "%d runs\n", runs + 1) < 0 || fclose(f) != 0)
		return 1;
	stop_on(cpa_file_done(cp, "diary", 1));

	printf("%d runs\n", runs + 1);
	cpa_close(cp);
	return 0;
}
