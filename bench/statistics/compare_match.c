/* SPDX-License-Identifier: MIT */
#include "bench/statistics/compare_match.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/statistics/compare_read.h"
#include "core/base/alloc.h"
#include "core/base/error.h"

static json_t *point_at(const json_t *document, const json_t *index)
{
	return json_array_get(json_object_get(document, "points"),
			      (size_t)json_integer_value(index));
}

/* The index of the workload's name, which is added if it is new. */
static size_t find_workload(struct compare_report *report, const char *name)
{
	size_t at = 0;

	while (at < report->workload_count && strcmp(report->workloads[at], name))
		at++;
	if (at == report->workload_count)
		report->workloads[report->workload_count++] = name;
	return at;
}

static void add_point(struct compare_report *report, const json_t *a, const json_t *b)
{
	struct compare_point *point = &report->points[report->point_count++];

	*point = (struct compare_point){
		.workload = json_string_value(json_object_get(a, "workload")),
		.engine = json_string_value(json_object_get(a, "engine")),
		.record = json_string_value(json_object_get(a, "record")),
		.threads = json_integer_value(json_object_get(a, "threads")),
		.snapshots = json_integer_value(json_object_get(a, "snapshots")),
		.a = a,
		.b = b,
	};
	point->workload_at = find_workload(report, point->workload);
}

/* By workload; within one as they stood, which the texts' places in memory would not keep. */
static void gather_workloads(struct compare_report *report, struct compare_point *spare)
{
	size_t out = 0;

	for (size_t workload = 0; workload < report->workload_count; workload++)
		for (size_t at = 0; at < report->point_count; at++)
			if (report->points[at].workload_at == workload)
				spare[out++] = report->points[at];
	memcpy(report->points, spare, report->point_count * sizeof(*spare));
}

static int match_points(const json_t *a, const json_t *b, json_t *a_index, json_t *b_index,
			struct compare_report *report)
{
	size_t most = json_object_size(a_index) + 1;
	struct compare_point *spare = alloc_array(most, sizeof(*spare));
	const char *key;
	json_t *at;
	int ret = 0;

	report->points = alloc_array(most, sizeof(*report->points));
	report->workloads = alloc_array(most, sizeof(*report->workloads));
	if (!spare || !report->points || !report->workloads)
		ret = -ENOMEM;
	if (!ret) {
		/* The library keeps the order in which they were put in. */
		json_object_foreach(a_index, key, at)
		{
			json_t *other = json_object_get(b_index, key);

			if (other)
				add_point(report, point_at(a, at), point_at(b, other));
			else if (json_array_append_new(report->only_a, json_string(key)))
				ret = -ENOMEM;
		}
		json_object_foreach(b_index, key,
				    at) if (!json_object_get(a_index, key) &&
					    json_array_append_new(report->only_b, json_string(key)))
			ret = -ENOMEM;
	}
	if (!ret)
		gather_workloads(report, spare);
	alloc_free(spare);
	return ret;
}

static const json_t *param(const json_t *point, const char *name)
{
	return json_object_get(json_object_get(point, "params"), name);
}

/* What does not tell points apart, but is not to differ. */
static int note_params(struct compare_report *report, const char *name)
{
	size_t differing = 0;

	for (size_t at = 0; at < report->point_count; at++) {
		const json_t *a = param(report->points[at].a, name);
		const json_t *b = param(report->points[at].b, name);

		if (a != b && !(a && b && json_equal(a, b)))
			differing++;
	}
	return differing ? compare_read_note(report->warnings, "%s differ at %zu of %zu points",
					     name, differing, report->point_count) :
			   0;
}

static bool has_suffix(const char *text, const char *suffix)
{
	size_t length = strlen(text);

	return length >= strlen(suffix) && !strcmp(text + length - strlen(suffix), suffix);
}

static size_t count_having(const struct compare_report *report, const char *metric)
{
	size_t having = 0;

	for (size_t at = 0; at < report->point_count; at++)
		having += compare_read_samples(report->points[at].a, metric) &&
			  compare_read_samples(report->points[at].b, metric);
	return having;
}

static int add_metric(struct compare_report *report, const char *name, bool decides,
		      struct rs_error *error)
{
	size_t having = count_having(report, name);

	for (size_t at = 0; at < report->metric_count; at++)
		if (!strcmp(report->metrics[at].name, name))
			return error_set(error, -EINVAL, "the metric %s is named twice", name);
	if (!having && decides)
		return error_set(error, -EINVAL, "no point of both has the metric %s", name);
	if (!having)
		return 0;
	report->metrics[report->metric_count++] = (struct compare_metric){
		.name = name,
		.more_is_better = has_suffix(name, "_per_s"),
		.decides = decides,
	};
	if (having < report->point_count &&
	    compare_read_note(report->warnings, "%s: only %zu of %zu points have it in both", name,
			      having, report->point_count))
		return error_no_memory(error, "warnings");
	return 0;
}

static int choose_metrics(const struct compare_options *options, struct compare_report *report,
			  struct rs_error *error)
{
	int ret = 0;

	for (size_t at = 0; !ret && at < options->metric_count; at++)
		ret = add_metric(report, options->metrics[at], true, error);
	if (!options->metric_count) {
		ret = add_metric(report, "cpu_ns_per_op", true, error);
		if (!ret)
			ret = add_metric(report, "ops_per_s", false, error);
	}
	return ret;
}

int compare_match(const json_t *a, const json_t *b, const struct compare_options *options,
		  struct compare_report *report, struct rs_error *error)
{
	json_t *a_index = NULL;
	json_t *b_index = NULL;
	int ret = compare_read_index(a, options->a_name, report->warnings, &a_index, error);

	if (!ret)
		ret = compare_read_index(b, options->b_name, report->warnings, &b_index, error);
	if (!ret && (match_points(a, b, a_index, b_index, report) || note_params(report, "seed") ||
		     note_params(report, "seconds")))
		ret = error_no_memory(error, "points");
	json_decref(a_index);
	json_decref(b_index);
	if (!ret && !report->point_count)
		ret = error_set(error, -EINVAL, "%s and %s have no point in common",
				options->a_name, options->b_name);
	return ret ? ret : choose_metrics(options, report, error);
}
