/* SPDX-License-Identifier: MIT */
/*
 * Each workload with few and many threads, without quotas and with each engine, for some steps; then its own
 * check and the oracles. And that the check fails where something was changed behind its back.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/alloc.h"
#include "stress/oracle/recount_groups.h"
#include "tests/support/threads.h"
#include "workloads/workload.h"
#include "workloads/workload_work.h"

#define THREADS 4U
#define STEPS_MAX 20000U
#define BLOCKS 1024U
/* Of all threads together. Sanitizers make it many times slower, and look for other things than rare operations. */
#if defined(ORDER_TSAN) || defined(__SANITIZE_ADDRESS__)
#define STEPS 16U
#define TRIAL_BLOCKS 256U
#define SNAPSHOTS 4U
#define ALL_OPERATIONS false
#else
#define STEPS 132U /* enough for a commit by their rhythm */
#define TRIAL_BLOCKS BLOCKS
#define SNAPSHOTS 6U
#define ALL_OPERATIONS true
#endif

enum quotas {
	QUOTAS_OFF,
	QUOTAS_LEDGER,
	QUOTAS_EXTENT,
	QUOTAS_KINDS
};

static const char *const quotas_names[QUOTAS_KINDS] = { "off", "ledger", "extent" };

struct run {
	struct workload workload;
	struct rs_writer *writer; /* of the test */
	struct workload_thread threads[THREADS];
	struct histogram *latencies; /* of each thread and operation */
	int results[THREADS];
	char what[80];
};

static void run_prepare(struct run *run, const struct rs_workload *kind,
			const struct workload_options *options)
{
	const struct rs_forest_options forest = { .node_bytes = 4096 };
	struct rs_error error = RS_ERROR_INIT;
	struct rs_subvol *subvol;
	char name[64];
	int ret;

	memset(run, 0, sizeof(*run));
	run->workload.kind = kind;
	run->workload.options = *options;
	snprintf(run->what, sizeof(run->what), "%s", kind->name);
	if (rs_forest_create(&forest, &run->workload.forest, &error))
		fail_msg("%s", error.what);
	assert_int_equal(rs_writer_join(run->workload.forest, &run->writer), 0);
	/* Names that an image may have are no hindrance. */
	snprintf(name, sizeof(name), "%s-0", kind->name);
	assert_int_equal(rs_subvol_create(run->writer, name, &subvol), 0);
	ret = kind->prepare(&run->workload, run->writer);
	if (ret)
		fail_msg("%s: prepare: %s", run->what, strerror(-ret));
	run->latencies =
		alloc_zeroed((size_t)THREADS * WORKLOAD_OPERATIONS_MAX, sizeof(*run->latencies));
	assert_non_null(run->latencies);
}

static void run_quotas(struct run *run, enum quotas quotas)
{
	if (quotas == QUOTAS_OFF)
		return;
	assert_int_equal(rs_quota_enable(run->writer, quotas == QUOTAS_LEDGER ? RS_QUOTA_LEDGER :
										RS_QUOTA_EXTENT),
			 0);
	assert_int_equal(rs_rescan_wait(run->workload.forest), 0);
}

/* So many steps, and on until one operation was done: of a rescan that can take many. */
static void run_thread(void *argument, unsigned number)
{
	struct run *run = argument;
	struct workload_thread *thread = &run->threads[number];
	unsigned steps = STEPS / run->workload.options.threads;
	unsigned step;
	int ret;

	*thread = (struct workload_thread){
		.workload = &run->workload,
		.index = number,
		.latencies = &run->latencies[number * WORKLOAD_OPERATIONS_MAX],
	};
	random_state_seed(&thread->random, run->workload.options.seed, number);
	ret = rs_writer_join(run->workload.forest, &thread->writer);
	if (ret) {
		run->results[number] = ret;
		return;
	}
	for (step = 0; !ret && step < STEPS_MAX && (step < steps || !thread->operations); step++)
		ret = run->workload.kind->step(thread);
	run->results[number] = ret;
	rs_writer_leave(thread->writer);
}

static void run_steps(struct run *run)
{
	unsigned at;

	threads_run(run->workload.options.threads, run_thread, run);
	/* Relaxed: the threads have ended. */
	order_store_relaxed(&run->workload.stopping, 1);
	for (at = 0; at < run->workload.options.threads; at++)
		if (run->results[at])
			fail_msg("%s: thread %u: %s", run->what, at, strerror(-run->results[at]));
}

/* Every thread did something, and a latency was recorded for each of that; none elsewhere. */
static void counts_check(const struct run *run)
{
	const struct rs_workload *kind = run->workload.kind;
	unsigned at;
	unsigned operation;

	for (at = 0; at < run->workload.options.threads; at++) {
		const struct workload_thread *thread = &run->threads[at];
		uint64_t recorded = 0;

		for (operation = 0; operation < WORKLOAD_OPERATIONS_MAX; operation++) {
			recorded += thread->latencies[operation].count;
			if (!kind->operations[operation])
				assert_int_equal(thread->latencies[operation].count, 0);
		}
		assert_true(thread->operations > 0);
		assert_true(recorded == thread->operations);
	}
}

/* Each operation that it names was done by some thread. */
static void operations_check(const struct run *run)
{
	const struct rs_workload *kind = run->workload.kind;
	unsigned operation;
	unsigned at;

	for (operation = 0; kind->operations[operation]; operation++) {
		uint64_t done = 0;

		for (at = 0; at < run->workload.options.threads; at++)
			done += run->threads[at].latencies[operation].count;
		if (!done)
			fail_msg("%s: no %s was done", run->what, kind->operations[operation]);
	}
}

static void oracles_check(struct run *run, enum quotas quotas)
{
	const struct recount_options options = { .references = true, .holdings = true };
	struct recount_groups_done groups;
	const struct recount_report *report;
	struct recount *recount;

	assert_int_equal(rs_forest_drop_wait(run->writer), 0);
	assert_int_equal(recount_create(run->workload.forest, &options, &recount), 0);
	assert_int_equal(recount_groups_compare(recount, &groups), 0);
	report = recount_report(recount);
	if (report->finding_count)
		fail_msg("%s: %s", run->what, report->findings[0].text);
	assert_true(report->references > 0);
	assert_int_equal(report->dropping, 0);
	if (quotas != QUOTAS_OFF)
		assert_true(groups.groups >= report->roots);
	recount_destroy(recount);
}

static void run_check(struct run *run)
{
	struct rs_error error = RS_ERROR_INIT;

	if (run->workload.kind->check(&run->workload, run->writer, &error))
		fail_msg("%s: %s", run->what, error.what);
}

static void run_finish(struct run *run)
{
	run->workload.kind->finish(&run->workload);
	assert_null(run->workload.data);
	alloc_free(run->latencies);
	rs_writer_leave(run->writer);
	rs_forest_destroy(run->workload.forest);
}

static void trial(const struct rs_workload *kind, const struct workload_options *options,
		  enum quotas quotas, bool all_operations)
{
	static struct run run;

	run_prepare(&run, kind, options);
	snprintf(run.what, sizeof(run.what), "%s, %u threads, quotas %s", kind->name,
		 options->threads, quotas_names[quotas]);
	run_quotas(&run, quotas);
	run_steps(&run);
	counts_check(&run);
	if (all_operations)
		operations_check(&run);
	run_check(&run);
	oracles_check(&run, quotas);
	/* Nothing of it has changed that. */
	run_check(&run);
	run_finish(&run);
}

static void trial_all(unsigned threads, enum quotas quotas)
{
	const struct workload_options options = {
		.threads = threads,
		.snapshots = SNAPSHOTS,
		.blocks = TRIAL_BLOCKS,
		.seed = 11,
	};
	const struct rs_workload *kind;
	unsigned at;

	for (at = 0; (kind = workload_at(at)); at++)
		if (quotas != QUOTAS_OFF || !kind->needs_quotas)
			trial(kind, &options, quotas, ALL_OPERATIONS);
}

static void quotas_off(void **state)
{
	(void)state;
	trial_all(1, QUOTAS_OFF);
	trial_all(THREADS, QUOTAS_OFF);
}

static void with_the_ledger(void **state)
{
	(void)state;
	trial_all(1, QUOTAS_LEDGER);
	trial_all(THREADS, QUOTAS_LEDGER);
}

static void with_the_walks(void **state)
{
	(void)state;
	trial_all(1, QUOTAS_EXTENT);
	trial_all(THREADS, QUOTAS_EXTENT);
}

/* The fewest blocks, no snapshots; and fewer snapshots than threads. */
static void smallest(void **state)
{
	struct workload_options options = { .threads = 2, .blocks = 1, .seed = 12 };
	const struct rs_workload *kind;
	unsigned at;

	(void)state;
	for (at = 0; (kind = workload_at(at)); at++) {
		options.snapshots = 0;
		trial(kind, &options, QUOTAS_LEDGER, false);
		options.snapshots = 1;
		trial(kind, &options, QUOTAS_LEDGER, false);
	}
}

static void what_needs_quotas_says_so(void **state)
{
	const struct workload_options options = { .threads = 1, .blocks = BLOCKS };
	const struct rs_workload *kind = workload_find("rescan-under-load");
	static struct run run;

	(void)state;
	assert_non_null(kind);
	assert_true(kind->needs_quotas);
	run_prepare(&run, kind, &options);
	threads_run(1, run_thread, &run);
	assert_int_equal(run.results[0], -ENOTCONN);
	run_finish(&run);
}

/* Steps come back while a rescan is under way that nobody lets go on. */
static void a_rescan_that_pauses_goes_on(void **state)
{
	const struct workload_options options = { .threads = 2, .blocks = BLOCKS, .snapshots = 2 };
	static struct run run;

	(void)state;
	run_prepare(&run, workload_find("rescan-under-load"), &options);
	run_quotas(&run, QUOTAS_LEDGER);
	assert_int_equal(rs_rescan_start(run.workload.forest), 0);
	(void)!rs_rescan_pause(run.workload.forest);
	run_steps(&run);
	counts_check(&run);
	run_check(&run);
	run_finish(&run);
}

/* Extents of data, and references of all extents. */
static void extents_count(struct run *run, uint64_t *data, uint64_t *references)
{
	const struct recount_options options = { .references = true };
	const struct recount_report *report;
	struct recount *recount;

	assert_int_equal(rs_forest_drop_wait(run->writer), 0);
	assert_int_equal(recount_create(run->workload.forest, &options, &recount), 0);
	report = recount_report(recount);
	assert_int_equal(report->finding_count, 0);
	*data = report->extents - report->blocks;
	*references = report->references;
	recount_destroy(recount);
}

/* Between steps files are in fragments, and a defrag is what puts them together. */
static void defrag_has_something_to_do(void **state)
{
	const struct workload_options options = { .threads = 2, .blocks = BLOCKS };
	static struct run run;
	uint64_t references;
	uint64_t before;
	uint64_t after;
	struct work *work;
	uint64_t inode;

	(void)state;
	run_prepare(&run, workload_find("defrag-shared"), &options);
	run_steps(&run);
	extents_count(&run, &before, &references);
	assert_int_equal(before, BLOCKS);
	/* The first that the workload keeps is its struct work. */
	work = *(struct work **)run.workload.data;
	assert_int_equal(rs_file_find(run.writer, work->volumes[0].subvol, "f0", false, &inode), 0);
	assert_int_equal(rs_file_defrag(run.writer, work->volumes[0].subvol, inode), 0);
	extents_count(&run, &after, &references);
	/* 1 MiB in pieces of 4 KiB becomes four of 256 KiB. */
	assert_int_equal(before - after, 256 - 4);
	run_finish(&run);
}

/* All references are of one extent, but for what stands in their places. */
static void the_fan_has_its_references(void **state)
{
	const struct workload_options options = { .threads = 2, .blocks = BLOCKS };
	static struct run run;
	uint64_t references;
	uint64_t data;

	(void)state;
	run_prepare(&run, workload_find("clone-fan"), &options);
	extents_count(&run, &data, &references);
	assert_int_equal(data, 1);
	assert_true(references > BLOCKS);
	run_steps(&run);
	extents_count(&run, &data, &references);
	assert_true(data > 1 && data <= 1 + BLOCKS / 8 + options.threads);
	assert_true(references > BLOCKS + data);
	run_finish(&run);
}

static bool name_is_good(const char *name)
{
	return name[0] && strspn(name, "abcdefghijklmnopqrstuvwxyz-") == strlen(name);
}

static void descriptions(void **state)
{
	const struct rs_workload *kind;
	unsigned at;
	unsigned operation;

	(void)state;
	for (at = 0; (kind = workload_at(at)); at++) {
		assert_true(name_is_good(kind->name));
		/* The first of that name: there is no other. */
		assert_ptr_equal(workload_find(kind->name), kind);
		assert_true(kind->summary[0] && !strchr(kind->summary, '\n'));
		assert_non_null(strstr(kind->parameters, "threads "));
		assert_non_null(strstr(kind->parameters, "snapshots "));
		assert_non_null(strstr(kind->parameters, "blocks "));
		assert_true(kind->blocks > 0);
		assert_non_null(kind->operations[0]);
		assert_null(kind->operations[WORKLOAD_OPERATIONS_MAX - 1]);
		for (operation = 0; kind->operations[operation]; operation++)
			assert_true(name_is_good(kind->operations[operation]));
	}
	assert_int_equal(at, 7);
	assert_null(workload_at(at + 100));
	assert_null(workload_find("nonsense"));
	assert_null(workload_find(""));
}

typedef void harm_fn(struct run *run, struct work *work);

static void harm_snapshot(struct run *run, struct work *work)
{
	struct rs_subvol *snapshot = work_snapshot_at(&work->volumes[0], 1);

	assert_non_null(snapshot);
	assert_int_equal(rs_subvol_delete(run->writer, snapshot), 0);
}

static void harm_subvol(struct run *run, struct work *work)
{
	struct rs_subvol *made;

	(void)work;
	assert_int_equal(rs_subvol_create(run->writer, "one-more", &made), 0);
}

static void harm_name(struct run *run, struct work *work)
{
	assert_int_equal(rs_file_unlink(run->writer, work->volumes[0].subvol, "file"), 0);
}

static void harm_bytes(struct run *run, struct work *work)
{
	const struct work_volume *volume = &work->volumes[0];

	assert_int_equal(rs_file_punch(run->writer, volume->subvol, volume->inode, 0, WORK_BLOCK),
			 0);
}

/* What is changed, and what the check says of it. */
static void the_check_can_fail(void **state)
{
	static const struct {
		harm_fn *harm;
		const char *said;
	} harms[] = {
		{ harm_snapshot, "is gone" },
		{ harm_subvol, "subvolumes are there" },
		{ harm_name, "no file in" },
		{ harm_bytes, "bytes of data" },
	};
	const struct workload_options options = {
		.threads = 2,
		.snapshots = SNAPSHOTS,
		.blocks = BLOCKS,
	};
	static struct run run;
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(harms) / sizeof(harms[0]); at++) {
		struct rs_error error = RS_ERROR_INIT;
		struct workload *workload = &run.workload;

		run_prepare(&run, workload_find("snapshot-drop"), &options);
		run_quotas(&run, QUOTAS_LEDGER);
		run_steps(&run);
		run_check(&run);
		harms[at].harm(&run, workload->data);
		assert_int_equal(workload->kind->check(workload, run.writer, &error), -EUCLEAN);
		if (!strstr(error.what, harms[at].said) || error.code != -EUCLEAN)
			fail_msg("said of harm %zu: %s", at, error.what);
		run_finish(&run);
	}
}

/* Whatever allocation fails while it is prepared: it says so, and can be finished. False: none did. */
static bool lean_trial(const struct rs_workload *kind, uint64_t nth)
{
	const struct rs_forest_options forest = { .node_bytes = 4096 };
	struct workload workload = {
		.kind = kind,
		.options = { .threads = 2, .snapshots = 3, .blocks = 40 },
	};
	struct rs_writer *writer;
	uint64_t refused;
	int ret;

	assert_int_equal(rs_forest_create(&forest, &workload.forest, NULL), 0);
	assert_int_equal(rs_writer_join(workload.forest, &writer), 0);
	alloc_fail_arm(nth, 0);
	ret = kind->prepare(&workload, writer);
	refused = alloc_fail_count();
	alloc_fail_arm(0, 0);
	if (ret && ret != -ENOMEM && ret != -EROFS)
		fail_msg("%s, allocation %u: %s", kind->name, (unsigned)nth, strerror(-ret));
	if (!refused)
		assert_int_equal(ret, 0);
	kind->finish(&workload);
	assert_null(workload.data);
	rs_writer_leave(writer);
	rs_forest_destroy(workload.forest);
	return refused;
}

static void short_of_memory(void **state)
{
	const struct rs_workload *kind;
	unsigned at;
	uint64_t nth;

	(void)state;
	for (at = 0; (kind = workload_at(at)); at++) {
		/* Its own come first, of many that are the forest's. */
		assert_true(lean_trial(kind, 1));
		for (nth = 2; lean_trial(kind, nth); nth += 1 + nth)
			;
		assert_true(nth > 7); /* it went on until none failed */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptions),
		cmocka_unit_test(quotas_off),
		cmocka_unit_test(with_the_ledger),
		cmocka_unit_test(with_the_walks),
		cmocka_unit_test(smallest),
		cmocka_unit_test(what_needs_quotas_says_so),
		cmocka_unit_test(a_rescan_that_pauses_goes_on),
		cmocka_unit_test(defrag_has_something_to_do),
		cmocka_unit_test(the_fan_has_its_references),
		cmocka_unit_test(the_check_can_fail),
		cmocka_unit_test(short_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
