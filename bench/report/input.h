/* SPDX-License-Identifier: MIT */
/*
 * The results that a report shows: JSON files of one folder, checked as they are read. One thread.
 */
#ifndef REFSTORM_BENCH_REPORT_INPUT_H
#define REFSTORM_BENCH_REPORT_INPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "refstorm/error.h"

enum input_kind {
	INPUT_BENCH,
	INPUT_STRESS,
	INPUT_PROFILE,
	INPUT_VERIFY,
	INPUT_KINDS,
};

/* A point of a bench file. Texts belong to its JSON. */
struct input_point {
	const char *workload;
	const char *engine;
	const char *record;
	const char *failed; /* why, or NULL */
	double threads;
	double snapshots;
	const json_t *json;
};

struct input_file {
	char *name; /* without the folder */
	json_t *root;
	struct input_point *points; /* of a bench file */
	size_t point_count;
};

/* A file that cannot be shown, and why. */
struct input_refusal {
	char *name;
	char *why;
};

struct input {
	char *folder;
	struct input_file *bench; /* newest first */
	size_t bench_count;
	struct input_file one[INPUT_KINDS]; /* the newest of the other kinds; root NULL: none */
	struct input_refusal *refused;
	size_t refused_count;
};

/*
 * Reads bench-*.json, stress-*.json, profile-*.json and verify-*.json of `folder`: of bench all, of the others
 * the newest that can be used, newest by the digits at the end of the name. Those that cannot be used are in `refused`.
 * 0; -ENOMEM; another negative errno if the folder cannot be read. input_free in every case.
 */
int input_read(struct input *input, const char *folder, struct rs_error *error)
	__attribute__((warn_unused_result));

void input_free(struct input *input);

/* Whether there is anything to show. */
bool input_is_usable(const struct input *input);

/* The number at `key`, or NAN if it is none. */
double input_number(const json_t *object, const char *key);

/* The text at `key`, or NULL. */
const char *input_string(const json_t *object, const char *key);

/* "median", "low" or "high" of a metric of a point; NAN if it is not there or the point failed. */
double input_metric(const struct input_point *point, const char *metric, const char *part);

/*
 * The text of a file of the folder that a result names, with a zero byte behind it, to be freed with alloc_free.
 * Names that lead out of the folder are refused. 0 or a negative errno.
 */
int input_named_file(const struct input *input, const char *name, char **text, size_t *bytes,
		     struct rs_error *error) __attribute__((warn_unused_result));

#endif /* REFSTORM_BENCH_REPORT_INPUT_H */
