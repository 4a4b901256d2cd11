// SPDX-License-Identifier: MIT
#include "bench/sweep/sample.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench/sweep/crew.h"
#include "bench/sweep/sample_check.h"
#include "bench/sweep/sample_locks.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/lock.h"
#include "core/forest/forest_impl.h"
#include "refstorm/image.h"

/* Of the process, at some moment. */
struct moment {
	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t user_us; /* by the system's ticks, as the next one: only their ratio counts */
	uint64_t system_us;
	struct rs_forest_statistics forest;
};

const char *sample_metric_name(enum sample_metric metric)
{
	static const char *const names[] = {
		[SAMPLE_OPS_PER_S] = "ops_per_s",
		[SAMPLE_NS_PER_OP] = "ns_per_op",
		[SAMPLE_CPU_NS_PER_OP] = "cpu_ns_per_op",
		[SAMPLE_USER_NS_PER_OP] = "user_ns_per_op",
		[SAMPLE_JOIN_WAIT_NS_MAX] = "join_wait_ns_max",
		[SAMPLE_COMMITS_PER_S] = "commits_per_s",
		[SAMPLE_PEAK_RSS_BYTES] = "peak_rss_bytes",
		[SAMPLE_SETS] = "sets",
	};

	return names[metric];
}

static uint64_t microseconds(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

static void moment_take(struct rs_forest *forest, struct moment *moment)
{
	struct timespec cpu;
	struct rusage usage;

	rs_forest_statistics_read(forest, &moment->forest);
	getrusage(RUSAGE_SELF, &usage);
	moment->user_us = microseconds(&usage.ru_utime);
	moment->system_us = microseconds(&usage.ru_stime);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	moment->cpu_ns = (uint64_t)cpu.tv_sec * UINT64_C(1000000000) + (uint64_t)cpu.tv_nsec;
	moment->wall_ns = clock_now_ns();
}

static void metric_set(struct sample *sample, enum sample_metric metric, double value)
{
	sample->metrics[metric] = value;
	sample->has[metric] = true;
}

/* Each thread's rate is of its own time: they end one after the other. */
static void take_operations(const struct crew *crew, struct sample *sample)
{
	unsigned operations = crew_operations(crew->workload->kind);
	double rate = 0;
	unsigned at, operation;

	for (at = 0; at < crew->count; at++) {
		const struct crew_member *member = &crew->members[at];
		uint64_t done = member->end_operations - member->begin_operations;

		sample->operations += done;
		if (done)
			rate += (double)done * 1e9 / (double)(member->end_ns - member->begin_ns);
		for (operation = 0; operation < operations; operation++)
			histogram_merge(&sample->latencies[operation],
					&member->latencies[operation]);
	}
	if (!sample->operations)
		return;
	metric_set(sample, SAMPLE_OPS_PER_S, rate);
	metric_set(sample, SAMPLE_NS_PER_OP, (double)crew->count * 1e9 / rate);
}

static void take_process(const struct moment *begin, const struct moment *end,
			 struct sample *sample)
{
	double wall_s = (double)(end->wall_ns - begin->wall_ns) / 1e9;
	double cpu_ns = (double)(end->cpu_ns - begin->cpu_ns);
	double user_us = (double)(end->user_us - begin->user_us);
	double ticks_us = user_us + (double)(end->system_us - begin->system_us);

	metric_set(sample, SAMPLE_COMMITS_PER_S,
		   (double)(end->forest.commits - begin->forest.commits) / wall_s);
	metric_set(sample, SAMPLE_JOIN_WAIT_NS_MAX, (double)end->forest.join_wait_ns_max);
	if (!sample->operations)
		return;
	metric_set(sample, SAMPLE_CPU_NS_PER_OP, cpu_ns / (double)sample->operations);
	if (ticks_us > 0)
		metric_set(sample, SAMPLE_USER_NS_PER_OP,
			   cpu_ns * (user_us / ticks_us) / (double)sample->operations);
}

/* Before the oracle takes memory of its own. */
static void take_memory(struct rs_forest *forest, bool ledger, struct sample *sample)
{
	struct rs_quota_status status;
	struct rusage usage;

	if (!getrusage(RUSAGE_SELF, &usage))
		metric_set(sample, SAMPLE_PEAK_RSS_BYTES, (double)usage.ru_maxrss * 1024);
	if (!ledger)
		return;
	rs_quota_status_read(forest, &status);
	metric_set(sample, SAMPLE_SETS, (double)status.sets);
}

static int forest_open(const struct plan *plan, const struct plan_point *point,
		       struct rs_forest **forest, struct rs_error *error)
{
	const struct rs_forest_options options = { .record = point->record };
	struct rs_image *image;
	int result;

	if (!plan->image_count)
		return rs_forest_create(&options, forest, error);
	result = rs_image_open(plan->images, plan->image_count, &image, error);
	if (result)
		return result;
	result = rs_forest_open(image, &options, forest, error);
	rs_image_close(image);
	return result;
}

static int call_failed(struct workload *workload, const char *what, int result,
		       struct rs_error *error)
{
	if (!rs_forest_aborted(workload->forest, error))
		error_set(error, result, "%s: %s", what, strerror(-result));
	return result;
}

static int workload_begins(struct workload *workload, const struct plan_point *point,
			   struct rs_writer *writer, struct rs_error *error)
{
	int result = workload->kind->prepare(workload, writer);

	if (result)
		return call_failed(workload, "preparing", result, error);
	result = rs_forest_commit(writer);
	if (!result && point->engine != PLAN_ENGINE_OFF) {
		result = rs_quota_enable(writer, point->engine == PLAN_ENGINE_LEDGER ?
							 RS_QUOTA_LEDGER :
							 RS_QUOTA_EXTENT);
		if (!result)
			result = rs_rescan_wait(workload->forest);
	}
	return result ? call_failed(workload, "turning quotas on", result, error) : 0;
}

static int measure(const struct plan *plan, const struct plan_point *point,
		   struct workload *workload, const struct topology *topology,
		   struct sample *sample, struct rs_error *error)
{
	struct sample *before = alloc_zeroed(1, sizeof(*before));
	struct moment begin, end;
	struct crew crew;
	int result;

	if (!before)
		return error_no_memory(error, "a sample");
	result = crew_start(&crew, workload, topology, error);
	if (result)
		return result;
	crew_wait(&crew, plan->warm_up);
	crew_halt(&crew);
	sample_locks_read(before);
	lock_statistics_enable(plan->lock_times);
	forest_join_waits_forget(workload->forest);
	moment_take(workload->forest, &begin);
	crew_go(&crew);
	crew_wait(&crew, plan->seconds);
	crew_stop(&crew);
	moment_take(workload->forest, &end);
	lock_statistics_enable(false);
	sample_locks_read(sample);
	sample_locks_since(sample, before);
	alloc_free(before);
	result = crew_end(&crew, error);
	if (result)
		return result;
	take_operations(&crew, sample);
	take_process(&begin, &end, sample);
	take_memory(workload->forest, point->engine == PLAN_ENGINE_LEDGER, sample);
	crew_free(&crew);
	return 0;
}

int sample_run(const struct plan *plan, const struct plan_point *point, unsigned repeat,
	       const struct topology *topology, struct sample *sample, struct rs_error *error)
{
	struct workload workload = {
		.kind = point->workload,
		.options = {
			.threads = point->threads,
			.snapshots = point->snapshots,
			.blocks = plan_point_blocks(plan, point),
			.seed = plan->seed + repeat,
		},
	};
	struct rs_writer *writer;
	int result = forest_open(plan, point, &workload.forest, error);

	memset(sample, 0, sizeof(*sample));
	if (result)
		return result;
	result = rs_writer_join(workload.forest, &writer);
	if (result)
		return error_no_memory(error, "a writer");
	result = workload_begins(&workload, point, writer, error);
	if (!result)
		result = measure(plan, point, &workload, topology, sample, error);
	if (!result)
		result = sample_check(plan, &workload, writer, point->engine != PLAN_ENGINE_OFF,
				      error);
	if (result)
		return result;
	if (workload.kind->finish)
		workload.kind->finish(&workload);
	rs_writer_leave(writer);
	rs_forest_destroy(workload.forest);
	return 0;
}
