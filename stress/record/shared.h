/* SPDX-License-Identifier: MIT */
/*
 * Memory that the tracer's process sees too. All of it relaxed: each word stands for itself.
 * Callers: a seat's words are written by its producer, the tracer's by the tracer.
 */
#ifndef REFSTORM_STRESS_RECORD_SHARED_H
#define REFSTORM_STRESS_RECORD_SHARED_H

#include <sys/types.h>

#include "core/base/order.h"

#define SHARED_SEATS_MAX 256U
#define SHARED_ADDRESSES 65536U

/* Where a producer is. */
enum shared_phase {
	SHARED_OUTSIDE,   /* between two operations */
	SHARED_BEGINNING, /* in rs_operation_begin, which may wait for room */
	SHARED_INSIDE,    /* in an operation, not in a call */
	SHARED_RECORDING, /* in rs_operation_record */
	SHARED_ENDING,
	SHARED_PHASES
};

struct shared_seat {
	order_u32 thread; /* 0: none runs */
	order_u32 phase;
	order_u64 deltas;
	order_u64 operations;
} __attribute__((aligned(ORDER_LINE)));

/*
 * Work of all but one producer, added up by the tracer: while that one is stopped, and for as long
 * just before, while nobody is.
 */
struct shared_rates {
	uint64_t ns;
	uint64_t deltas;
	uint64_t merges;
	uint64_t lookups;
};

struct shared_tracer {
	order_u32 stopped; /* the thread that is, or 0 */
	order_u64 stops;
	order_u64 missed; /* threads that had ended */
	order_u64 failed; /* the kernel would not */
	order_u32 finish;
	/* The tracer's own, read when it has ended. */
	uint64_t stops_in[SHARED_PHASES];
	uint64_t stopped_ns;
	uint64_t stopped_ns_max;
	int error; /* errno of the last failure */
	struct shared_rates during;
	struct shared_rates between;
	uint32_t address_count;
	uint64_t addresses[SHARED_ADDRESSES]; /* where the threads stood */
};

struct shared {
	struct shared_seat seats[SHARED_SEATS_MAX];
	order_u64 merges __attribute__((aligned(ORDER_LINE)));
	order_u64 lookups __attribute__((aligned(ORDER_LINE)));
	struct shared_tracer tracer;
	unsigned seat_count;
};

/* Zeroed; NULL: no memory. Children of fork see the same. */
struct shared *shared_create(unsigned seats);
void shared_destroy(struct shared *shared);

uint64_t shared_deltas(const struct shared *shared);
uint64_t shared_operations(const struct shared *shared);

#endif /* REFSTORM_STRESS_RECORD_SHARED_H */
