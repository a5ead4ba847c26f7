/* openmp: a picture of the Mandelbrot set, band by band, each band by all processors. The picture is a protected
 * region: a checkpoint after each band copies the pages that the band has changed, not the picture.
 *
 *	cc -fopenmp -o openmp openmp.c -lcpagent && openmp 2000 40 mandelbrot.pgm */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cpagent.h>

enum { LIMIT = 2000 };

static void stop_on(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "openmp: %s: %s\n", what, cpa_strerror(rc));
	exit(1);
}

/* How many steps a point takes to leave the circle. */
static uint16_t escape(double cx, double cy)
{
	double x = 0, y = 0, swap;
	int i;

	for (i = 0; i < LIMIT && x * x + y * y < 4.0; i++) {
		swap = x * x - y * y + cx;
		y = 2.0 * x * y + cy;
		x = swap;
	}
	return (uint16_t)i;
}

static void draw(uint16_t *picture, long size, long from, long to)
{
	long row;

#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic)
#endif
	for (row = from; row < to; row++) {
		long column;

		for (column = 0; column < size; column++)
			picture[row * size + column] = escape(-2.1 + 2.8 * (double)column / (double)size,
							      -1.4 + 2.8 * (double)row / (double)size);
	}
}

static int write_picture(const char *path, const uint16_t *picture, size_t size)
{
	FILE *f = fopen(path, "wb");
	size_t i;

	if (!f || fprintf(f, "P5 %zu %zu %d\n", size, size, LIMIT) < 0)
		return -1;
	for (i = 0; i < size * size; i++) {
		putc(picture[i] >> 8, f);
		putc(picture[i] & 255, f);
	}
	return fclose(f);
}

static long number(const char *text, long most)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text && *end == '\0' && n >= 1 && n <= most ? n : 0;
}

int main(int argc, char **argv)
{
	long size = argc > 2 ? number(argv[1], 30000) : 0, bands = argc > 2 ? number(argv[2], size) : 0;
	uint16_t *picture;
	int64_t band = 0;
	cpa *cp;
	int rc;

	if (argc < 4 || argc > 5 || !size || !bands) {
		fputs("usage: openmp SIZE BANDS FILE [ARENA-DIRECTORY]\n", stderr);
		return 2;
	}
	picture = calloc((size_t)(size * size), sizeof *picture);
	if (!picture) {
		fputs("openmp: out of memory\n", stderr);
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	stop_on(cpa_open(&cp, argc > 4 ? argv[4] : NULL), "arena");
	stop_on(CPA_PROTECT(cp, "picture", picture, size * size), "protect");
	stop_on(CPA_PROTECT(cp, "band", &band, 1), "protect");
	rc = cpa_restore_protected(cp, "mandelbrot", 0);
	if (rc != CPA_ERR_KEY)
		stop_on(rc, "restore");
	printf("%s at band %lld\n", rc >= 0 ? "restored" : "started", (long long)band);
	while (band < bands) {
		draw(picture, size, size * band / bands, size * (band + 1) / bands);
		band++;
		stop_on(cpa_checkpoint_protected(cp, "mandelbrot", 1), "checkpoint");
		printf("band %lld\n", (long long)band);
	}
	if (write_picture(argv[3], picture, (size_t)size) != 0) {
		perror(argv[3]);
		return 1;
	}
	cpa_reset(cp, "mandelbrot"); /* done: the next run is a new one */
	cpa_unprotect(cp, NULL);
	cpa_close(cp);
	free(picture);
	return 0;
}
