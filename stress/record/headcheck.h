/* SPDX-License-Identifier: MIT */
/*
 * The oracle's side of runs: checks each head that comes out, and adds it up.
 *
 * What it knows of a right head: operations on balanced extents leave sums as they were, so each
 * head of one has sums of 0, however cuts fall, unless an operation was split. Numbers in a head
 * are of its transaction, and past no view that is held.
 *
 * Who may call: headcheck_take by the record alone, one at a time; headcheck_extent_read any thread.
 */
#ifndef REFSTORM_STRESS_RECORD_HEADCHECK_H
#define REFSTORM_STRESS_RECORD_HEADCHECK_H

#include "core/base/order.h"
#include "core/base/random.h"
#include "stress/record/tally.h"
#include "stress/record/viewcheck.h"

#define HEADCHECK_TRANSACTIONS (1U << 20)

/* All that was run of an extent. `version` is odd while a head of it is added. */
struct headcheck_extent {
	order_u64 version;
	order_u64 refs;
	order_u64 items;
	order_u64 weighted; /* by key */
};

/* The numbers that a transaction's deltas had. */
struct headcheck_range {
	uint64_t lowest;
	uint64_t highest;
};

struct headcheck {
	const struct keyspace *space;
	struct viewcheck *views;
	struct tally out;
	struct headcheck_extent *extents;
	struct headcheck_range *ranges; /* by transaction */
	uint32_t *seen;                 /* by key: the last head that had it */
	uint64_t failures;              /* one head in so many is refused; 0: none */
	order_u32 busy;
	/* By whoever is in headcheck_take. */
	uint32_t serial;
	uint64_t transaction;
	struct random_state random;
	/* Relaxed sums, written by whoever is in headcheck_take. */
	order_u64 heads;
	order_u64 entries;
	order_u64 refused;
};

/* One caller's runs: what came last, and the sums of this run. */
struct headcheck_order {
	struct headcheck *check;
	bool helping; /* runs of producers begin unseen */
	uint64_t transaction;
	uint64_t bytenr;
	uint64_t heads;
	uint64_t entries;
	uint64_t highest; /* number in an entry */
	bool refused;
};

/* What a head that is refused is refused with. */
#define HEADCHECK_REFUSAL (-ECANCELED)

int headcheck_create(struct headcheck *check, const struct keyspace *space, struct viewcheck *views,
		     uint64_t failures, uint64_t seed) __attribute__((warn_unused_result));
void headcheck_destroy(struct headcheck *check);

void headcheck_order_init(struct headcheck_order *order, struct headcheck *check, bool helping);

/* An rs_head_fn; `argument` is a struct headcheck_order. */
int headcheck_take(void *argument, const struct rs_head *head);

struct headcheck_sums {
	uint64_t version;
	uint64_t refs;
	uint64_t items;
	uint64_t weighted;
};

/* False while a head of the extent is added. */
bool headcheck_extent_read(const struct headcheck *check, uint32_t extent,
			   struct headcheck_sums *sums);

/* Nothing of the extent was added since the sums were read. */
bool headcheck_extent_same(const struct headcheck *check, uint32_t extent,
			   const struct headcheck_sums *sums);

/* What an entry adds to the weighted sum. */
uint64_t headcheck_weigh(uint32_t key, int32_t count, uint64_t reserved);

/* At rest: the transactions' numbers against the cuts that ended them, sorted here. */
void headcheck_commits(const struct headcheck *check, uint64_t *cuts, size_t count);

#endif /* REFSTORM_STRESS_RECORD_HEADCHECK_H */
