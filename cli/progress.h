/* SPDX-License-Identifier: MIT */
/* The bar on a terminal while an image is read. One thread. */
#ifndef REFSTORM_CLI_PROGRESS_H
#define REFSTORM_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool visible;
	bool drawn;
};

/* Shown if standard error is a terminal, unless `quiet`. */
void progress_begin(struct progress *progress, bool quiet);

/* An rs_progress_fn, with the struct as its argument. False once a signal came. */
bool progress_show(void *argument, uint64_t blocks, uint64_t known);

/* Takes the bar away. */
void progress_end(const struct progress *progress);

#endif /* REFSTORM_CLI_PROGRESS_H */
