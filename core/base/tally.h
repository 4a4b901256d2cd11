/* SPDX-License-Identifier: MIT */
/*
 * How often rare things have happened in this process: exchanges tried again, and waits for grace periods.
 *
 * Callers: any thread, on slow paths only: what succeeds at once counts nothing. Progress: lock-free.
 * Numbers are read while others count: each is true of some moment.
 */
#ifndef REFSTORM_BASE_TALLY_H
#define REFSTORM_BASE_TALLY_H

#include <stdbool.h>
#include <stdint.h>

/* Where an exchange failed since another thread came first, and is tried again, there or at the next place. */
enum tally_retry {
	TALLY_CPU_QUEUE_SWITCH,
	TALLY_THREAD_QUEUE_CLAIM,
	TALLY_THREAD_QUEUE_OLDEST,
	TALLY_SEGMENT_PUSH,
	TALLY_SEGMENT_POP,
	TALLY_BLOCK_KEEP,
	TALLY_HEADS_PUSH,
	TALLY_QUEUED_MERGER_ADD,
	TALLY_QUEUED_MERGER_GET,
	TALLY_QUEUED_RETURN,
	TALLY_RECORD_PRODUCER,
	TALLY_THROTTLE_LONGEST,
	TALLY_SEQUENCE_JOIN,
	TALLY_SEQUENCE_CLOSE,
	TALLY_VIEW_CLAIM,
	TALLY_VIEW_ADD,
	TALLY_SEGMENTS_RESERVE,
	TALLY_RETRIES, /* how many there are */
};

/* "segment.push" and so on. */
const char *tally_retry_name(enum tally_retry retry);

/* Counts one. Always true, to stand behind && in the condition of a loop. */
bool tally_retry(enum tally_retry retry);

/* A thread has waited for a grace period, or for what was deferred. */
void tally_grace_waited(uint64_t ns);

struct tally {
	uint64_t retries[TALLY_RETRIES];
	uint64_t grace_waits;
	uint64_t grace_wait_ns;
	uint64_t grace_wait_ns_max; /* since the last tally_longest_forget */
};

void tally_read(struct tally *tally);

/* Leaves what happened after `begin` was read; the longest wait stays as it is. */
void tally_subtract(struct tally *from, const struct tally *begin);

void tally_longest_forget(void);

#endif /* REFSTORM_BASE_TALLY_H */
