/* SPDX-License-Identifier: MIT */
#include "stress/record/settle.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/percpu.h"
#include "stress/record/crew.h"
#include "stress/record/faults.h"
#include "stress/record/producers.h"

#define SETTLE_WAIT_NS UINT64_C(10000000000)
#define SETTLE_RUNS 1000U
/* Deltas that a queue holds before its producer looks at the bounds, with some to spare. */
#define SETTLE_QUEUE 1500U
#define SETTLE_READINGS 8U
#define SETTLE_HARD (UINT64_C(1) << 23)

/* Runs everything up to `cut`. Refusals are planned, and come to an end by chance. */
static bool settle_run(struct stress *stress, uint64_t cut)
{
	unsigned at;

	for (at = 0; at < SETTLE_RUNS; at++) {
		struct headcheck_order order;
		struct rs_run_result ran;
		int result;

		headcheck_order_init(&order, &stress->heads, false);
		result = rs_record_run(stress->record, cut, headcheck_take, &order, &ran);
		if (result == HEADCHECK_REFUSAL && order.refused)
			continue;
		if (result)
			faults_report("rs_record_run at rest: %d", result);
		else if (ran.cut < cut)
			faults_report("at rest a run to %" PRIu64 " came to %" PRIu64 " only", cut,
				      ran.cut);
		return !result && ran.cut >= cut;
	}
	faults_report("at rest %u runs were refused", SETTLE_RUNS);
	return false;
}

/* A cut with everything before it; ends when transactions that wait have been run. */
static bool settle_commit(struct stress *stress, uint64_t *cut)
{
	unsigned at;

	for (at = 0; at < 3; at++) {
		int result = crew_commit(stress, cut);

		if (!result)
			return true;
		*cut = rs_cut_take(stress->record);
		stress_count(&stress->counts.cuts);
		if (result != -EAGAIN || rs_cut_wait(stress->record, *cut, SETTLE_WAIT_NS, NULL) ||
		    !settle_run(stress, *cut))
			break;
	}
	/* Runners commit too: what there are too many of are theirs, and a cut does. */
	return true;
}

static void settle_difference(const struct keyspace *space, uint32_t key, int64_t counts[2],
			      uint64_t reserved[2])
{
	faults_report("key %u (extent %u): recorded %" PRId64 ", reserved %" PRIu64
		      "; came out %" PRId64 ", reserved %" PRIu64,
		      key,
		      key < space->narrow * KEYSPACE_SLOTS ?
			      key / KEYSPACE_SLOTS :
			      space->narrow +
				      (key - space->narrow * KEYSPACE_SLOTS) / KEYSPACE_WIDE_SLOTS,
		      counts[0], reserved[0], counts[1], reserved[1]);
}

static uint64_t settle_deltas(const struct stress *stress)
{
	uint64_t deltas = 0;
	unsigned at;

	for (at = 0; at < stress->seat_count; at++)
		deltas += stress->seats[at].deltas;
	return deltas;
}

static void settle_sums(struct stress *stress)
{
	const struct tally *in[SHARED_SEATS_MAX];
	uint64_t differences;
	unsigned at;

	for (at = 0; at < stress->seat_count; at++)
		in[at] = &stress->seats[at].tally;
	differences = tally_compare(&stress->space, in, stress->seat_count, &stress->heads.out,
				    settle_difference);
	if (differences)
		faults_report("%" PRIu64 " keys of %u differ", differences, stress->space.keys);
}

static void settle_statistics(struct stress *stress)
{
	struct rs_record_statistics now;
	uint64_t deltas = settle_deltas(stress);
	/* Relaxed: at rest. */
	uint64_t entries = order_load_relaxed(&stress->heads.entries);
	uint64_t abandoned = order_load_relaxed(&stress->counts.abandoned);

	rs_record_statistics_read(stress->record, &now);
	if (now.recorded != deltas || now.run != entries || now.merged != deltas - entries)
		faults_report("statistics: recorded %" PRIu64 " of %" PRIu64 ", run %" PRIu64
			      " of %" PRIu64 ", merged %" PRIu64 " of %" PRIu64,
			      now.recorded, deltas, now.run, entries, now.merged, deltas - entries);
	if (now.pending_deltas || now.oldest_ns || now.views || now.abandoned != abandoned)
		faults_report("statistics at rest: pending %" PRIu64 " for %" PRIu64
			      " ns, views %" PRIu64 ", abandoned %" PRIu64 " of %" PRIu64,
			      now.pending_deltas, now.oldest_ns, now.views, now.abandoned,
			      abandoned);
}

/* Nothing is pending anywhere. */
static void settle_lookups(struct stress *stress)
{
	uint32_t step = stress->space.extents / 64 + 1;
	uint32_t extent;

	for (extent = 0; extent < stress->space.extents; extent += step) {
		struct rs_head_pending pending;
		int result = rs_head_lookup(stress->record, keyspace_bytenr(&stress->space, extent),
					    UINT64_MAX, &pending, NULL, 0);

		if (result || pending.refs || pending.items || pending.reserved ||
		    pending.entries || pending.running)
			faults_report("at rest extent %u has %zu entries (%d)", extent,
				      pending.entries, result);
	}
}

void settle_check(struct stress *stress)
{
	struct rs_cut_waiting waiting = { 0, 0, 0 };
	uint64_t cut = 0;

	if (!settle_commit(stress, &cut))
		return;
	if (rs_cut_wait(stress->record, cut, SETTLE_WAIT_NS, &waiting)) {
		faults_report("at rest cut %" PRIu64 " waits for %u operations, one of thread %d",
			      cut, waiting.producers, waiting.thread);
		return;
	}
	if (!settle_run(stress, cut))
		return;
	settle_sums(stress);
	settle_statistics(stress);
	settle_lookups(stress);
	stress_count(&stress->counts.checks);
}

static void settle_highest(order_u64 *most, uint64_t value)
{
	/* Relaxed: the driver is the only writer. */
	if (value > order_load_relaxed(most))
		order_store_relaxed(most, value);
}

/* What is queued while it is taken may be counted twice: only what is found each time is there. */
static uint64_t settle_pending(struct stress *stress, uint64_t bound, uint64_t pending)
{
	struct rs_record_statistics now;
	unsigned at;

	for (at = 0; at < SETTLE_READINGS && pending > bound; at++) {
		rs_record_statistics_read(stress->record, &now);
		pending = now.pending_deltas < pending ? now.pending_deltas : pending;
	}
	return pending;
}

void settle_sample(struct stress *stress)
{
	const struct options *options = stress->options;
	uint64_t hard = options->hard_deltas ? options->hard_deltas : SETTLE_HARD;
	uint64_t queues = 2 * stress->seat_count + percpu_possible();
	uint64_t bound = hard + queues * SETTLE_QUEUE;
	struct rs_record_statistics now;
	uint64_t deltas;
	uint64_t pending;

	rs_record_statistics_read(stress->record, &now);
	deltas = shared_deltas(stress->shared) + stress->seat_count * GENERATOR_DELTAS_MAX;
	if (now.recorded > deltas)
		stress_count(&stress->counts.overstated);
	settle_highest(&stress->counts.oldest_ns, now.oldest_ns);
	settle_highest(&stress->counts.bytes_max, now.pending_bytes);
	pending = settle_pending(stress, bound, now.pending_deltas);
	settle_highest(&stress->counts.pending_max, pending);
	if (pending > bound)
		faults_report("%" PRIu64 " deltas are pending, bounds explain %" PRIu64, pending,
			      bound);
}
