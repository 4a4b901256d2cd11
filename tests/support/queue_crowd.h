/* SPDX-License-Identifier: MIT */
/*
 * A crowd around a queue of deltas: producers append, consumers take, readers count what is
 * pending, all at once. Each delta is unlike all others, so that the crowd sees one that is lost,
 * torn, made up, or taken twice.
 */
#ifndef REFSTORM_TEST_QUEUE_CROWD_H
#define REFSTORM_TEST_QUEUE_CROWD_H

#include "core/delayed/taken.h"
#include "tests/support/stopper.h"

/* What is tested. */
struct queue_crowd_calls {
	/* By producer `producer`, one call at a time: 0 or -ENOMEM. */
	int (*append)(void *queue, unsigned producer, const struct rs_delta *delta, uint64_t seq);
	int (*take)(void *queue, struct taken *taken);
	uint64_t (*pending)(void *queue, uint64_t *since); /* inside an RCU section */
};

struct queue_crowd_shape {
	unsigned producers;
	unsigned consumers;
	unsigned readers;
	uint64_t each;           /* deltas of a producer */
	bool wandering;          /* threads bind themselves to CPUs at random */
	bool mortal;             /* producers' threads end after a while, and others go on */
	struct stopper *stopper; /* may be NULL */
	uint64_t seed;
};

/* What was appended and what was taken; may be used without a crowd too. */
struct queue_book;

struct queue_book *queue_book_open(unsigned producers, uint64_t each);
void queue_book_close(struct queue_book *book);

/* The next delta of the producer, and its number in *seq. */
struct rs_delta queue_book_delta(struct queue_book *book, unsigned producer, uint64_t *seq);

/* Looks at all that was taken, and lets go of it. */
void queue_book_take(struct queue_book *book, struct taken *taken);

/* Deltas looked at; those of the producer that were given out. */
uint64_t queue_book_taken(const struct queue_book *book);
uint64_t queue_book_begun(const struct queue_book *book, unsigned producer);

/* Nothing wrong was taken; with `all` also that all has been. */
void queue_book_assert(const struct queue_book *book, bool all);

/* Runs the crowd, takes what is left and asserts that each delta was taken once. */
void queue_crowd_run(const struct queue_crowd_calls *calls, void *queue,
		     const struct queue_crowd_shape *shape);

#endif /* REFSTORM_TEST_QUEUE_CROWD_H */
