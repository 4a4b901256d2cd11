/* SPDX-License-Identifier: MIT */
#include "core/base/tally.h"

#include "core/base/order.h"

/*
 * Relaxed, all of this file: sums that order nothing. Lines apart, so that threads which meet at one
 * place do not meet those of another here as well.
 */
struct tally_line {
	order_u64 count;
} __attribute__((aligned(ORDER_LINE)));

static struct tally_line tally_retries[TALLY_RETRIES];
static struct tally_line tally_grace_waits;
static order_u64 tally_grace_wait_ns;
static order_u64 tally_grace_wait_ns_max;

const char *tally_retry_name(enum tally_retry retry)
{
	static const char *const names[TALLY_RETRIES] = {
		[TALLY_CPU_QUEUE_SWITCH] = "cpu-queue.switch",
		[TALLY_THREAD_QUEUE_CLAIM] = "thread-queue.claim",
		[TALLY_THREAD_QUEUE_OLDEST] = "thread-queue.oldest",
		[TALLY_SEGMENT_PUSH] = "segment.push",
		[TALLY_SEGMENT_POP] = "segment.pop",
		[TALLY_BLOCK_KEEP] = "block.keep",
		[TALLY_HEADS_PUSH] = "heads.push",
		[TALLY_QUEUED_MERGER_ADD] = "queued.merger-add",
		[TALLY_QUEUED_MERGER_GET] = "queued.merger-get",
		[TALLY_QUEUED_RETURN] = "queued.return",
		[TALLY_RECORD_PRODUCER] = "record.producer",
		[TALLY_THROTTLE_LONGEST] = "throttle.longest",
		[TALLY_SEQUENCE_JOIN] = "sequence.join",
		[TALLY_SEQUENCE_CLOSE] = "sequence.close",
		[TALLY_VIEW_CLAIM] = "view.claim",
		[TALLY_VIEW_ADD] = "view.add",
		[TALLY_SEGMENTS_RESERVE] = "segments.reserve",
	};

	return names[retry];
}

bool tally_retry(enum tally_retry retry)
{
	order_fetch_add_relaxed(&tally_retries[retry].count, 1);
	return true;
}

void tally_grace_waited(uint64_t ns)
{
	uint64_t longest = order_load_relaxed(&tally_grace_wait_ns_max);

	order_fetch_add_relaxed(&tally_grace_waits.count, 1);
	order_fetch_add_relaxed(&tally_grace_wait_ns, ns);
	/* Ends: it fails only where another thread has waited longer, or a new stretch has begun. */
	while (ns > longest && !order_cas_weak_relaxed(&tally_grace_wait_ns_max, &longest, ns))
		;
}

void tally_read(struct tally *tally)
{
	unsigned at;

	for (at = 0; at < TALLY_RETRIES; at++)
		tally->retries[at] = order_load_relaxed(&tally_retries[at].count);
	tally->grace_waits = order_load_relaxed(&tally_grace_waits.count);
	tally->grace_wait_ns = order_load_relaxed(&tally_grace_wait_ns);
	tally->grace_wait_ns_max = order_load_relaxed(&tally_grace_wait_ns_max);
}

void tally_subtract(struct tally *from, const struct tally *begin)
{
	unsigned at;

	/* None of them ever falls. */
	for (at = 0; at < TALLY_RETRIES; at++)
		from->retries[at] -= begin->retries[at];
	from->grace_waits -= begin->grace_waits;
	from->grace_wait_ns -= begin->grace_wait_ns;
}

void tally_longest_forget(void)
{
	order_store_relaxed(&tally_grace_wait_ns_max, 0);
}
