/* SPDX-License-Identifier: MIT */
#include "stress/record/producers.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "stress/record/faults.h"
#include "stress/record/parking.h"
#include "stress/record/producers_impl.h"

static void producers_phase(struct seat *seat, enum shared_phase phase)
{
	/* Relaxed: for the tracer. */
	order_own_store_relaxed(&seat->shared->phase, phase);
}

static void producers_give_up(struct seat *seat, const char *what, int result)
{
	faults_report("producer %u: %s: %d", seat->number, what, result);
	order_store_relaxed(&seat->stress->finish, 1);
}

static uint64_t producers_draw(struct seat *seat, uint64_t one_in)
{
	return one_in ? 1 + random_state_below(&seat->timing, 2 * one_in) : UINT64_MAX;
}

/* Ends: when there is room; refusals of the runner are passed on here, and are planned. */
static bool producers_begin(struct seat *seat, struct rs_producer *producer)
{
	int result;

	producers_phase(seat, SHARED_BEGINNING);
	while ((result = rs_operation_begin(producer)) == HEADCHECK_REFUSAL)
		stress_count(&seat->stress->counts.begins_refused);
	if (result) {
		producers_give_up(seat, "rs_operation_begin", result);
		return false;
	}
	producers_phase(seat, SHARED_INSIDE);
	/* SEAT.operation: that it has begun, before any cut that is taken by whoever sees it. */
	order_own_store_release(&seat->operation, order_load_relaxed(&seat->operation) + 1);
	return true;
}

static void producers_end(struct seat *seat, struct rs_producer *producer)
{
	producers_phase(seat, SHARED_ENDING);
	/* SEAT.operation: it ends now; whoever sees it closed sees this. */
	order_own_store_release(&seat->operation, order_load_relaxed(&seat->operation) + 1);
	rs_operation_end(producer);
	producers_phase(seat, SHARED_OUTSIDE);
}

static void producers_nap(struct seat *seat)
{
	struct timespec pause = { 0, 0 };

	pause.tv_nsec = (long)random_state_below(&seat->timing, 5000) * 1000;
	nanosleep(&pause, NULL);
	seat->nap_left = producers_draw(seat, seat->stress->options->naps);
	stress_count(&seat->stress->counts.naps);
}

/* Records the first `count` deltas. */
static void producers_record(struct seat *seat, struct rs_producer *producer,
			     const struct generator_operation *operation, unsigned count)
{
	unsigned at;
	int result;

	for (at = 0; at < count; at++) {
		const struct rs_delta *delta = &operation->deltas[at];

		producers_phase(seat, SHARED_RECORDING);
		result = rs_operation_record(producer, delta);
		producers_phase(seat, SHARED_INSIDE);
		if (result) {
			producers_give_up(seat, "rs_operation_record", result);
			break;
		}
		tally_add(&seat->tally, operation->keys[at], delta->count,
			  rs_delta_type(delta) == RS_DELTA_ROOT ? delta->reserved : 0);
		if (__builtin_expect(!seat->nap_left, 0))
			producers_nap(seat);
	}
	seat->deltas += at;
	/* Relaxed: for whoever counts along. */
	order_own_store_relaxed(&seat->shared->deltas, seat->deltas);
}

static bool producers_operate(struct seat *seat)
{
	struct generator_operation operation;
	struct rs_producer *producer = seat->producers[0];

	generator_next(&seat->generator, &operation);
	if (seat->producers[1] && seat->operations & 1)
		producer = seat->producers[1];
	if (!producers_begin(seat, producer))
		return false;
	seat->nap_left -= seat->nap_left != 0;
	producers_record(seat, producer, &operation, operation.count);
	producers_end(seat, producer);
	seat->operations++;
	/* Relaxed: for whoever counts along. */
	order_own_store_relaxed(&seat->shared->operations, seat->operations);
	return true;
}

/* A part of an operation, which the thread's end will end. */
static void producers_abandon(struct seat *seat)
{
	struct generator_operation operation;

	generator_next_plain(&seat->abandons, &operation);
	if (!producers_begin(seat, seat->producers[0]))
		return;
	producers_record(seat, seat->producers[0], &operation,
			 (unsigned)random_state_below(&seat->timing, operation.count + 1));
	stress_count(&seat->stress->counts.abandoned);
	/* SEAT.operation: from here on nobody may wait to see it closed. */
	order_own_store_release(&seat->operation, order_load_relaxed(&seat->operation) + 1);
}

static void producers_leave(struct seat *seat)
{
	unsigned at;

	for (at = 0; at < 2; at++) {
		if (seat->producers[at])
			rs_producer_leave(seat->producers[at]);
		seat->producers[at] = NULL;
	}
}

static bool producers_join(struct seat *seat)
{
	unsigned count = random_state_chance(&seat->timing, 1, 4) ? 2 : 1;
	unsigned at;
	int result;

	for (at = 0; at < count; at++) {
		result = rs_producer_join(seat->stress->record, &seat->producers[at]);
		if (result) {
			producers_give_up(seat, "rs_producer_join", result);
			return false;
		}
	}
	return true;
}

/* To one CPU, or to all again. */
static void producers_move(struct seat *seat)
{
	cpu_set_t set;
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	uint64_t cpu = random_state_below(&seat->timing, (uint64_t)cpus + 1);
	uint64_t at;

	CPU_ZERO(&set);
	for (at = 0; at < (uint64_t)cpus && at < CPU_SETSIZE; at++)
		if (cpu == (uint64_t)cpus || at == cpu)
			CPU_SET(at, &set);
	/* A CPU that the process may not use is refused: then it stays where it is. */
	if (!sched_setaffinity(0, sizeof(set), &set))
		stress_count(&seat->stress->counts.moved);
}

/* Something other than an operation. False: the thread ends. */
static bool producers_churn(struct seat *seat)
{
	struct stress_counts *counts = &seat->stress->counts;

	seat->churn_left = producers_draw(seat, seat->stress->options->churn);
	switch (random_state_below(&seat->timing, 8)) {
	case 0:
		producers_leave(seat);
		stress_count(&counts->replaced);
		return false;
	case 1:
		/* The record leaves for it. */
		stress_count(&counts->replaced);
		return false;
	case 2:
		producers_abandon(seat);
		stress_count(&counts->replaced);
		return false;
	case 3:
	case 4:
		producers_leave(seat);
		stress_count(&counts->left);
		return producers_join(seat);
	default:
		producers_move(seat);
		return true;
	}
}

static bool producers_is_done(const struct seat *seat)
{
	const struct stress *stress = seat->stress;

	return stress_is_over(stress) ||
	       (order_load_relaxed(&stress->quota_is_enough) && seat->deltas >= seat->quota);
}

static enum seat_state producers_run(struct seat *seat)
{
	seat->producers[0] = NULL;
	seat->producers[1] = NULL;
	if (!producers_join(seat))
		return SEAT_DONE;
	while (!producers_is_done(seat)) {
		parking_point(&seat->stress->parking);
		if (!--seat->churn_left && !producers_churn(seat))
			return SEAT_ENDED;
		if (!producers_operate(seat))
			break;
	}
	producers_leave(seat);
	return SEAT_DONE;
}

void *producers_main(void *argument)
{
	struct seat *seat = argument;
	enum seat_state state;
	struct timespec cpu;

	producers_learn(gettid());
	/* Relaxed: for the tracer. */
	order_own_store_relaxed(&seat->shared->thread, (uint32_t)gettid());
	if (!seat->churn_left) {
		seat->churn_left = producers_draw(seat, seat->stress->options->churn);
		seat->nap_left = producers_draw(seat, seat->stress->options->naps);
	}
	state = producers_run(seat);
	order_own_store_relaxed(&seat->shared->thread, 0);
	producers_phase(seat, SHARED_OUTSIDE);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	seat->cpu_ns += (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
	/* SEAT.state: the thread is done with the seat. */
	order_store_release(&seat->state, state);
	return NULL;
}
