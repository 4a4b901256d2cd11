// SPDX-License-Identifier: MIT
#include "bench/sweep/result.h"

#include <string.h>

#include "bench/statistics/statistics.h"
#include "bench/sweep/crew.h"
#include "bench/sweep/sample_json.h"

static json_t *json_samples(const double *values, unsigned count)
{
	json_t *samples = json_array();
	unsigned at;

	for (at = 0; at < count; at++)
		if (json_array_append_new(samples, json_real(values[at]))) {
			json_decref(samples);
			return NULL;
		}
	return samples;
}

static json_t *json_metric(const struct result *result, const struct result_point *point,
			   unsigned metric)
{
	struct statistics_interval interval;

	if (statistics_median_interval(point->values[metric], point->value_counts[metric],
				       result->plan->seed, &interval))
		return NULL;
	return json_pack("{s:f, s:f, s:f, s:o}", "median", interval.median, "low", interval.low,
			 "high", interval.high, "samples",
			 json_samples(point->values[metric], point->value_counts[metric]));
}

/* Puts `value` into `object`, and lets go of both if that fails. */
static bool put(json_t **object, const char *name, json_t *value)
{
	if (*object && !json_object_set_new(*object, name, value))
		return true;
	json_decref(*object);
	*object = NULL;
	return false;
}

static json_t *json_metrics(const struct result *result, const struct result_point *point)
{
	json_t *metrics = json_object();
	unsigned metric;

	for (metric = 0; metric < SAMPLE_METRICS; metric++)
		if (point->value_counts[metric] &&
		    !put(&metrics, sample_metric_name((enum sample_metric)metric),
			 json_metric(result, point, metric)))
			return NULL;
	return metrics;
}

static json_t *json_latency(const struct histogram *histogram)
{
	if (!histogram->count)
		return NULL;
	return json_pack("{s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "count",
			 (json_int_t)histogram->count, "mean_ns",
			 (double)histogram->sum / (double)histogram->count, "p50_ns",
			 (json_int_t)histogram_quantile(histogram, 0.5), "p90_ns",
			 (json_int_t)histogram_quantile(histogram, 0.9), "p99_ns",
			 (json_int_t)histogram_quantile(histogram, 0.99), "p999_ns",
			 (json_int_t)histogram_quantile(histogram, 0.999), "max_ns",
			 (json_int_t)histogram->max, "over", (json_int_t)histogram->over, "buckets",
			 sample_json_buckets(histogram));
}

/* Operations that were never done are left out: they have no times. */
static json_t *json_latencies(const struct rs_workload *workload, const struct result_point *point)
{
	unsigned operations = point->latencies ? crew_operations(workload) : 0;
	json_t *latencies = json_object();
	unsigned at;

	for (at = 0; at < operations; at++)
		if (point->latencies[at].count &&
		    !put(&latencies, workload->operations[at], json_latency(&point->latencies[at])))
			return NULL;
	return latencies;
}

static json_t *json_locks(const struct result *result, const struct result_point *point)
{
	json_t *locks = json_array();
	size_t at;

	for (at = 0; at < point->lock_count; at++)
		if (json_array_append_new(locks, sample_json_lock(&point->locks[at],
								  result->plan->lock_times))) {
			json_decref(locks);
			return NULL;
		}
	return locks;
}

static json_t *json_image(const struct plan *plan)
{
	const char *slash;
	json_t *name;

	if (!plan->image_count)
		return json_null();
	slash = strrchr(plan->images[0], '/');
	name = json_string(slash ? slash + 1 : plan->images[0]);
	/* A name that is no UTF-8. */
	return name ? name : json_string("?");
}

static json_t *json_params(const struct plan *plan, const struct plan_point *point)
{
	return json_pack("{s:I, s:f, s:f, s:i, s:I, s:b, s:o}", "blocks",
			 (json_int_t)plan_point_blocks(plan, point), "seconds", plan->seconds,
			 "warm_up", plan->warm_up, "repeat", (int)plan->repeat, "seed",
			 (json_int_t)plan->seed, "pinned", (int)plan->pin, "image",
			 json_image(plan));
}

static json_t *json_point(const struct result *result, size_t at)
{
	const struct plan_point *planned = &result->plan->points[at];
	const struct result_point *point = &result->points[at];

	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:o, s:I, s:o, s:o, s:o, s:o}", "workload",
			 planned->workload->name, "engine", plan_engine_name(planned->engine),
			 "record", plan_record_name(planned->record), "threads",
			 (int)planned->threads, "snapshots", (int)planned->snapshots, "params",
			 json_params(result->plan, planned), "ops", (json_int_t)point->operations,
			 "metrics", json_metrics(result, point), "latency",
			 json_latencies(planned->workload, point), "locks",
			 json_locks(result, point), "failed",
			 point->failed[0] ? json_string(point->failed) : json_null());
}

json_t *result_json(const struct result *result, json_t *run, bool partial)
{
	json_t *points = json_array();
	size_t at;

	for (at = 0; at < result->plan->point_count; at++) {
		const struct result_point *point = &result->points[at];

		/* Of a sweep that was interrupted: not begun. */
		if (!point->samples && !point->failed[0])
			continue;
		if (json_array_append_new(points, json_point(result, at))) {
			json_decref(points);
			json_decref(run);
			return NULL;
		}
	}
	return json_pack("{s:s, s:o, s:b, s:o}", "schema", "refstorm.bench.v1", "run", run,
			 "partial", (int)partial, "points", points);
}
