// SPDX-License-Identifier: MIT
#include "bench/sweep/crew.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/error.h"

enum {
	CREW_WARMS,
	CREW_MEASURES,
	CREW_ENDS,
};

/* How often the caller looks whether a member has failed. */
#define CREW_LOOK_NS UINT64_C(20000000)

unsigned crew_operations(const struct rs_workload *kind)
{
	unsigned count = 0;

	while (count < WORKLOAD_OPERATIONS_MAX && kind->operations[count])
		count++;
	return count;
}

static void member_failed(struct crew_member *member, int result)
{
	member->result = result;
	/* Relaxed: only ends the run earlier. */
	order_store_relaxed(&member->crew->failed, 1);
}

/* Ends: the caller moves `part` on; what the members share is handed over by the barrier. */
static void member_steps(struct crew_member *member, uint32_t part)
{
	struct crew *crew = member->crew;

	/* Relaxed: one step more or less. */
	while (!member->result && order_load_relaxed(&crew->part) == part) {
		int result = crew->workload->kind->step(&member->thread);

		if (result)
			member_failed(member, result);
	}
}

static int member_begin(struct crew_member *member)
{
	struct crew *crew = member->crew;
	unsigned index = member->thread.index;
	int result = 0;

	if (crew->topology)
		result = topology_bind(crew->topology,
				       topology_spread(crew->topology, crew->count, index));
	if (result)
		return result;
	/* On this thread: it is the first to touch them. One more, so that there is one. */
	member->latencies =
		alloc_zeroed(crew_operations(crew->workload->kind) + 1, sizeof(*member->latencies));
	if (!member->latencies)
		return -ENOMEM;
	return rs_writer_join(crew->workload->forest, &member->thread.writer);
}

static void *member_main(void *argument)
{
	struct crew_member *member = argument;
	struct crew *crew = member->crew;
	int result = member_begin(member);

	if (result)
		member_failed(member, result);
	pthread_barrier_wait(&crew->barrier);
	member_steps(member, CREW_WARMS);
	pthread_barrier_wait(&crew->barrier);
	/* The caller takes the moment. */
	pthread_barrier_wait(&crew->barrier);
	member->thread.latencies = member->latencies;
	member->begin_operations = member->thread.operations;
	member->begin_ns = clock_now_ns();
	member_steps(member, CREW_MEASURES);
	member->end_ns = clock_now_ns();
	member->end_operations = member->thread.operations;
	member->thread.latencies = NULL;
	pthread_barrier_wait(&crew->barrier);
	/* The caller takes the moment. */
	pthread_barrier_wait(&crew->barrier);
	if (member->thread.writer)
		rs_writer_leave(member->thread.writer);
	return NULL;
}

int crew_start(struct crew *crew, struct workload *workload, const struct topology *topology,
	       struct rs_error *error)
{
	unsigned at;
	int result;

	memset(crew, 0, sizeof(*crew));
	crew->workload = workload;
	crew->topology = topology;
	crew->count = workload->options.threads;
	crew->members = alloc_aligned(ORDER_LINE, crew->count, sizeof(*crew->members));
	if (!crew->members || pthread_barrier_init(&crew->barrier, NULL, crew->count + 1))
		return error_no_memory(error, "the threads");
	for (at = 0; at < crew->count; at++) {
		struct crew_member *member = &crew->members[at];

		member->crew = crew;
		member->thread.workload = workload;
		member->thread.index = at;
		/* Stream 0 is for what is shared. */
		random_state_seed(&member->thread.random, workload->options.seed, at + 1);
		result = pthread_create(&member->id, NULL, member_main, member);
		if (result)
			return error_set(error, -result, "thread %u of %u cannot be made: %s",
					 at + 1, crew->count, strerror(result));
	}
	pthread_barrier_wait(&crew->barrier);
	return 0;
}

void crew_wait(struct crew *crew, double seconds)
{
	uint64_t until = clock_now_ns() + (uint64_t)(seconds * 1e9);
	uint64_t now;

	/* Ends: time passes. Relaxed: seen at the next look. */
	while ((now = clock_now_ns()) < until && !order_load_relaxed(&crew->failed)) {
		uint64_t left = until - now < CREW_LOOK_NS ? until - now : CREW_LOOK_NS;
		struct timespec pause = { .tv_nsec = (long)left };

		nanosleep(&pause, NULL);
	}
}

void crew_halt(struct crew *crew)
{
	/* Relaxed, here and below: the barrier orders what counts. */
	order_store_relaxed(&crew->part, CREW_MEASURES);
	pthread_barrier_wait(&crew->barrier);
}

void crew_go(struct crew *crew)
{
	pthread_barrier_wait(&crew->barrier);
}

void crew_stop(struct crew *crew)
{
	order_store_relaxed(&crew->part, CREW_ENDS);
	order_store_relaxed(&crew->workload->stopping, 1);
	pthread_barrier_wait(&crew->barrier);
}

int crew_end(struct crew *crew, struct rs_error *error)
{
	int result = 0;
	unsigned at;

	pthread_barrier_wait(&crew->barrier);
	for (at = 0; at < crew->count; at++)
		pthread_join(crew->members[at].id, NULL);
	pthread_barrier_destroy(&crew->barrier);
	for (at = 0; at < crew->count && !result; at++)
		result = crew->members[at].result;
	if (!result)
		return 0;
	if (!rs_forest_aborted(crew->workload->forest, error))
		error_set(error, result, "an operation of thread %u failed: %s", at - 1,
			  strerror(-result));
	return result;
}

void crew_free(struct crew *crew)
{
	unsigned at;

	for (at = 0; at < crew->count; at++)
		alloc_free(crew->members[at].latencies);
	alloc_free(crew->members);
}
