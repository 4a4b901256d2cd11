/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/statistics/compare.h"
#include "core/base/alloc.h"
#include "core/base/random.h"

static const char *const workloads[] = { "overwrite", "clone-fan", "snapshot-drop", "mixed" };

/* How the samples of a document are made. */
struct noise {
	struct random_state random;
	int repeats;
	const char *slower; /* a workload, or NULL */
	int slower_points;  /* of it, from the first on */
	double factor;
};

static double unit(struct random_state *random)
{
	return ((double)(random_state_next(random) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(struct random_state *random)
{
	double radius = sqrt(-2 * log(unit(random)));

	return radius * cos(6.283185307179586 * unit(random));
}

/* Lognormal with a deviation of 5 %, one in twenty 50 % more. */
static json_t *make_samples(struct noise *noise, double middle)
{
	json_t *samples = json_array();

	for (int i = 0; i < noise->repeats; i++) {
		double value = middle * exp(0.05 * normal(&noise->random));

		if (random_state_chance(&noise->random, 1, 20))
			value *= 1.5;
		json_array_append_new(samples, json_real(value));
	}
	return samples;
}

static json_t *make_point(struct noise *noise, const char *workload, int at)
{
	double cpu = 1000 + 300 * at;
	/* Drawn one after the other: arguments of a call have no order. */
	json_t *cpu_samples;
	json_t *rate_samples;

	if (noise->slower && !strcmp(noise->slower, workload) && at < noise->slower_points)
		cpu *= noise->factor;
	cpu_samples = make_samples(noise, cpu);
	rate_samples = make_samples(noise, 1e9 / cpu);
	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:{s:i, s:i, s:f, s:n}, s:n, "
			 "s:{s:{s:o}, s:{s:o}, s:n}}",
			 "workload", workload, "engine", at % 2 ? "ledger" : "extent", "record",
			 "percpu", "threads", 1 << at / 4, "snapshots", 1 << at, "params", "blocks",
			 4096, "seed", 7, "seconds", 1.5, "image", "failed", "metrics",
			 "cpu_ns_per_op", "samples", cpu_samples, "ops_per_s", "samples",
			 rate_samples, "sets");
}

static json_t *make_document(struct noise *noise)
{
	json_t *points = json_array();

	for (int workload = 0; workload < 4; workload++)
		for (int at = 0; at < 10; at++)
			json_array_append_new(points, make_point(noise, workloads[workload], at));
	return json_pack("{s:s, s:{s:s, s:s}, s:b, s:o}", "schema", "refstorm.bench.v1", "run",
			 "machine", "m", "kernel", "k", "partial", 0, "points", points);
}

static struct compare_report *compare_two(const json_t *a, const json_t *b)
{
	const struct compare_options options = {
		.threshold = 0.05, .alpha = 0.05, .a_name = "A", .b_name = "B"
	};
	struct rs_error error = RS_ERROR_INIT;
	struct compare_report *report;

	if (compare_documents(a, b, &options, &report, &error))
		fail_msg("%s: %s", error.where, error.what);
	return report;
}

static const struct compare_test *find_test(const struct compare_report *report,
					    const char *workload, size_t metric, size_t point)
{
	for (size_t at = 0; at < report->test_count; at++) {
		const struct compare_test *test = &report->tests[at];

		if (test->metric == metric && test->point == point &&
		    !strcmp(report->workloads[test->workload], workload))
			return test;
	}
	fail_msg("no test of %s", workload);
	return NULL;
}

/* How it went over some comparisons. */
struct tally {
	int alarms;       /* something worse */
	int found;        /* the workload that is slower, as a whole */
	int others;       /* something worse elsewhere */
	int points_named; /* of the slower workload, in all */
};

static void count_report(const struct compare_report *report, const char *slower,
			 struct tally *tally)
{
	int others = 0;

	tally->alarms += compare_report_count(report, COMPARE_WORSE) > 0;
	for (size_t at = 0; at < report->test_count; at++) {
		const struct compare_test *test = &report->tests[at];

		if (!report->metrics[test->metric].decides || test->verdict != COMPARE_WORSE)
			continue;
		if (!slower || strcmp(report->workloads[test->workload], slower))
			others = 1;
		else if (test->point == COMPARE_ALL)
			tally->found++;
		else
			tally->points_named++;
	}
	tally->others += others;
}

static struct tally simulate(int turns, int repeats, uint64_t seed, const struct noise *of_b)
{
	struct noise noise = { .repeats = repeats };
	struct tally tally = { 0 };

	random_state_seed(&noise.random, seed, 0);
	for (int turn = 0; turn < turns; turn++) {
		json_t *a = make_document(&noise);
		struct noise changed = *of_b;
		struct compare_report *report;
		json_t *b;

		changed.repeats = repeats;
		changed.random = noise.random;
		b = make_document(&changed);
		noise.random = changed.random;
		report = compare_two(a, b);
		assert_int_equal(report->point_count, 40);
		count_report(report, of_b->slower, &tally);
		compare_report_free(report);
		json_decref(a);
		json_decref(b);
	}
	print_message("%d comparisons of %d samples a side: %d alarms, found %d, elsewhere %d, "
		      "points named %d\n",
		      turns, repeats, tally.alarms, tally.found, tally.others, tally.points_named);
	return tally;
}

static void the_same_build_is_not_worse(void **state)
{
	const struct noise same = { 0 };

	(void)state;
	for (uint64_t seed = 1; seed <= 2; seed++)
		assert_true(simulate(20, 5, seed, &same).alarms <= 1);
	assert_true(simulate(20, 10, 6, &same).alarms <= 1);
}

static void ten_percent_are_found(void **state)
{
	const struct noise slower = { .slower = "overwrite", .slower_points = 10, .factor = 1.1 };

	(void)state;
	for (uint64_t seed = 21; seed <= 22; seed++) {
		struct tally tally = simulate(20, 5, seed, &slower);

		assert_int_equal(tally.alarms, 20);
		assert_int_equal(tally.found, 20);
		assert_true(tally.others <= 1);
		/* Of its 200 points some are named too: five samples show no more. */
		assert_true(tally.points_named > 40);
	}
}

/* One point of forty: not at 5 samples, which is said; at 10 samples it is. */
static void a_single_point_needs_repeats(void **state)
{
	const struct noise slower = { .slower = "mixed", .slower_points = 1, .factor = 1.5 };
	struct tally tally = simulate(20, 10, 31, &slower);

	(void)state;
	assert_true(tally.points_named >= 15);
	assert_true(tally.others <= 1);
	assert_int_equal(simulate(20, 5, 32, &slower).points_named, 0);
}

/* The verdicts of the two directions of each metric. */
static void directions(void **state)
{
	struct noise plain = { .repeats = 8 };
	struct noise slow = { .repeats = 8, .slower = "mixed", .slower_points = 10, .factor = 1.3 };
	struct compare_report *report;
	json_t *a;
	json_t *b;

	(void)state;
	random_state_seed(&plain.random, 41, 0);
	random_state_seed(&slow.random, 42, 0);
	a = make_document(&plain);
	b = make_document(&slow);
	report = compare_two(a, b);
	assert_int_equal(report->metric_count, 2);
	assert_true(report->metrics[0].decides && !report->metrics[1].decides);
	assert_int_equal(find_test(report, "mixed", 0, COMPARE_ALL)->verdict, COMPARE_WORSE);
	assert_int_equal(find_test(report, "mixed", 1, COMPARE_ALL)->verdict, COMPARE_WORSE);
	assert_int_not_equal(find_test(report, "overwrite", 0, COMPARE_ALL)->verdict,
			     COMPARE_WORSE);
	assert_int_not_equal(find_test(report, "overwrite", 0, COMPARE_ALL)->verdict,
			     COMPARE_BETTER);
	assert_int_equal(report->repeats, 8);
	assert_int_equal(report->workload_repeats, 1);
	assert_int_equal(report->point_repeats, 7);
	compare_report_free(report);
	report = compare_two(b, a);
	assert_int_equal(find_test(report, "mixed", 0, COMPARE_ALL)->verdict, COMPARE_BETTER);
	assert_int_equal(find_test(report, "mixed", 1, COMPARE_ALL)->verdict, COMPARE_BETTER);
	assert_int_equal(compare_report_count(report, COMPARE_WORSE), 0);
	compare_report_free(report);
	json_decref(a);
	json_decref(b);
}

/* With many samples it is known that nothing has changed. */
static void the_same_is_seen(void **state)
{
	struct noise noise = { .repeats = 40 };
	struct compare_report *report;
	json_t *a;
	json_t *b;

	(void)state;
	random_state_seed(&noise.random, 61, 0);
	a = make_document(&noise);
	b = make_document(&noise);
	report = compare_two(a, b);
	for (int at = 0; at < 4; at++)
		assert_int_equal(find_test(report, workloads[at], 0, COMPARE_ALL)->verdict,
				 COMPARE_SAME);
	compare_report_free(report);
	json_decref(a);
	json_decref(b);
}

static void wanting_memory_is_said(void **state)
{
	const struct compare_options options = {
		.threshold = 0.05, .alpha = 0.05, .a_name = "A", .b_name = "B"
	};
	struct noise noise = { .repeats = 2 };
	bool failed = true;
	json_t *a;

	(void)state;
	random_state_seed(&noise.random, 51, 0);
	a = json_pack("{s:s, s:[o]}", "schema", "refstorm.bench.v1", "points",
		      make_point(&noise, "mixed", 0));
	for (uint64_t nth = 1; failed; nth++) {
		struct rs_error error = RS_ERROR_INIT;
		struct compare_report *report;
		int ret;

		alloc_fail_arm(nth, 0);
		ret = compare_documents(a, a, &options, &report, &error);
		failed = alloc_fail_count() > 0;
		assert_int_equal(ret, failed ? -12 : 0);
		assert_true(!failed == (report != NULL));
		compare_report_free(report);
	}
	alloc_fail_arm(0, 0);
	json_decref(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_build_is_not_worse),
		cmocka_unit_test(ten_percent_are_found),
		cmocka_unit_test(a_single_point_needs_repeats),
		cmocka_unit_test(directions),
		cmocka_unit_test(the_same_is_seen),
		cmocka_unit_test(wanting_memory_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
