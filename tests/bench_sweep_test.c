// SPDX-License-Identifier: MIT
/* Plans, samples and what is made of them; with workloads that do little, or fail in each way there is. */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/sweep/child.h"
#include "bench/sweep/run_record.h"
#include "bench/sweep/sample_json.h"
#include "bench/sweep/sweep.h"
#include "cli/bench_check.h"
#include "core/base/alloc.h"

#define BLOCK UINT64_C(4096)

struct one_file {
	struct rs_subvol *subvol;
	uint64_t inode;
};

static int file_prepare(struct workload *workload, struct rs_writer *writer)
{
	struct one_file *file = alloc_zeroed(1, sizeof(*file));
	int result;

	workload->data = file;
	if (!file)
		return -ENOMEM;
	result = rs_subvol_create(writer, "bench", &file->subvol);
	if (!result)
		result = rs_file_find(writer, file->subvol, "file", true, &file->inode);
	return result;
}

static int file_step(struct workload_thread *thread)
{
	const struct one_file *file = thread->workload->data;
	uint64_t block = random_state_below(&thread->random, thread->workload->options.blocks);
	uint64_t begun = workload_begin(thread);
	int result = rs_file_write(thread->writer, file->subvol, file->inode, block * BLOCK, BLOCK);

	if (result)
		return result;
	workload_done(thread, 0, begun);
	if (thread->index || thread->operations % 100)
		return 0;
	begun = workload_begin(thread);
	result = rs_forest_commit(thread->writer);
	workload_done(thread, 1, begun);
	return result;
}

static void file_finish(struct workload *workload)
{
	alloc_free(workload->data);
}

static int idle_step(struct workload_thread *thread)
{
	(void)thread;
	usleep(1000);
	return 0;
}

static int failing_step(struct workload_thread *thread)
{
	return thread->operations++ < 3 ? 0 : -EDOM;
}

static int hanging_step(struct workload_thread *thread)
{
	/* Longer than any test waits for it. */
	sleep(600);
	thread->operations++;
	return 0;
}

static int crashing_step(struct workload_thread *thread)
{
	(void)thread;
	abort();
}

static int failing_prepare(struct workload *workload, struct rs_writer *writer)
{
	(void)workload;
	(void)writer;
	return -ENOSPC;
}

static int failing_check(struct workload *workload, struct rs_writer *writer,
			 struct rs_error *error)
{
	(void)workload;
	(void)writer;
	error->code = -EUCLEAN;
	snprintf(error->where, sizeof(error->where), "/home/somebody/file");
	snprintf(error->what, sizeof(error->what), "it is not what it was");
	return -EUCLEAN;
}

#define KIND(title, preparing, stepping, checking)                                                 \
	{                                                                                          \
		.name = title, .summary = "of this test", .parameters = "none",                    \
		.operations = { "write", "commit" }, .blocks = 64, .prepare = preparing,           \
		.step = stepping, .check = checking, .finish = file_finish                         \
	}

static const struct rs_workload good = KIND("good", file_prepare, file_step, NULL);
static const struct rs_workload idle = KIND("idle", file_prepare, idle_step, NULL);
static const struct rs_workload failing = KIND("failing", file_prepare, failing_step, NULL);
static const struct rs_workload hanging = KIND("hanging", file_prepare, hanging_step, NULL);
static const struct rs_workload crashing = KIND("crashing", file_prepare, crashing_step, NULL);
static const struct rs_workload unready = KIND("unready", failing_prepare, file_step, NULL);
static const struct rs_workload wrong = KIND("wrong", file_prepare, file_step, failing_check);

static void plan_one(struct plan *plan, const struct rs_workload *workload)
{
	plan_init(plan);
	plan->workloads[plan->workload_count++] = workload;
	plan->seconds = 0.05;
	plan->warm_up = 0.01;
	plan->repeat = 1;
	plan->oracle = bench_check;
	assert_int_equal(plan_points_make(plan, NULL), 0);
}

static enum child_end run_one(const struct rs_workload *workload, double limit,
			      struct sample *sample, char why[CHILD_WHY_BYTES])
{
	enum child_end end;
	struct plan plan;

	plan_one(&plan, workload);
	plan.limit = limit;
	why[0] = 0;
	end = child_run(&plan, &plan.points[0], 0, NULL, NULL, sample, why);
	plan_clear(&plan);
	return end;
}

static void test_good(void **state)
{
	static struct sample sample;
	char why[CHILD_WHY_BYTES];
	enum child_end end = run_one(&good, 0, &sample, why);
	double rate = sample.metrics[SAMPLE_OPS_PER_S];
	size_t at;
	bool commits = false;

	(void)state;
	assert_string_equal(why, "");
	assert_int_equal(end, CHILD_GOOD);
	assert_true(sample.operations > 10);
	assert_int_equal(sample.operations, sample.latencies[0].count + sample.latencies[1].count);
	/* Measured for 0.05 s, or longer on a busy machine. */
	assert_true(rate > 0 && rate <= (double)sample.operations / 0.045);
	assert_true(sample.metrics[SAMPLE_NS_PER_OP] * rate > 0.999e9 &&
		    sample.metrics[SAMPLE_NS_PER_OP] * rate < 1.001e9);
	assert_true(sample.metrics[SAMPLE_CPU_NS_PER_OP] > 10);
	assert_true(sample.metrics[SAMPLE_PEAK_RSS_BYTES] > 1e6);
	assert_true(sample.has[SAMPLE_SETS]);
	for (at = 0; at < sample.lock_count; at++)
		if (!strcmp(sample.locks[at].name, "forest.commit")) {
			commits = true;
			assert_true(sample.locks[at].numbers.acquisitions >=
				    sample.latencies[1].count);
		}
	assert_true(commits);
}

static int finding_oracle(struct rs_forest *forest, bool quotas, struct rs_error *error)
{
	(void)forest;
	snprintf(error->what, sizeof(error->what), "found, quotas %s", quotas ? "on" : "off");
	return -EUCLEAN;
}

static void test_oracle(void **state)
{
	static struct sample sample;
	char why[CHILD_WHY_BYTES];
	struct plan plan;

	(void)state;
	plan_one(&plan, &good);
	plan.oracle = finding_oracle;
	assert_int_equal(child_run(&plan, &plan.points[0], 0, NULL, NULL, &sample, why),
			 CHILD_WRONG);
	assert_string_equal(why, "found, quotas on");
	plan.points[0].engine = PLAN_ENGINE_OFF;
	assert_int_equal(child_run(&plan, &plan.points[0], 0, NULL, NULL, &sample, why),
			 CHILD_WRONG);
	assert_string_equal(why, "found, quotas off");
	plan_clear(&plan);
}

static void test_failures(void **state)
{
	static struct sample sample;
	char why[CHILD_WHY_BYTES];

	(void)state;
	assert_int_equal(run_one(&failing, 0, &sample, why), CHILD_WRONG);
	assert_string_equal(why,
			    "an operation of thread 0 failed: Numerical argument out of domain");
	assert_int_equal(run_one(&unready, 0, &sample, why), CHILD_WRONG);
	assert_string_equal(why, "preparing: No space left on device");
	assert_int_equal(run_one(&wrong, 0, &sample, why), CHILD_WRONG);
	assert_string_equal(why, "file: it is not what it was");
	assert_int_equal(run_one(&crashing, 0, &sample, why), CHILD_CRASHED);
	assert_non_null(strstr(why, "crashed: "));
	assert_int_equal(run_one(&hanging, 1.5, &sample, why), CHILD_HUNG);
	assert_string_equal(why, "hung: ended after 1.5 s");
}

/* One point of each workload that goes on, whatever happens to the others. */
static void test_sweep(void **state)
{
	static const struct rs_workload *const kinds[] = { &crashing, &good, &idle, &wrong };
	const struct sweep_hooks hooks = { 0 };
	struct sweep_outcome outcome;
	struct result result;
	struct plan plan;
	size_t at;

	(void)state;
	plan_init(&plan);
	plan.seconds = 0.02;
	plan.warm_up = 0;
	plan.repeat = 3;
	for (at = 0; at < 4; at++)
		plan.workloads[plan.workload_count++] = kinds[at];
	assert_int_equal(plan_points_make(&plan, NULL), 0);
	assert_int_equal(result_create(&plan, &result), 0);
	assert_int_equal(sweep_run(&plan, &hooks, &result, &outcome, NULL), 0);
	assert_int_equal(outcome.crashed, 1);
	assert_int_equal(outcome.wrong, 1);
	assert_int_equal(outcome.idle, 1);
	assert_int_equal(outcome.hung, 0);
	assert_false(outcome.interrupted);
	assert_non_null(strstr(result.points[0].failed, "crashed"));
	assert_int_equal(result.points[1].samples, 3);
	assert_int_equal(result.points[1].value_counts[SAMPLE_OPS_PER_S], 3);
	assert_string_equal(result.points[2].failed, "no operation was done");
	assert_int_equal(result.points[3].samples, 0);
	result_destroy(&result);
	plan_clear(&plan);
}

static unsigned asked;

static bool interrupt_third(void)
{
	return ++asked >= 3;
}

static void test_interrupted(void **state)
{
	const struct sweep_hooks hooks = { .interrupted = interrupt_third };
	struct sweep_outcome outcome;
	struct result result;
	struct plan plan;

	(void)state;
	plan_one(&plan, &good);
	plan.seconds = 60;
	assert_int_equal(result_create(&plan, &result), 0);
	assert_int_equal(sweep_run(&plan, &hooks, &result, &outcome, NULL), 0);
	assert_true(outcome.interrupted);
	assert_int_equal(result.points[0].samples, 0);
	assert_string_equal(result.points[0].failed, "");
	result_destroy(&result);
	plan_clear(&plan);
}

static void make_sample(struct sample *sample, double rate, uint64_t latency)
{
	memset(sample, 0, sizeof(*sample));
	sample->operations = 10;
	sample->metrics[SAMPLE_OPS_PER_S] = rate;
	sample->has[SAMPLE_OPS_PER_S] = true;
	histogram_record(&sample->latencies[0], latency);
	histogram_record(&sample->latencies[1], UINT64_MAX);
	snprintf(sample->locks[0].name, SAMPLE_NAME_BYTES, "a");
	sample->locks[0].numbers = (struct lock_statistics){
		.rank = LOCK_RANK_SPACE,
		.acquisitions = 5,
		.contended = 2,
		.wait_ns = 100,
		.wait_ns_max = latency,
		.hold_ns = 50,
		.hold_ns_max = 30,
		.waits = { 0, 0, 2 },
	};
	sample->lock_count = 1;
}

static json_t *only_point(json_t *all)
{
	assert_int_equal(json_array_size(json_object_get(all, "points")), 1);
	return json_array_get(json_object_get(all, "points"), 0);
}

static json_int_t integer_at(json_t *json, const char *name)
{
	assert_true(json_is_integer(json_object_get(json, name)));
	return json_integer_value(json_object_get(json, name));
}

static void check_point(json_t *point)
{
	json_t *rate = json_object_get(json_object_get(point, "metrics"), "ops_per_s");
	json_t *write = json_object_get(json_object_get(point, "latency"), "write");
	json_t *commit = json_object_get(json_object_get(point, "latency"), "commit");
	json_t *lock = json_array_get(json_object_get(point, "locks"), 0);

	assert_int_equal(integer_at(point, "ops"), 30);
	assert_int_equal(json_object_size(json_object_get(point, "metrics")), 1);
	assert_true(json_real_value(json_object_get(rate, "median")) == 2.0);
	assert_int_equal(json_array_size(json_object_get(rate, "samples")), 3);
	assert_int_equal(integer_at(write, "count"), 3);
	assert_int_equal(integer_at(write, "max_ns"), 300);
	assert_int_equal(json_array_size(json_object_get(write, "buckets")), 3);
	assert_int_equal(integer_at(commit, "over"), 3);
	assert_int_equal(integer_at(lock, "acquisitions"), 15);
	assert_int_equal(integer_at(lock, "contended"), 6);
	assert_int_equal(integer_at(lock, "wait_ns"), 300);
	assert_int_equal(integer_at(lock, "wait_ns_max"), 300);
	/* In the third bucket, which ends below 192. */
	assert_in_range(integer_at(lock, "wait_ns_p99"), 128, 192);
	assert_true(json_is_null(json_object_get(point, "failed")));
}

/* Samples that have gone through JSON, put together. */
static void test_result(void **state)
{
	static struct sample sample, back;
	struct result result;
	struct plan plan;
	json_t *json;
	unsigned at;

	(void)state;
	plan_one(&plan, &good);
	plan.repeat = 3;
	plan.lock_times = true;
	assert_int_equal(result_create(&plan, &result), 0);
	for (at = 1; at <= 3; at++) {
		make_sample(&sample, at, at * 100);
		json = sample_json_pack(&sample, 2);
		assert_true(sample_json_unpack(json, 2, &back));
		assert_false(sample_json_unpack(json, 1, &back));
		assert_true(sample_json_unpack(json, 2, &back));
		json_decref(json);
		assert_memory_equal(&back, &sample, sizeof(sample));
		assert_int_equal(result_add(&result, 0, &back), 0);
	}
	json = result_json(&result, json_object(), true);
	assert_true(json_is_true(json_object_get(json, "partial")));
	check_point(only_point(json));
	json_decref(json);

	/* Without times they are null; with a failure nothing is left. */
	plan.lock_times = false;
	json = result_json(&result, json_object(), false);
	assert_true(json_is_null(
		json_object_get(json_array_get(json_object_get(only_point(json), "locks"), 0),
				"wait_ns")));
	json_decref(json);
	result_fail(&result, 0, "bad\n\xff");
	result_fail(&result, 0, "later");
	assert_int_equal(result_add(&result, 0, &back), 0);
	json = result_json(&result, json_object(), false);
	assert_string_equal(json_string_value(json_object_get(only_point(json), "failed")),
			    "bad??");
	assert_int_equal(integer_at(only_point(json), "ops"), 0);
	assert_int_equal(json_object_size(json_object_get(only_point(json), "metrics")), 0);
	json_decref(json);
	result_destroy(&result);
	plan_clear(&plan);
}

static void refuse(int (*parse)(struct plan *, const char *, struct rs_error *), const char *text,
		   const char *what)
{
	struct rs_error error = RS_ERROR_INIT;
	struct plan plan;

	plan_init(&plan);
	assert_int_equal(parse(&plan, text, &error), -EINVAL);
	assert_string_equal(error.what, what);
}

static void test_refused(void **state)
{
	char many[400] = "";
	unsigned at;

	(void)state;
	refuse(plan_workloads_parse, "none",
	       "--workload: there is no workload 'none'; see refstorm list");
	refuse(plan_engines_parse, "off,none",
	       "--engine: 'none' is none of off, ledger and extent");
	refuse(plan_engines_parse, "off,ledger,off", "--engine: 'off' is given twice");
	refuse(plan_records_parse, "", "--record: an empty entry");
	refuse(plan_records_parse, "locked,", "--record: an empty entry");
	refuse(plan_threads_parse, "1,0", "--threads: 0 is not from 1 to 1024");
	refuse(plan_threads_parse, "-1", "--threads: '-1' is no number");
	refuse(plan_threads_parse, "2,02", "--threads: '02' is given twice");
	refuse(plan_snapshots_parse, "99999999999999999999",
	       "--snapshots: 99999999999999999999 is not from 0 to 1000000");
	for (at = 0; at <= PLAN_LIST_MAX; at++)
		sprintf(many + strlen(many), "%s%u", at ? "," : "", at + 1);
	refuse(plan_snapshots_parse, many, "--snapshots: more than 64 entries");
}

static void test_impossible(void **state)
{
	static const struct rs_workload needing = { .name = "needing", .needs_quotas = true };
	struct rs_error error = RS_ERROR_INIT;
	struct plan plan;
	unsigned at;

	(void)state;
	plan_init(&plan);
	assert_int_equal(plan_points_make(&plan, &error), -EINVAL);
	assert_string_equal(error.what, "no workload is named; see refstorm list");
	plan.workloads[plan.workload_count++] = &good;
	plan.workloads[plan.workload_count++] = &needing;
	assert_int_equal(plan_engines_parse(&plan, "ledger,off", &error), 0);
	assert_int_equal(plan_points_make(&plan, &error), -EINVAL);
	assert_string_equal(error.what, "--workload needing with --engine off: it needs quotas");
	plan.workload_count = 1;
	for (at = 0; at < PLAN_LIST_MAX; at++) {
		plan.threads[at] = at + 1;
		plan.snapshots[at] = at;
	}
	plan.threads_count = PLAN_LIST_MAX;
	plan.snapshots_count = PLAN_LIST_MAX;
	assert_int_equal(plan_records_parse(&plan, "percpu,locked,hashed", &error), 0);
	assert_int_equal(plan_points_make(&plan, &error), -EINVAL);
	assert_non_null(strstr(error.what, "24576 points are too many; the most is 10000"));
}

/* Each combination once. */
static void test_points(void **state)
{
	struct plan plan;
	size_t one, other;

	(void)state;
	plan_init(&plan);
	plan.workloads[plan.workload_count++] = &good;
	plan.workloads[plan.workload_count++] = &idle;
	assert_int_equal(plan_engines_parse(&plan, "off,extent", NULL), 0);
	assert_int_equal(plan_threads_parse(&plan, "1,2,4", NULL), 0);
	assert_int_equal(plan_points_make(&plan, NULL), 0);
	assert_int_equal(plan.point_count, 12);
	for (one = 0; one < plan.point_count; one++)
		for (other = 0; other < one; other++)
			assert_true(plan.points[one].workload != plan.points[other].workload ||
				    plan.points[one].engine != plan.points[other].engine ||
				    plan.points[one].threads != plan.points[other].threads);
	assert_int_equal(plan.points[11].snapshots, 16);
	plan_clear(&plan);
}

static void test_run_record(void **state)
{
	static const char *const names[] = { "date",    "commit",  "build",    "version",
					     "command", "machine", "cpu",      "topology",
					     "cpus",    "kernel",  "governor", "clock",
					     "memory",  "load",    "virtual",  "counters" };
	char program[] = "/usr/some/refstorm", option[] = "--json=/tmp/x/y.json", last[] = "a/";
	char *arguments[] = { program, option, last, NULL };
	json_t *run = run_record_make(3, arguments);
	json_t *command = json_object_get(run, "command");
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(names) / sizeof(names[0]); at++)
		if (!json_object_get(run, names[at]))
			fail_msg("no %s", names[at]);
	assert_string_equal(json_string_value(json_array_get(command, 0)), "refstorm");
	assert_string_equal(json_string_value(json_array_get(command, 1)), "--json=y.json");
	assert_string_equal(json_string_value(json_array_get(command, 2)), "(directory)");
	assert_true(integer_at(run, "cpus") >= 1);
	assert_true(integer_at(json_object_get(run, "memory"), "bytes") > 1 << 20);
	assert_int_equal(json_array_size(json_object_get(run, "load")), 3);
	json_decref(run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_points),     cmocka_unit_test(test_refused),
		cmocka_unit_test(test_impossible), cmocka_unit_test(test_result),
		cmocka_unit_test(test_run_record), cmocka_unit_test(test_good),
		cmocka_unit_test(test_oracle),     cmocka_unit_test(test_failures),
		cmocka_unit_test(test_sweep),      cmocka_unit_test(test_interrupted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
