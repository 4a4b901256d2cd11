/* SPDX-License-Identifier: MIT */
/*
 * Random scripts that are valid by construction: a model of what is there says what each line may
 * do, and lines that must fail say so. They run on every back end, and leave the same on each.
 *
 * Callers: any thread. The same options give the same text, on every machine.
 */
#ifndef REFSTORM_WORKLOADS_SCRIPT_RANDOM_H
#define REFSTORM_WORKLOADS_SCRIPT_RANDOM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "refstorm/error.h"

#define SCRIPT_RANDOM_THREADS_MAX 64U

struct script_random_options {
	uint64_t seed;
	uint64_t operations;
	const char *profile;
	unsigned threads; /* 0: no line has @T; else they do, and no two threads use one file
			   * between two lines without it */
	bool no_defrag;
	bool checks; /* with lines `check`, which not every back end has */
};

/* The name of profile number `index`, and what it is; NULL past the last one. */
const char *script_random_profile(unsigned index, const char **about);

/* 0; -EINVAL: no such profile, or too many threads; -ENOMEM; -EIO: `to` cannot be written. */
int script_random_write(const struct script_random_options *options, FILE *to,
			struct rs_error *error) __attribute__((warn_unused_result));

#endif /* REFSTORM_WORKLOADS_SCRIPT_RANDOM_H */
