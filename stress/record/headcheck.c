/* SPDX-License-Identifier: MIT */
#include "stress/record/headcheck.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/alloc.h"
#include "stress/record/faults.h"

int headcheck_create(struct headcheck *check, const struct keyspace *space, struct viewcheck *views,
		     uint64_t failures, uint64_t seed)
{
	memset(check, 0, sizeof(*check));
	check->space = space;
	check->views = views;
	check->failures = failures;
	random_state_seed(&check->random, seed, UINT32_MAX);
	check->extents = alloc_zeroed(space->extents, sizeof(*check->extents));
	check->ranges = alloc_zeroed(HEADCHECK_TRANSACTIONS, sizeof(*check->ranges));
	check->seen = alloc_zeroed(space->keys, sizeof(*check->seen));
	if (!tally_create(&check->out, space) && check->extents && check->ranges && check->seen)
		return 0;
	headcheck_destroy(check);
	return -ENOMEM;
}

void headcheck_destroy(struct headcheck *check)
{
	tally_destroy(&check->out);
	alloc_free(check->extents);
	alloc_free(check->ranges);
	alloc_free(check->seen);
}

void headcheck_order_init(struct headcheck_order *order, struct headcheck *check, bool helping)
{
	memset(order, 0, sizeof(*order));
	order->check = check;
	order->helping = helping;
}

uint64_t headcheck_weigh(uint32_t key, int32_t count, uint64_t reserved)
{
	uint64_t weight = keyspace_weight(key);

	return weight * (uint64_t)(int64_t)count + (weight >> 7) * reserved;
}

/* What a head adds. */
struct headcheck_head {
	const struct rs_head *head;
	uint32_t extent;
	uint32_t serial;
	int64_t refs;
	int64_t items;
	uint64_t weighted;
	uint64_t lowest;
	uint64_t highest;
};

static void headcheck_fault(const struct headcheck_head *sums, const char *what,
			    const struct rs_delta *entry)
{
	const struct rs_head *head = sums->head;

	faults_report("%s: transaction %" PRIu64 " extent %" PRIu64 " (%zu references, %zu roots): "
		      "type %u root %" PRIu64 " owner %" PRIu64 " offset %" PRIu64
		      " count %d seq %" PRIu64,
		      what, head->transaction, head->bytenr, head->ref_count, head->root_count,
		      (unsigned)rs_delta_type(entry), entry->root, entry->owner, entry->offset,
		      entry->count, rs_delta_seq(entry));
}

/* By type, then key. */
static bool headcheck_ascends(const struct rs_delta *before, const struct rs_delta *after)
{
	if ((before->count < 0) != (after->count < 0))
		return before->count > 0;
	if (rs_delta_type(before) != rs_delta_type(after))
		return rs_delta_type(before) < rs_delta_type(after);
	if (before->root != after->root)
		return before->root < after->root;
	if (before->owner != after->owner)
		return before->owner < after->owner;
	return before->offset < after->offset;
}

static void headcheck_entry(struct headcheck *check, struct headcheck_head *sums,
			    const struct rs_delta *entry, bool is_root)
{
	uint32_t key = entry->bytenr == sums->head->bytenr ?
			       keyspace_find(check->space, sums->extent, entry) :
			       KEYSPACE_NONE;
	uint64_t reserved = is_root ? entry->reserved : 0;
	uint64_t seq = rs_delta_seq(entry);

	if (key == KEYSPACE_NONE || (rs_delta_type(entry) == RS_DELTA_ROOT) != is_root) {
		headcheck_fault(sums, "not a key of this head", entry);
		return;
	}
	if (!entry->count && !reserved)
		headcheck_fault(sums, "an entry of nothing", entry);
	if (check->seen[key] == sums->serial)
		headcheck_fault(sums, "a second entry of one key", entry);
	check->seen[key] = sums->serial;
	tally_add(&check->out, key, entry->count, reserved);
	sums->weighted += headcheck_weigh(key, entry->count, reserved);
	if (is_root)
		sums->items += entry->count;
	else
		sums->refs += entry->count;
	sums->lowest = seq < sums->lowest ? seq : sums->lowest;
	sums->highest = seq > sums->highest ? seq : sums->highest;
}

static void headcheck_entries(struct headcheck *check, struct headcheck_head *sums)
{
	const struct rs_head *head = sums->head;
	size_t at;

	for (at = 0; at < head->ref_count; at++) {
		headcheck_entry(check, sums, &head->refs[at], false);
		if (at && !headcheck_ascends(&head->refs[at - 1], &head->refs[at]))
			headcheck_fault(sums, "references out of order", &head->refs[at]);
	}
	for (at = 0; at < head->root_count; at++) {
		headcheck_entry(check, sums, &head->roots[at], true);
		if (at && head->roots[at - 1].root >= head->roots[at].root)
			headcheck_fault(sums, "roots out of order", &head->roots[at]);
	}
	if (!head->ref_count && !head->root_count)
		faults_report("a head of nothing: transaction %" PRIu64 " extent %" PRIu64,
			      head->transaction, head->bytenr);
	if (keyspace_is_balanced(check->space, sums->extent) && (sums->refs || sums->items))
		faults_report("an operation split: transaction %" PRIu64 " extent %" PRIu64
			      ": references %" PRId64 " items %" PRId64 " in place of 0",
			      head->transaction, head->bytenr, sums->refs, sums->items);
}

static void headcheck_transaction(struct headcheck *check, const struct headcheck_head *sums)
{
	uint64_t transaction = sums->head->transaction;
	struct headcheck_range *range;

	if (transaction < check->transaction || !transaction)
		faults_report("transaction %" PRIu64 " after %" PRIu64, transaction,
			      check->transaction);
	check->transaction = transaction;
	if (transaction >= HEADCHECK_TRANSACTIONS)
		return;
	range = &check->ranges[transaction];
	if (!range->lowest || sums->lowest < range->lowest)
		range->lowest = sums->lowest;
	if (sums->highest > range->highest)
		range->highest = sums->highest;
}

static void headcheck_order_check(struct headcheck_order *order, const struct rs_head *head)
{
	bool begins = !order->heads && !order->refused;

	/* A run of a producer's may be another one than that of the head before. */
	if (order->helping && head->bytenr <= order->bytenr)
		begins = true;
	if (!begins && (head->transaction < order->transaction ||
			(head->transaction == order->transaction && head->bytenr <= order->bytenr)))
		faults_report("heads out of order: transaction %" PRIu64 " extent %" PRIu64
			      " after transaction %" PRIu64 " extent %" PRIu64,
			      head->transaction, head->bytenr, order->transaction, order->bytenr);
	if (order->refused && !order->helping)
		faults_report("a head after one that was refused: extent %" PRIu64, head->bytenr);
	order->transaction = head->transaction;
	order->bytenr = head->bytenr;
}

static void headcheck_publish(struct headcheck_extent *extent, const struct headcheck_head *sums)
{
	/* Relaxed loads: one thread at a time is here. */
	uint64_t version = order_load_relaxed(&extent->version);
	uint64_t refs = order_load_relaxed(&extent->refs) + (uint64_t)sums->refs;
	uint64_t items = order_load_relaxed(&extent->items) + (uint64_t)sums->items;
	uint64_t weighted = order_load_relaxed(&extent->weighted) + sums->weighted;

	/* Relaxed: the releases below come after it. */
	order_store_relaxed(&extent->version, version + 1);
	/* EXTENT.sums, all three: whoever sees one sees that the version is odd. */
	order_store_release(&extent->refs, refs);
	order_store_release(&extent->items, items);
	order_store_release(&extent->weighted, weighted);
	/* EXTENT.version: the sums. */
	order_store_release(&extent->version, version + 2);
}

static bool headcheck_refuses(struct headcheck *check)
{
	if (!check->failures || !random_state_chance(&check->random, 1, check->failures))
		return false;
	order_fetch_add_relaxed(&check->refused, 1);
	return true;
}

int headcheck_take(void *argument, const struct rs_head *head)
{
	struct headcheck_order *order = argument;
	struct headcheck *check = order->check;
	struct headcheck_head sums = { .head = head, .lowest = UINT64_MAX };
	uint64_t entries = head->ref_count + head->root_count;

	/* HEADCHECK.busy: sees what the head before left here. */
	if (order_exchange_acquire(&check->busy, 1))
		faults_report("two runs at a time: extent %" PRIu64, head->bytenr);
	headcheck_order_check(order, head);
	if (headcheck_refuses(check)) {
		order->refused = true;
		/* HEADCHECK.busy: what this head leaves. */
		order_store_release(&check->busy, 0);
		return HEADCHECK_REFUSAL;
	}
	sums.extent = keyspace_extent(check->space, head->bytenr);
	sums.serial = ++check->serial;
	if (sums.extent == KEYSPACE_NONE) {
		faults_report("a head of no extent: %" PRIu64, head->bytenr);
	} else {
		headcheck_entries(check, &sums);
		headcheck_transaction(check, &sums);
		headcheck_publish(&check->extents[sums.extent], &sums);
		viewcheck_head(check->views, sums.highest);
	}
	order->heads++;
	order->entries += entries;
	order->highest = sums.highest > order->highest ? sums.highest : order->highest;
	/* Relaxed, both: one writer at a time, which busy orders. */
	order_store_relaxed(&check->heads, order_load_relaxed(&check->heads) + 1);
	order_store_relaxed(&check->entries, order_load_relaxed(&check->entries) + entries);
	/* HEADCHECK.busy: what this head leaves. */
	order_store_release(&check->busy, 0);
	return 0;
}
