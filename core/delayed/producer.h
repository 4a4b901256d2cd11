/* SPDX-License-Identifier: MIT */
/* A thread that records. Callers: its thread; others look at its slot and take from its queue. */
#ifndef REFSTORM_DELAYED_PRODUCER_H
#define REFSTORM_DELAYED_PRODUCER_H

#include <stddef.h>

#include "core/delayed/thread_queue.h"
#include "core/treemod/sequence.h"

/* Where rs_operation_record puts a delta. */
enum producer_path {
	PRODUCER_CPU_QUEUE,    /* of the running CPU; of the thread where that has none */
	PRODUCER_THREAD_QUEUE, /* of the thread */
	PRODUCER_STORE,        /* into the baseline's store at once */
};

struct rs_producer {
	struct sequence_slot slot; /* first: it is found by its slot */
	struct thread_queue queue;

	/* The thread's own, from here on. */
	struct rs_record *record __attribute__((aligned(ORDER_LINE)));
	uint64_t seq; /* of the operation it is in */
	enum producer_path path;
	bool operating;
	order_u32 joined;          /* by a thread; else it waits for another */
	struct rs_producer *other; /* the thread's next one */
};

/* NULL for no slot. */
static inline struct rs_producer *producer_of_slot(struct sequence_slot *slot)
{
	return (struct rs_producer *)slot;
}

static inline struct rs_producer *producer_first(struct sequence *sequence)
{
	return producer_of_slot(sequence_slots(sequence));
}

static inline struct rs_producer *producer_next(struct rs_producer *producer)
{
	return producer_of_slot(producer->slot.next);
}

#endif /* REFSTORM_DELAYED_PRODUCER_H */
