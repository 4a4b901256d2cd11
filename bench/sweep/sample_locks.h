/* SPDX-License-Identifier: MIT */
/* The numbers of all locks, those of one name added up, between two moments. One thread. */
#ifndef REFSTORM_BENCH_SAMPLE_LOCKS_H
#define REFSTORM_BENCH_SAMPLE_LOCKS_H

#include "bench/sweep/sample.h"

/* All locks, as they are now. */
void sample_locks_read(struct sample *sample);

/* Takes away from the counts and sums of `sample` what they were in `before`. */
void sample_locks_since(struct sample *sample, const struct sample *before);

/* Adds numbers to those of that name; `into` has room for SAMPLE_LOCKS_MAX. */
void sample_locks_add(struct sample_lock *into, size_t *count, const char *name,
		      const struct lock_statistics *numbers);

#endif /* REFSTORM_BENCH_SAMPLE_LOCKS_H */
