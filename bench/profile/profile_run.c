// SPDX-License-Identifier: MIT
#include "bench/profile/profile_run.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/base/topology.h"

struct profile_thread {
	struct profile_run *run;
	pthread_t thread;
	unsigned index;
	order_u64 operations; /* told after each step; only this thread writes it */
} __attribute__((aligned(ORDER_LINE)));

struct profile_run {
	struct workload workload;
	struct topology *topology;
	struct rs_writer *writer; /* of the thread that began it */
	struct profile_thread *threads;
	unsigned running;
	bool prepared;
	order_u32 failed; /* the errno of the first operation that did */
};

static void run_fail(struct profile_run *run, int result)
{
	uint32_t none = 0;

	/* Relaxed: the number is all there is; the threads are joined before it matters who came first. */
	(void)order_cas_relaxed(&run->failed, &none, (uint32_t)-result);
}

static int run_steps(struct profile_thread *thread)
{
	struct profile_run *run = thread->run;
	struct workload_thread work = { .workload = &run->workload, .index = thread->index };
	int result = rs_writer_join(run->workload.forest, &work.writer);

	if (result)
		return result;
	random_state_seed(&work.random, run->workload.options.seed, thread->index + 1);
	/* Relaxed: a thread that sees it late does a step more. */
	while (!result && !order_load_relaxed(&run->workload.stopping)) {
		result = run->workload.kind->step(&work);
		/* Relaxed: the only writer; a number. */
		order_store_relaxed(&thread->operations, work.operations);
	}
	rs_writer_leave(work.writer);
	return result;
}

static void *run_thread(void *argument)
{
	struct profile_thread *thread = argument;
	const struct topology *topology = thread->run->topology;
	unsigned threads = thread->run->workload.options.threads;
	int result = topology_bind(topology, topology_spread(topology, threads, thread->index));

	if (!result)
		result = run_steps(thread);
	if (result)
		run_fail(thread->run, result);
	return NULL;
}

static void run_stop(struct profile_run *run)
{
	/* Relaxed: as in run_steps. */
	order_store_relaxed(&run->workload.stopping, 1);
	while (run->running)
		pthread_join(run->threads[--run->running].thread, NULL);
}

static void run_destroy(struct profile_run *run)
{
	run_stop(run);
	if (run->prepared && run->workload.kind->finish)
		run->workload.kind->finish(&run->workload);
	if (run->writer)
		rs_writer_leave(run->writer);
	rs_forest_destroy(run->workload.forest);
	topology_destroy(run->topology);
	alloc_free(run->threads);
	alloc_free(run);
}

/* An error of the library's that has no text of its own. */
static int run_error(int result, const char *what, struct rs_error *error)
{
	return result ? error_set(error, result, "%s: %s", what, strerror(-result)) : 0;
}

static int run_prepare(struct profile_run *run, const struct profile_run_options *options,
		       struct rs_error *error)
{
	struct workload *workload = &run->workload;
	const struct rs_forest_options forest = { .record = options->record };
	int result = rs_forest_create(&forest, &workload->forest, error);

	if (result)
		return result;
	result = run_error(rs_writer_join(workload->forest, &run->writer), "a writer", error);
	if (result)
		return result;
	run->prepared = true; /* finish frees also what a failed one has left */
	result = run_error(workload->kind->prepare(workload, run->writer),
			   "the workload cannot be prepared", error);
	if (!result && options->quotas)
		result = run_error(rs_quota_enable(run->writer, options->engine),
				   "quotas cannot be turned on", error);
	if (!result && options->quotas)
		result = run_error(rs_rescan_wait(workload->forest), "quotas cannot be counted",
				   error);
	return result;
}

static int run_let_go(struct profile_run *run, struct rs_error *error)
{
	unsigned threads = run->workload.options.threads;
	unsigned at;
	int result;

	for (at = 0; at < threads; at++) {
		struct profile_thread *thread = &run->threads[at];

		thread->run = run;
		thread->index = at;
		result = -pthread_create(&thread->thread, NULL, run_thread, thread);
		if (result)
			return run_error(result, "a thread cannot be made", error);
		run->running++;
	}
	return 0;
}

int profile_run_begin(const struct profile_run_options *options, struct profile_run **out,
		      struct rs_error *error)
{
	struct profile_run *run = alloc_zeroed(1, sizeof(*run));
	int result = run ? 0 : -ENOMEM;

	if (result)
		return run_error(result, "a run", error);
	run->workload.kind = options->kind;
	run->workload.options = (struct workload_options){
		.threads = options->threads,
		.snapshots = options->snapshots,
		.blocks = options->kind->blocks,
		.seed = options->seed,
	};
	run->threads = alloc_aligned(ORDER_LINE, options->threads, sizeof(*run->threads));
	if (!run->threads)
		result = run_error(-ENOMEM, "threads", error);
	if (!result)
		result = topology_create(&run->topology, error);
	if (!result)
		result = run_prepare(run, options, error);
	if (!result)
		result = run_let_go(run, error);
	if (result) {
		run_destroy(run);
		return result;
	}
	*out = run;
	return 0;
}

uint64_t profile_run_operations(const struct profile_run *run)
{
	uint64_t sum = 0;
	unsigned at;

	/* Relaxed: each a little stale. */
	for (at = 0; at < run->workload.options.threads; at++)
		sum += order_load_relaxed(&run->threads[at].operations);
	return sum;
}

bool profile_run_has_failed(const struct profile_run *run)
{
	/* Relaxed: looked at again at the end. */
	return order_load_relaxed(&run->failed) != 0;
}

int profile_run_end(struct profile_run *run, struct rs_error *error)
{
	struct workload *workload = &run->workload;
	int result;

	run_stop(run);
	/* Relaxed: its writers have been joined. */
	result = run_error(-(int)order_load_relaxed(&run->failed), "an operation failed", error);
	if (!result)
		result = rs_forest_aborted(workload->forest, error);
	if (!result && workload->kind->check) {
		result = workload->kind->check(workload, run->writer, error);
		if (result && error && !error->code)
			run_error(result, "the workload's result is wrong", error);
	}
	run_destroy(run);
	return result;
}
