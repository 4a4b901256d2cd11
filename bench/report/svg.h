/* SPDX-License-Identifier: MIT */
/*
 * SVG drawings made fit to stand inside a page: only elements and attributes that draw are let through, so
 * no script or reference to outside is left. Any thread.
 */
#ifndef REFSTORM_BENCH_REPORT_SVG_H
#define REFSTORM_BENCH_REPORT_SVG_H

#include <stdbool.h>
#include <stddef.h>

#include "refstorm/error.h"

/*
 * Colours that stand for one of the page's, where `follow_page` is set: rgb(1,2,SVG_SERIES + n) is its colour of
 * series n, the others those of grid, axes and what is less important. Black and white are text and ground.
 */
#define SVG_GRID 3
#define SVG_AXIS 4
#define SVG_MUTED 5
#define SVG_SERIES 16
#define SVG_SERIES_COUNT 8

struct svg_options {
	const char *prefix; /* of every id: different for each drawing of a page */
	const char *label;  /* what is to be seen, for who cannot see it */
	bool follow_page;   /* colours; and no titles */
};

/*
 * The drawing in `text`, of which what comes before its <svg> is dropped, as a new text, to be freed with free.
 * 0; -ENOMEM; -EINVAL: it is no drawing, or damaged.
 */
int svg_clean(const char *text, const struct svg_options *options, char **clean,
	      struct rs_error *error) __attribute__((warn_unused_result));

#endif /* REFSTORM_BENCH_REPORT_SVG_H */
