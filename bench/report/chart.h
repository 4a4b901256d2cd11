/* SPDX-License-Identifier: MIT */
/* What a plot shows, and the script that draws it. Any thread, each with its own chart. */
#ifndef REFSTORM_BENCH_REPORT_CHART_H
#define REFSTORM_BENCH_REPORT_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CHART_SERIES_MOST 12
#define CHART_NAME_BYTES 96

enum chart_scale {
	CHART_LINEAR, /* from 0 on */
	CHART_LOG,    /* x: 0 stands apart, left of the others; y: what is 0 is not drawn */
	CHART_LOG_NS, /* y: times */
	CHART_ROWS,   /* y: one row for each name, from the top */
};

struct chart_point {
	double x;
	double y;
	double low; /* NAN: no interval */
	double high;
};

struct chart_series {
	char name[CHART_NAME_BYTES];
	unsigned look; /* colour and mark */
	struct chart_point *points;
	size_t count;
};

struct chart {
	const char *x_title;
	const char *y_title;
	enum chart_scale x_scale; /* in CHART_ROWS: CHART_LOG_NS */
	enum chart_scale y_scale;
	bool ideal; /* a line from the best value at the lowest x in proportion to x */
	bool apart; /* points are not joined */
	struct chart_series series[CHART_SERIES_MOST];
	size_t count;
	char (*rows)[CHART_NAME_BYTES]; /* of CHART_ROWS */
	size_t row_count;
};

/* Room for one more series of up to `most` points; NULL: none, or no memory. */
struct chart_series *chart_add(struct chart *chart, size_t most);

/* Frees what it holds. */
void chart_clear(struct chart *chart);

/* How many points would be drawn. */
size_t chart_drawn(const struct chart *chart);

/* How many different x they have. */
size_t chart_breadth(const struct chart *chart);

/* Sorted by x; then the script for gnuplot. There must be a point to be drawn. */
void chart_script(FILE *to, struct chart *chart);

/* The character that stands for the mark of a series. */
const char *chart_mark(unsigned look);

#endif /* REFSTORM_BENCH_REPORT_CHART_H */
