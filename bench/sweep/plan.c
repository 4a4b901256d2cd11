// SPDX-License-Identifier: MIT
#include "bench/sweep/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"

#define PLAN_NAME_BYTES 64U
/* What comes before and after the measured part takes some seconds: a run that takes longer hangs. */
#define PLAN_LIMIT_S 300.0

static const char *const engine_names[PLAN_ENGINES + 1] = {
	[PLAN_ENGINE_OFF] = "off",
	[PLAN_ENGINE_LEDGER] = "ledger",
	[PLAN_ENGINE_EXTENT] = "extent",
};

static const char *const record_names[] = {
	[RS_RECORD_PERCPU] = "percpu",
	[RS_RECORD_LOCKED] = "locked",
	[RS_RECORD_HASHED] = "hashed",
	NULL,
};

const char *plan_engine_name(unsigned engine)
{
	return engine < PLAN_ENGINES ? engine_names[engine] : NULL;
}

const char *plan_record_name(unsigned record)
{
	return record < sizeof(record_names) / sizeof(record_names[0]) ? record_names[record] :
									 NULL;
}

void plan_init(struct plan *plan)
{
	*plan = (struct plan){
		.seconds = 2,
		.warm_up = 0.5,
		.repeat = 5,
		.seed = 1,
		.pin = true,
	};
}

void plan_clear(struct plan *plan)
{
	alloc_free(plan->points);
	plan->points = NULL;
	plan->point_count = 0;
}

double plan_limit(const struct plan *plan)
{
	return plan->limit > 0 ? plan->limit : PLAN_LIMIT_S + 2 * (plan->warm_up + plan->seconds);
}

uint64_t plan_point_blocks(const struct plan *plan, const struct plan_point *point)
{
	return plan->blocks ? plan->blocks : point->workload->blocks;
}

/* The entry of a list that `text` begins with, and where the next one begins: NULL behind the last. */
static int next_entry(const char *option, const char *text, char name[PLAN_NAME_BYTES],
		      const char **next, struct rs_error *error)
{
	size_t length = strcspn(text, ",");

	if (!length)
		return error_set(error, -EINVAL, "%s: an empty entry", option);
	if (length >= PLAN_NAME_BYTES)
		return error_set(error, -EINVAL, "%s: '%.20s...' is none", option, text);
	memcpy(name, text, length);
	name[length] = 0;
	*next = text[length] ? text + length + 1 : NULL;
	return 0;
}

static int too_many(const char *option, struct rs_error *error)
{
	return error_set(error, -EINVAL, "%s: more than %u entries", option, PLAN_LIST_MAX);
}

static int is_twice(const char *option, const char *name, struct rs_error *error)
{
	return error_set(error, -EINVAL, "%s: '%s' is given twice", option, name);
}

int plan_workloads_parse(struct plan *plan, const char *text, struct rs_error *error)
{
	char name[PLAN_NAME_BYTES];
	size_t at;

	/* Ends: each turn takes a piece of the text. */
	while (text) {
		const struct rs_workload *workload;
		int ret = next_entry("--workload", text, name, &text, error);

		if (ret)
			return ret;
		workload = workload_find(name);
		if (!workload)
			return error_set(error, -EINVAL,
					 "--workload: there is no workload '%s'; see refstorm list",
					 name);
		for (at = 0; at < plan->workload_count; at++)
			if (plan->workloads[at] == workload)
				return is_twice("--workload", name, error);
		if (plan->workload_count == PLAN_LIST_MAX)
			return too_many("--workload", error);
		plan->workloads[plan->workload_count++] = workload;
	}
	return 0;
}

/* Numbers of the names in a list: `list` has room for PLAN_LIST_MAX. */
static int parse_names(const char *option, const char *const *names, const char *text,
		       unsigned *list, size_t *count, struct rs_error *error)
{
	char name[PLAN_NAME_BYTES];
	size_t at;

	*count = 0;
	/* Ends: each turn takes a piece of the text. */
	while (text) {
		unsigned found = 0;
		int ret = next_entry(option, text, name, &text, error);

		if (ret)
			return ret;
		while (names[found] && strcmp(names[found], name))
			found++;
		if (!names[found])
			return error_set(error, -EINVAL, "%s: '%s' is none of %s, %s and %s",
					 option, name, names[0], names[1], names[2]);
		for (at = 0; at < *count; at++)
			if (list[at] == found)
				return is_twice(option, name, error);
		if (*count == PLAN_LIST_MAX)
			return too_many(option, error);
		list[(*count)++] = found;
	}
	return 0;
}

int plan_engines_parse(struct plan *plan, const char *text, struct rs_error *error)
{
	unsigned list[PLAN_LIST_MAX];
	int ret = parse_names("--engine", engine_names, text, list, &plan->engine_count, error);
	size_t at;

	for (at = 0; !ret && at < plan->engine_count; at++)
		plan->engines[at] = (enum plan_engine)list[at];
	return ret;
}

int plan_records_parse(struct plan *plan, const char *text, struct rs_error *error)
{
	unsigned list[PLAN_LIST_MAX];
	int ret = parse_names("--record", record_names, text, list, &plan->record_count, error);
	size_t at;

	for (at = 0; !ret && at < plan->record_count; at++)
		plan->records[at] = (enum rs_record_path)list[at];
	return ret;
}

static int parse_numbers(const char *option, const char *text, unsigned least, unsigned most,
			 unsigned *list, size_t *count, struct rs_error *error)
{
	char name[PLAN_NAME_BYTES];
	size_t at;

	*count = 0;
	/* Ends: each turn takes a piece of the text. */
	while (text) {
		unsigned long number;
		char *end;
		int ret = next_entry(option, text, name, &text, error);

		if (ret)
			return ret;
		errno = 0;
		number = strtoul(name, &end, 10);
		if (name[0] < '0' || name[0] > '9' || *end)
			return error_set(error, -EINVAL, "%s: '%s' is no number", option, name);
		if (errno || number > most || number < least)
			return error_set(error, -EINVAL, "%s: %s is not from %u to %u", option,
					 name, least, most);
		for (at = 0; at < *count; at++)
			if (list[at] == number)
				return is_twice(option, name, error);
		if (*count == PLAN_LIST_MAX)
			return too_many(option, error);
		list[(*count)++] = (unsigned)number;
	}
	return 0;
}

int plan_threads_parse(struct plan *plan, const char *text, struct rs_error *error)
{
	return parse_numbers("--threads", text, 1, PLAN_THREADS_MAX, plan->threads,
			     &plan->threads_count, error);
}

int plan_snapshots_parse(struct plan *plan, const char *text, struct rs_error *error)
{
	return parse_numbers("--snapshots", text, 0, 1000000, plan->snapshots,
			     &plan->snapshots_count, error);
}

static void set_defaults(struct plan *plan)
{
	if (!plan->engine_count)
		plan->engines[plan->engine_count++] = PLAN_ENGINE_LEDGER;
	if (!plan->record_count)
		plan->records[plan->record_count++] = RS_RECORD_PERCPU;
	if (!plan->threads_count)
		plan->threads[plan->threads_count++] = 1;
	if (!plan->snapshots_count)
		plan->snapshots[plan->snapshots_count++] = 16;
}

/* Whether each combination can be run at all. */
static int check_combinations(const struct plan *plan, struct rs_error *error)
{
	size_t engine, workload;

	if (!plan->workload_count)
		return error_set(error, -EINVAL, "no workload is named; see refstorm list");
	for (engine = 0; engine < plan->engine_count; engine++)
		for (workload = 0; workload < plan->workload_count; workload++)
			if (plan->engines[engine] == PLAN_ENGINE_OFF &&
			    plan->workloads[workload]->needs_quotas)
				return error_set(error, -EINVAL,
						 "--workload %s with --engine off: it needs quotas",
						 plan->workloads[workload]->name);
	return 0;
}

/* Point number `at`: the first list varies slowest. */
static struct plan_point point_at(const struct plan *plan, size_t at)
{
	struct plan_point point;

	point.snapshots = plan->snapshots[at % plan->snapshots_count];
	at /= plan->snapshots_count;
	point.threads = plan->threads[at % plan->threads_count];
	at /= plan->threads_count;
	point.record = plan->records[at % plan->record_count];
	at /= plan->record_count;
	point.engine = plan->engines[at % plan->engine_count];
	at /= plan->engine_count;
	point.workload = plan->workloads[at];
	return point;
}

int plan_points_make(struct plan *plan, struct rs_error *error)
{
	size_t count, at;
	int ret;

	set_defaults(plan);
	ret = check_combinations(plan, error);
	if (ret)
		return ret;
	/* No overflow: 64 to the fifth at most. */
	count = plan->workload_count * plan->engine_count * plan->record_count *
		plan->threads_count * plan->snapshots_count;
	if (count > PLAN_POINTS_MAX)
		return error_set(error, -EINVAL,
				 "%zu points are too many; the most is %u: name less in the lists",
				 count, PLAN_POINTS_MAX);
	plan->points = alloc_zeroed(count, sizeof(*plan->points));
	if (!plan->points)
		return error_no_memory(error, "the points");
	for (at = 0; at < count; at++)
		plan->points[at] = point_at(plan, at);
	plan->point_count = count;
	return 0;
}
