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

struct script_model_profile;

struct script_random_options {
	uint64_t seed;
	uint64_t operations;
	const char *profile;
	const struct script_model_profile *table; /* in place of the one that `profile` names; NULL */
	unsigned threads; /* 0: no line has @T; else they do, and no two threads use one file
			   * between two lines without it */
	bool no_defrag;
	bool checks;          /* with lines `check`, which not every back end has */
	unsigned check_every; /* of lines that wait for all threads one in so many; 0: as is usual */
	bool ends_empty;      /* behind all operations: a check, all subvolumes deleted, a check */
	const char *file;     /* what names of files begin with; NULL: f */
	uint64_t first_number; /* in names of subvolumes */
	/* Subvolumes that are there, by id, and have no files with such names: snapshots of them come first. */
	const uint64_t *sources;
	unsigned source_count;
};

/* The name of profile number `index`, and what it is; NULL past the last one. */
const char *script_random_profile(unsigned index, const char **about);

/* 0; -EINVAL: no such profile, one without weights, or too many threads; -ENOMEM; -EIO: `to` cannot be written. */
int script_random_write(const struct script_random_options *options, FILE *to,
			struct rs_error *error) __attribute__((warn_unused_result));

#endif /* REFSTORM_WORKLOADS_SCRIPT_RANDOM_H */
