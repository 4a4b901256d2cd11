/* SPDX-License-Identifier: MIT */
/* Figures of the page: a plot or a drawing in a box, what it shows, and its data. One thread for each page. */
#ifndef REFSTORM_BENCH_REPORT_FIGURE_H
#define REFSTORM_BENCH_REPORT_FIGURE_H

#include <stdbool.h>
#include <stdio.h>

#include "bench/report/chart.h"
#include "bench/report/input.h"
#include "refstorm/error.h"

/* A page that is being written. */
struct page {
	FILE *to;
	const struct input *input;
	unsigned figures;                   /* numbers them: ids differ */
	bool no_gnuplot;                    /* tried and not found: not tried again */
	bool no_memory;                     /* the page is worth nothing */
	char plot_fault[RS_ERROR_WHAT_MAX]; /* the first fault of gnuplot, or empty */
};

/*
 * Opens a figure: `title` is its heading, `note` says what was held fixed. Draws `chart`; without gnuplot or with
 * nothing to draw it says so. The caller writes its data in figure_data_open and _close, and figure_close.
 */
void figure_chart(struct page *page, const char *title, const char *note, struct chart *chart);

/* The same for a drawing in the file `name` of the folder. */
void figure_drawing(struct page *page, const char *title, const char *note, const char *name);

void figure_data_open(struct page *page);
void figure_data_close(struct page *page);
void figure_close(struct page *page);

/* The data of a chart of points over x, each with its interval. */
void figure_data(struct page *page, const char *caption, const struct chart *chart);

#endif /* REFSTORM_BENCH_REPORT_FIGURE_H */
