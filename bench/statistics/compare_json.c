/* SPDX-License-Identifier: MIT */
/* The report of a comparison as JSON. */
#include <math.h>

#include "bench/statistics/compare.h"

const char *compare_verdict_name(enum compare_verdict verdict)
{
	static const char *const names[] = {
		[COMPARE_SAME] = "same",
		[COMPARE_UNCLEAR] = "unclear",
		[COMPARE_BETTER] = "better",
		[COMPARE_WORSE] = "worse",
	};

	return names[verdict];
}

static json_t *json_text(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *json_ratio(const struct compare_test *test)
{
	if (!test->has_ratio)
		return json_null();
	return json_pack("{s:f, s:f, s:o}", "median", test->ratio.median, "low", test->ratio.low,
			 "high",
			 isfinite(test->ratio.high) ? json_real(test->ratio.high) : json_null());
}

static json_t *json_test(const struct compare_report *report, const struct compare_test *test)
{
	const struct compare_metric *metric = &report->metrics[test->metric];
	bool whole = test->point == COMPARE_ALL;

	return json_pack("{s:s, s:b, s:I, s:o, s:o, s:o, s:f, s:f, s:f, s:s}", "metric",
			 metric->name, "decides", metric->decides, "samples",
			 (json_int_t)test->samples, "a", whole ? json_null() : json_real(test->a),
			 "b", whole ? json_null() : json_real(test->b), "ratio", json_ratio(test),
			 "above", test->rank.above, "p", test->rank.p, "p_adjusted", test->adjusted,
			 "verdict", compare_verdict_name(test->verdict));
}

/* The tests of a point, or of a workload as a whole. */
static json_t *json_tests(const struct compare_report *report, size_t workload, size_t point)
{
	json_t *all = json_array();

	for (size_t at = 0; at < report->test_count; at++) {
		const struct compare_test *test = &report->tests[at];

		if (test->workload == workload && test->point == point)
			json_array_append_new(all, json_test(report, test));
	}
	return all;
}

static json_t *json_point(const struct compare_report *report, size_t at)
{
	const struct compare_point *point = &report->points[at];
	json_t *params = json_object_get(point->a, "params");

	return json_pack("{s:o, s:o, s:I, s:I, s:o, s:o}", "engine", json_text(point->engine),
			 "record", json_text(point->record), "threads", point->threads, "snapshots",
			 point->snapshots, "params", params ? json_incref(params) : json_null(),
			 "tests", json_tests(report, point->workload_at, at));
}

static json_t *json_workload(const struct compare_report *report, size_t workload)
{
	json_t *points = json_array();

	for (size_t at = 0; at < report->point_count; at++)
		if (report->points[at].workload_at == workload)
			json_array_append_new(points, json_point(report, at));
	return json_pack("{s:s, s:o, s:o}", "workload", report->workloads[workload], "tests",
			 json_tests(report, workload, COMPARE_ALL), "points", points);
}

json_t *compare_report_json(const struct compare_report *report)
{
	json_t *workloads = json_array();

	for (size_t at = 0; at < report->workload_count; at++)
		json_array_append_new(workloads, json_workload(report, at));
	return json_pack("{s:s, s:f, s:f, s:s, s:{s:I, s:I, s:I}, s:o, s:O, s:O, s:O}", "schema",
			 "refstorm.compare.v1", "threshold_percent", report->threshold * 100,
			 "alpha", report->alpha, "verdict",
			 compare_report_count(report, COMPARE_WORSE) ? "worse" : "not-worse",
			 "repeats", "fewest", (json_int_t)report->repeats, "workload_needs",
			 (json_int_t)report->workload_repeats, "point_needs",
			 (json_int_t)report->point_repeats, "workloads", workloads, "only_a",
			 report->only_a, "only_b", report->only_b, "warnings", report->warnings);
}
