/* SPDX-License-Identifier: MIT */
#include "bench/statistics/compare.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "bench/statistics/compare_match.h"
#include "bench/statistics/compare_read.h"
#include "core/base/alloc.h"
#include "core/base/error.h"

/* With fewer samples a side the interval of a median, drawn from them, is too narrow to show that nothing changed. */
#define SAME_LEAST 5
#define REPEATS_MOST 100

/* One metric of one workload while it is tested. */
struct stratum_set {
	struct statistics_pair *pairs;
	size_t *points; /* whose they are */
	size_t count;
};

static void set_destroy(struct stratum_set *set)
{
	for (size_t at = 0; at < set->count; at++) {
		alloc_free((double *)set->pairs[at].a);
		alloc_free((double *)set->pairs[at].b);
	}
	alloc_free(set->pairs);
	alloc_free(set->points);
}

static double *load(const json_t *samples, size_t *count)
{
	double *numbers;

	*count = json_array_size(samples);
	numbers = alloc_array(*count, sizeof(*numbers));
	for (size_t at = 0; numbers && at < *count; at++)
		numbers[at] = json_number_value(json_array_get(samples, at));
	return numbers;
}

/* The pairs of all points of the workload that have the metric in both documents. */
static int set_fill(struct stratum_set *set, const struct compare_report *report, size_t metric,
		    size_t workload)
{
	const char *name = report->metrics[metric].name;

	*set = (struct stratum_set){
		.pairs = alloc_array(report->point_count, sizeof(*set->pairs)),
		.points = alloc_array(report->point_count, sizeof(*set->points)),
	};
	if (!set->pairs || !set->points)
		return -ENOMEM;
	for (size_t at = 0; at < report->point_count; at++) {
		const struct compare_point *point = &report->points[at];
		const json_t *a = compare_read_samples(point->a, name);
		const json_t *b = compare_read_samples(point->b, name);
		struct statistics_pair *pair = &set->pairs[set->count];

		if (point->workload_at != workload || !a || !b)
			continue;
		pair->a = load(a, &pair->a_count);
		pair->b = load(b, &pair->b_count);
		set->points[set->count++] = at;
		if (!pair->a || !pair->b)
			return -ENOMEM;
	}
	return 0;
}

static size_t fewest_samples(const struct statistics_pair *pairs, size_t count)
{
	size_t fewest = SIZE_MAX;

	for (size_t at = 0; at < count; at++) {
		if (pairs[at].a_count < fewest)
			fewest = pairs[at].a_count;
		if (pairs[at].b_count < fewest)
			fewest = pairs[at].b_count;
	}
	return fewest;
}

/* The seed of what is drawn: any, but the same for the same documents. */
static uint64_t seed_of(const struct compare_test *test)
{
	return (test->metric * COMPARE_POINTS_MAX + test->workload) * (COMPARE_POINTS_MAX + 1) +
	       test->point + 1;
}

static int test_point(struct compare_test *test, const struct statistics_pair *pair)
{
	struct statistics_interval median;
	int ret = statistics_stratified(pair, 1, &test->rank);

	if (ret || (ret = statistics_median_interval(pair->a, pair->a_count, 0, &median)))
		return ret;
	test->a = median.median;
	if ((ret = statistics_median_interval(pair->b, pair->b_count, 0, &median)))
		return ret;
	test->b = median.median;
	ret = statistics_pooled_ratio(pair, 1, seed_of(test), &test->ratio);
	test->has_ratio = !ret;
	if (!ret)
		test->shift = test->ratio.median;
	else
		test->shift = test->b > 0 ? INFINITY : 1;
	return ret == -EDOM ? 0 : ret;
}

/* The ratio is that of the points that have one: from 0 or to 0 there is none. */
static int test_workload(struct compare_test *test, const struct stratum_set *set,
			 const struct compare_test *of_points)
{
	struct statistics_pair *pairs = alloc_array(set->count, sizeof(*pairs));
	size_t count = 0;
	int ret = pairs ? statistics_stratified(set->pairs, set->count, &test->rank) : -ENOMEM;

	for (size_t at = 0; !ret && at < set->count; at++)
		if (of_points[at].a > 0 && of_points[at].b > 0)
			pairs[count++] = set->pairs[at];
	test->shift = 1;
	if (!ret && count)
		ret = statistics_pooled_ratio(pairs, count, seed_of(test), &test->ratio);
	test->has_ratio = !ret && count;
	if (test->has_ratio)
		test->shift = test->ratio.median;
	alloc_free(pairs);
	return ret;
}

static int test_set(struct compare_report *report, const struct stratum_set *set, size_t metric,
		    size_t workload)
{
	struct compare_test *all = &report->tests[report->test_count];
	int ret = 0;

	if (!set->count)
		return 0;
	for (size_t at = 0; !ret && at < set->count; at++) {
		all[at + 1] = (struct compare_test){
			.metric = metric,
			.workload = workload,
			.point = set->points[at],
			.points = 1,
			.samples = fewest_samples(&set->pairs[at], 1),
		};
		ret = test_point(&all[at + 1], &set->pairs[at]);
	}
	*all = (struct compare_test){
		.metric = metric,
		.workload = workload,
		.point = COMPARE_ALL,
		.points = set->count,
		.samples = fewest_samples(set->pairs, set->count),
	};
	report->test_count += 1 + set->count;
	return ret ? ret : test_workload(all, set, all + 1);
}

static int test_all(struct compare_report *report)
{
	size_t most = report->metric_count * (report->workload_count + report->point_count);
	int ret = 0;

	report->tests = alloc_array(most, sizeof(*report->tests));
	if (!report->tests)
		return -ENOMEM;
	for (size_t metric = 0; !ret && metric < report->metric_count; metric++)
		for (size_t workload = 0; !ret && workload < report->workload_count; workload++) {
			struct stratum_set set;

			ret = set_fill(&set, report, metric, workload);
			if (!ret)
				ret = test_set(report, &set, metric, workload);
			set_destroy(&set);
		}
	return ret;
}

/* All workloads, or all points, of the metrics that decide, or of the others. */
static bool in_family(const struct compare_report *report, const struct compare_test *test,
		      bool whole, bool decides)
{
	return (test->point == COMPARE_ALL) == whole &&
	       report->metrics[test->metric].decides == decides;
}

/* Twice Holm's p: the other half of alpha is for the other family. */
static int correct_family(struct compare_report *report, bool whole, bool decides)
{
	double *p = alloc_array(report->test_count, sizeof(*p));
	size_t count = 0;
	int ret = -ENOMEM;

	if (p) {
		for (size_t at = 0; at < report->test_count; at++)
			if (in_family(report, &report->tests[at], whole, decides))
				p[count++] = report->tests[at].rank.p;
		ret = statistics_holm(p, count);
		count = 0;
		for (size_t at = 0; !ret && at < report->test_count; at++)
			if (in_family(report, &report->tests[at], whole, decides))
				report->tests[at].adjusted = fmin(1, 2 * p[count++]);
	}
	alloc_free(p);
	return ret;
}

/* More than 1 is worse. */
static double worsening(const struct compare_report *report, const struct compare_test *test)
{
	return report->metrics[test->metric].more_is_better ? 1 / test->shift : test->shift;
}

static bool is_same(const struct compare_report *report, const struct compare_test *test)
{
	double most = 1 + report->threshold;

	/* 0 throughout in both: there is no ratio. */
	if (!test->has_ratio)
		return test->point != COMPARE_ALL && test->samples >= SAME_LEAST &&
		       !(test->a > 0 || test->b > 0) && !(test->rank.p < 1);
	return test->samples >= SAME_LEAST && test->ratio.low >= 1 / most &&
	       test->ratio.high <= most;
}

/* The ranks and the medians must agree on the direction. */
static enum compare_verdict judge(const struct compare_report *report,
				  const struct compare_test *test)
{
	double most = 1 + report->threshold;
	double worse = worsening(report, test);
	bool agree = test->shift > 1 ? test->rank.above > 0.5 : test->rank.above < 0.5;

	if (test->adjusted < report->alpha && agree && worse > most)
		return COMPARE_WORSE;
	if (test->adjusted < report->alpha && agree && worse < 1 / most)
		return COMPARE_BETTER;
	return is_same(report, test) ? COMPARE_SAME : COMPARE_UNCLEAR;
}

/* The points of a workload, given that it changed as a whole. */
static int correct_within(struct compare_report *report, const struct compare_test *all,
			  struct compare_test *points)
{
	double *p = alloc_array(all->points, sizeof(*p));
	int ret = p ? 0 : -ENOMEM;

	for (size_t at = 0; !ret && at < all->points; at++)
		p[at] = points[at].rank.p;
	if (!ret)
		ret = statistics_hochberg(p, all->points);
	for (size_t at = 0; !ret && at < all->points; at++) {
		bool worse = worsening(report, &points[at]) > 1;
		double within = fmax(p[at], all->adjusted);

		if (worse == (all->verdict == COMPARE_WORSE))
			points[at].adjusted = fmin(points[at].adjusted, within);
	}
	alloc_free(p);
	return ret;
}

static int judge_all(struct compare_report *report)
{
	int ret = 0;

	for (int family = 0; !ret && family < 4; family++)
		ret = correct_family(report, family & 1, family & 2);
	for (size_t at = 0; !ret && at < report->test_count; at++) {
		struct compare_test *test = &report->tests[at];

		test->verdict = judge(report, test);
		/* The points of a workload come after it, and are judged then. */
		if (test->point == COMPARE_ALL && test->verdict >= COMPARE_BETTER)
			ret = correct_within(report, test, test + 1);
	}
	return ret;
}

/* From how many samples a side on the smallest p that a test of so many can give is below alpha. */
static size_t needed_repeats(const struct compare_report *report, size_t tests, size_t pairs)
{
	size_t repeats = 1;

	while (repeats < REPEATS_MOST &&
	       2 * (double)tests * statistics_smallest_p(repeats, repeats, pairs) >= report->alpha)
		repeats++;
	return repeats;
}

static int count_repeats(struct compare_report *report)
{
	size_t fewest_points = SIZE_MAX;
	size_t wholes = 0;
	size_t points = 0;

	report->repeats = SIZE_MAX;
	for (size_t at = 0; at < report->test_count; at++) {
		const struct compare_test *test = &report->tests[at];

		if (!report->metrics[test->metric].decides)
			continue;
		if (test->samples < report->repeats)
			report->repeats = test->samples;
		wholes += test->point == COMPARE_ALL;
		points += test->point != COMPARE_ALL;
		if (test->point == COMPARE_ALL && test->points < fewest_points)
			fewest_points = test->points;
	}
	report->workload_repeats = needed_repeats(report, wholes, fewest_points);
	report->point_repeats = needed_repeats(report, points, 1);
	if (report->repeats >= report->workload_repeats)
		return 0;
	return compare_read_note(report->warnings,
				 "%zu samples a side: too few for a change to be told from chance "
				 "in some workload; %zu are needed",
				 report->repeats, report->workload_repeats);
}

static int fill(const json_t *a, const json_t *b, const struct compare_options *options,
		struct compare_report *report, struct rs_error *error)
{
	int ret;

	report->warnings = json_array();
	report->only_a = json_array();
	report->only_b = json_array();
	if (!report->warnings || !report->only_a || !report->only_b)
		return error_no_memory(error, "the comparison");
	ret = compare_read_check(a, error);
	if (ret) {
		error_add_place(error, "%s", options->a_name);
		return ret;
	}
	ret = compare_read_check(b, error);
	if (ret) {
		error_add_place(error, "%s", options->b_name);
		return ret;
	}
	if (compare_read_runs(a, b, options, report->warnings))
		return error_no_memory(error, "the comparison");
	ret = compare_match(a, b, options, report, error);
	if (ret)
		return ret;
	ret = test_all(report);
	if (!ret)
		ret = judge_all(report);
	if (!ret)
		ret = count_repeats(report);
	return ret ? error_no_memory(error, "the comparison") : 0;
}

int compare_documents(const json_t *a, const json_t *b, const struct compare_options *options,
		      struct compare_report **report, struct rs_error *error)
{
	int ret;

	*report = alloc_zeroed(1, sizeof(**report));
	if (!*report)
		return error_no_memory(error, "the comparison");
	(*report)->threshold = options->threshold;
	(*report)->alpha = options->alpha;
	ret = fill(a, b, options, *report, error);
	if (ret) {
		compare_report_free(*report);
		*report = NULL;
	}
	return ret;
}

void compare_report_free(struct compare_report *report)
{
	if (!report)
		return;
	json_decref(report->warnings);
	json_decref(report->only_a);
	json_decref(report->only_b);
	alloc_free(report->workloads);
	alloc_free(report->points);
	alloc_free(report->tests);
	alloc_free(report);
}

size_t compare_report_count(const struct compare_report *report, enum compare_verdict verdict)
{
	size_t count = 0;

	for (size_t at = 0; at < report->test_count; at++)
		count += report->metrics[report->tests[at].metric].decides &&
			 report->tests[at].verdict == verdict;
	return count;
}

char *compare_point_params(const struct compare_point *point)
{
	return compare_read_params(point->a);
}
