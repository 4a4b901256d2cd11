/* SPDX-License-Identifier: MIT */
/*
 * The producers. Each has a seat, which keeps its random numbers and its sums while threads come
 * and go on it: they leave and join, end with and without leaving, sometimes inside an operation,
 * move from CPU to CPU, and sleep in operations.
 */
#ifndef REFSTORM_STRESS_RECORD_PRODUCERS_H
#define REFSTORM_STRESS_RECORD_PRODUCERS_H

#include "stress/record/generator.h"
#include "stress/record/stress.h"

/* What has become of a seat's thread. */
enum seat_state {
	SEAT_RUNS,
	SEAT_ENDED, /* another one is to take its place */
	SEAT_DONE,
};

struct seat {
	struct stress *stress;
	struct shared_seat *shared;
	unsigned number;
	pthread_t handle;
	bool started;
	order_u32 state;
	/* The thread's own. */
	struct generator generator __attribute__((aligned(ORDER_LINE)));
	struct generator abandons; /* operations that a thread ends in: not of the data's seed */
	struct random_state timing;
	struct tally tally;
	uint64_t quota; /* deltas */
	uint64_t deltas;
	uint64_t operations;
	uint64_t churn_left; /* operations until then */
	uint64_t nap_left;
	uint64_t cpu_ns;                  /* of threads that have ended */
	struct rs_producer *producers[2]; /* the second may be NULL */
	order_u64 operation
		__attribute__((aligned(ORDER_LINE))); /* odd: inside one that has begun */
};

/* The seats: 0 or a negative errno. Then threads take them. */
int producers_create(struct stress *stress) __attribute__((warn_unused_result));
int producers_start(struct stress *stress) __attribute__((warn_unused_result));

/* Puts new threads in the place of those that have ended. */
void producers_tend(struct stress *stress);

/* True when all are done; they are, soon after the run is over or their quota is full. */
bool producers_are_done(struct stress *stress);
void producers_destroy(struct stress *stress);

/* Which operations go on: numbers to be compared by producers_still_open; `open` has room for all seats. */
void producers_open(const struct stress *stress, uint64_t *open);
/* How many of them still go on; `was` gets how many did then. */
unsigned producers_still_open(const struct stress *stress, const uint64_t *open, unsigned *was);

/* Whether the kernel's id is, or was, that of a producer. */
bool producers_know(int thread);

/* Nanoseconds a delta that the generator and the sums take, by themselves. */
double producers_measure(const struct stress *stress);

#endif /* REFSTORM_STRESS_RECORD_PRODUCERS_H */
