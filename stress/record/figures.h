/* SPDX-License-Identifier: MIT */
/* The counts of a run, by name. Callers: the report. */
#ifndef REFSTORM_STRESS_RECORD_FIGURES_H
#define REFSTORM_STRESS_RECORD_FIGURES_H

#include "stress/record/stress.h"

#define FIGURES_MAX 48U

struct figure {
	const char *name; /* for people */
	const char *key;  /* in JSON */
	uint64_t value;
};

/* Returns how many there are. */
unsigned figures_collect(const struct stress *stress, struct figure figures[FIGURES_MAX]);

#endif /* REFSTORM_STRESS_RECORD_FIGURES_H */
