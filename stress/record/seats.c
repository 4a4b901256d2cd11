/* SPDX-License-Identifier: MIT */
/* The seats of producers.h, as others see them. */
#include <errno.h>
#include <time.h>

#include "core/base/alloc.h"
#include "stress/record/faults.h"
#include "stress/record/parking.h"
#include "stress/record/producers_impl.h"

/* Of the kernel's ids, which are below this; relaxed: set before a thread is a producer. */
#define SEATS_THREADS (UINT32_C(1) << 22)
static order_u32 seats_known[SEATS_THREADS / 32];

void producers_learn(int thread)
{
	uint32_t id = (uint32_t)thread % SEATS_THREADS;

	order_fetch_or_relaxed(&seats_known[id / 32], UINT32_C(1) << id % 32);
}

bool producers_know(int thread)
{
	uint32_t id = (uint32_t)thread % SEATS_THREADS;

	return order_load_relaxed(&seats_known[id / 32]) >> id % 32 & 1;
}

static int seat_start(struct seat *seat)
{
	/* Relaxed: the thread begins after it. */
	order_store_relaxed(&seat->state, SEAT_RUNS);
	seat->started = !pthread_create(&seat->handle, NULL, producers_main, seat);
	return seat->started ? 0 : -EAGAIN;
}

static int seat_init(struct stress *stress, unsigned number)
{
	const struct options *options = stress->options;
	struct seat *seat = &stress->seats[number];
	uint64_t share = (options->deltas + options->threads - 1) / options->threads;

	seat->stress = stress;
	seat->shared = &stress->shared->seats[number];
	seat->number = number;
	seat->quota = share;
	generator_init(&seat->generator, &stress->space, options->seed, number);
	generator_init(&seat->abandons, &stress->space, options->timing_seed, 1000 + number);
	random_state_seed(&seat->timing, options->timing_seed, number);
	return tally_create(&seat->tally, &stress->space);
}

int producers_create(struct stress *stress)
{
	unsigned at;
	int result;

	stress->seats = alloc_aligned(ORDER_LINE, stress->seat_count, sizeof(*stress->seats));
	if (!stress->seats)
		return -ENOMEM;
	for (at = 0; at < stress->seat_count; at++) {
		result = seat_init(stress, at);
		if (result)
			return result;
	}
	return 0;
}

int producers_start(struct stress *stress)
{
	unsigned at;
	int result;

	for (at = 0; at < stress->seat_count; at++) {
		result = seat_start(&stress->seats[at]);
		if (result)
			return result;
	}
	return 0;
}

void producers_tend(struct stress *stress)
{
	unsigned at;

	for (at = 0; at < stress->seat_count; at++) {
		struct seat *seat = &stress->seats[at];
		/* SEAT.state: what the thread left on the seat. */
		uint32_t state = order_load_acquire(&seat->state);

		if (!seat->started || state == SEAT_RUNS)
			continue;
		pthread_join(seat->handle, NULL);
		seat->started = false;
		if (state == SEAT_DONE) {
			parking_gone(&stress->parking);
		} else if (seat_start(seat)) {
			faults_report("producer %u: no thread", at);
			order_store_relaxed(&stress->finish, 1);
			parking_gone(&stress->parking);
		}
	}
}

bool producers_are_done(struct stress *stress)
{
	unsigned at;

	producers_tend(stress);
	for (at = 0; at < stress->seat_count; at++)
		if (stress->seats[at].started)
			return false;
	return true;
}

void producers_destroy(struct stress *stress)
{
	unsigned at;

	for (at = 0; stress->seats && at < stress->seat_count; at++)
		tally_destroy(&stress->seats[at].tally);
	alloc_free(stress->seats);
	stress->seats = NULL;
}

void producers_open(const struct stress *stress, uint64_t *open)
{
	unsigned at;

	for (at = 0; at < stress->seat_count; at++)
		/* SEAT.operation: it had begun before the cut that comes. */
		open[at] = order_load_acquire(&stress->seats[at].operation);
}

unsigned producers_still_open(const struct stress *stress, const uint64_t *open, unsigned *was)
{
	unsigned still = 0;
	unsigned at;

	*was = 0;
	for (at = 0; at < stress->seat_count; at++) {
		if (!(open[at] & 1))
			continue;
		++*was;
		/* SEAT.operation: what was before the end that closed the cut. */
		still += order_load_acquire(&stress->seats[at].operation) == open[at];
	}
	return still;
}

#define SEATS_MEASURED 200000U

double producers_measure(const struct stress *stress)
{
	struct generator generator;
	struct generator_operation operation;
	struct tally tally;
	uint64_t deltas = 0;
	struct timespec begin;
	struct timespec end;
	unsigned at;
	unsigned number;

	if (tally_create(&tally, &stress->space))
		return 0;
	generator_init(&generator, &stress->space, 1, 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	for (number = 0; number < SEATS_MEASURED; number++) {
		generator_next(&generator, &operation);
		for (at = 0; at < operation.count; at++)
			tally_add(&tally, operation.keys[at], operation.deltas[at].count, 0);
		deltas += operation.count;
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	tally_destroy(&tally);
	return ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) /
	       (double)deltas;
}
