/* SPDX-License-Identifier: MIT */
/* The public face of the record path: operations, cuts, views, runs; bounds are in throttle.c. */
#define _GNU_SOURCE 1
#include "refstorm/record.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/percpu.h"
#include "core/base/plant.h"
#include "core/base/rcu.h"
#include "core/base/tally.h"
#include "core/delayed/record_impl.h"

#define RECORD_SOFT_DELTAS (UINT64_C(1) << 20)
#define RECORD_HARD_DELTAS (UINT64_C(1) << 23)
#define RECORD_DELTA_BYTES UINT64_C(64)
#define RECORD_AGE_NS UINT64_C(5000000000)
#define RECORD_VIEW_AGE_NS UINT64_C(30000000000)
/* Between the first two looks at whom a cut waits for, and at most. */
#define RECORD_LOOK_NS 20000L
#define RECORD_LOOK_NS_MAX 640000L

static pthread_once_t record_once = PTHREAD_ONCE_INIT;
static pthread_key_t record_producers_key;
static bool record_key_made;
/* The producers of the thread, by `other`. */
static __thread struct rs_producer *record_producers;

static uint64_t record_default(uint64_t value, uint64_t otherwise)
{
	return value ? value : otherwise;
}

static uint64_t record_default_bytes(uint64_t bytes, uint64_t deltas)
{
	uint64_t otherwise;

	if (__builtin_mul_overflow(deltas, RECORD_DELTA_BYTES, &otherwise))
		otherwise = UINT64_MAX;
	return record_default(bytes, otherwise);
}

static int record_options_set(struct rs_record *record, const struct rs_record_options *given,
			      struct rs_error *error)
{
	struct rs_record_options *options = &record->options;

	if (given)
		*options = *given;
	options->soft_deltas = record_default(options->soft_deltas, RECORD_SOFT_DELTAS);
	options->hard_deltas = record_default(options->hard_deltas, RECORD_HARD_DELTAS);
	options->soft_bytes = record_default_bytes(options->soft_bytes, options->soft_deltas);
	options->hard_bytes = record_default_bytes(options->hard_bytes, options->hard_deltas);
	options->age_ns_max = record_default(options->age_ns_max, RECORD_AGE_NS);
	options->view_age_ns_max = record_default(options->view_age_ns_max, RECORD_VIEW_AGE_NS);
	if (options->hard_deltas < options->soft_deltas ||
	    options->hard_bytes < options->soft_bytes)
		return error_set(error, -EINVAL, "a hard bound is below its soft bound");
	if (options->path > RS_RECORD_HASHED || options->queue > RS_QUEUE_PORTABLE)
		return error_set(error, -EINVAL, "there is no such record path");
	if (options->queue == RS_QUEUE_RSEQ && !cpu_queue_possible())
		return error_set(error, -ENOTSUP,
				 "no restartable sequences: the machine, the C library or the "
				 "kernel has none, or they are turned off");
	return 0;
}

static int record_store_create(struct rs_record *record)
{
	const struct rs_record_options *options = &record->options;
	bool rseq = options->queue != RS_QUEUE_PORTABLE && cpu_queue_possible();
	unsigned cpus = options->cpus ? options->cpus : percpu_possible();

	switch (options->path) {
	case RS_RECORD_LOCKED:
		record->functions = &locked_functions;
		record->path = PRODUCER_STORE;
		record->name = "locked";
		return locked_create(&record->store);
	case RS_RECORD_HASHED:
		record->functions = &hashed_functions;
		record->path = PRODUCER_STORE;
		record->name = "hashed";
		return hashed_create(&record->store);
	case RS_RECORD_PERCPU:
		break;
	}
	record->functions = &queued_functions;
	record->path = rseq ? PRODUCER_CPU_QUEUE : PRODUCER_THREAD_QUEUE;
	record->name = rseq ? "percpu/rseq" : "percpu/portable";
	return queued_create(&record->sequence, rseq ? cpus : 0, options->hard_bytes,
			     &record->store);
}

int rs_record_create(const struct rs_record_options *options, struct rs_record **out,
		     struct rs_error *error)
{
	struct rs_record *record = alloc_aligned(ORDER_LINE, 1, sizeof(*record));
	int result;

	if (!record)
		return error_no_memory(error, "the record path");
	rcu_thread_adopt();
	sequence_init(&record->sequence);
	lock_init(&record->run_lock, LOCK_RANK_RECORD_RUN, "record.run");
	lock_init(&record->commit_lock, LOCK_RANK_RECORD_COMMIT, "record.commit");
	result = record_options_set(record, options, error);
	if (!result) {
		result = record_store_create(record);
		if (result)
			error_no_memory(error, "the record path");
	}
	if (result) {
		rs_record_destroy(record);
		return result;
	}
	*out = record;
	return 0;
}

void rs_record_destroy(struct rs_record *record)
{
	struct rs_producer *producer;

	if (!record)
		return;
	rcu_thread_adopt();
	if (record->store)
		record->functions->destroy(record->store);
	producer = producer_first(&record->sequence);
	while (producer) {
		struct rs_producer *next = producer_next(producer);

		/* Relaxed: nobody else is left. */
		assert(!order_load_relaxed(&producer->joined));
		alloc_free(producer);
		producer = next;
	}
	sequence_destroy(&record->sequence);
	lock_destroy(&record->commit_lock);
	lock_destroy(&record->run_lock);
	alloc_free(record);
}

/* A thread that ends leaves what it has joined. */
static void record_thread_end(void *unused)
{
	(void)unused;
	while (record_producers) {
		struct rs_producer *producer = record_producers;

		if (producer->operating) {
			/* Relaxed: a sum. */
			order_fetch_add_relaxed(&producer->record->abandoned, 1);
			rs_operation_end(producer);
		}
		rs_producer_leave(producer);
	}
}

static void record_key_make(void)
{
	record_key_made = !pthread_key_create(&record_producers_key, record_thread_end);
}

/* One that another thread has left. */
static struct rs_producer *record_producer_find(struct rs_record *record)
{
	struct rs_producer *producer = producer_first(&record->sequence);

	for (; producer; producer = producer_next(producer)) {
		uint32_t joined = 0;

		/* Relaxed: a hint. */
		if (order_load_relaxed(&producer->joined))
			continue;
		/* RECORD.joined: sees the queue as the last thread left it. */
		if (order_cas_acquire(&producer->joined, &joined, 1))
			return producer;
		tally_retry(TALLY_RECORD_PRODUCER);
	}
	return NULL;
}

int rs_producer_join(struct rs_record *record, struct rs_producer **out)
{
	struct rs_producer *producer;

	pthread_once(&record_once, record_key_make);
	rcu_thread_adopt();
	if (!record_key_made || pthread_setspecific(record_producers_key, record))
		return -ENOMEM;
	producer = record_producer_find(record);
	if (producer) {
		/* Relaxed: for people. */
		order_own_store_relaxed(&producer->slot.thread, (uint32_t)gettid());
	} else {
		producer = alloc_aligned(ORDER_LINE, 1, sizeof(*producer));
		if (!producer)
			return -ENOMEM;
		thread_queue_init(&producer->queue);
		producer->record = record;
		producer->path = record->path;
		/* Relaxed: published with the slot. */
		order_own_store_relaxed(&producer->joined, 1);
		sequence_join(&record->sequence, &producer->slot);
	}
	producer->other = record_producers;
	record_producers = producer;
	*out = producer;
	return 0;
}

void rs_producer_leave(struct rs_producer *producer)
{
	struct rs_producer **at = &record_producers;

	assert(!producer->operating);
	while (*at != producer) {
		assert(*at);
		at = &(*at)->other;
	}
	*at = producer->other;
	cpu_queue_forget();
	/* RECORD.joined: the queue, for the next thread. */
	order_store_release(&producer->joined, 0);
}

/* The thread is inside an operation of another of its producers: cuts wait for it, it must not wait for cuts. */
static bool record_is_operating(const struct rs_record *record)
{
	const struct rs_producer *producer = record_producers;

	for (; producer; producer = producer->other)
		if (producer->record == record && producer->operating)
			return true;
	return false;
}

int rs_operation_begin(struct rs_producer *producer)
{
	struct rs_record *record = producer->record;

	assert(!producer->operating);
	if (producer->path == PRODUCER_STORE)
		throttle_check_store(record);
	if (__builtin_expect(throttle_is_on(record), 0) && !record_is_operating(record)) {
		int result = throttle_wait(record);

		if (result)
			return result;
	}
	producer->operating = true;
	producer->seq = sequence_begin(&record->sequence, &producer->slot);
	window_pass("record.begun");
	return 0;
}

void rs_operation_end(struct rs_producer *producer)
{
	assert(producer->operating);
	producer->operating = false;
	sequence_end(&producer->slot);
}

/* The producer's queue has no room, or this CPU has no queue. */
static int __attribute__((noinline, cold))
record_append_slow(struct rs_producer *producer, const struct rs_delta *delta, uint64_t seq)
{
	struct rs_record *record = producer->record;
	struct store *store = record->store;
	enum cpu_queue_outcome outcome = CPU_QUEUE_ABSENT;
	bool first;
	int result;

	if (producer->path == PRODUCER_CPU_QUEUE)
		outcome = cpu_queue_append(&store->cpus, delta, seq);
	if (outcome == CPU_QUEUE_FULL || thread_queue_is_full(&producer->queue))
		throttle_check(record);

	/* Ends: a new segment has room for more appends than other threads make in between. */
	while (outcome == CPU_QUEUE_FULL) {
		if (cpu_queue_switch(&store->cpus))
			return -ENOMEM;
		outcome = cpu_queue_append(&store->cpus, delta, seq);
	}
	if (outcome == CPU_QUEUE_APPENDED)
		return 0;
	first = !producer->queue.current;
	result = thread_queue_append(&producer->queue, &store->pool, delta, seq);
	if (first && !result)
		/* Relaxed: a sum. */
		order_fetch_add_relaxed(&store->thread_queues, 1);
	return result;
}

/* The fast paths of both queues, on one screen. */
int rs_operation_record(struct rs_producer *producer, const struct rs_delta *delta)
{
	struct store *store = producer->record->store;
	uint64_t seq = producer->seq;

	assert(producer->operating);
	assert(!(delta->bytenr % RS_DELTA_UNIT) && rs_delta_seq(delta) == 0);
	if (plant_armed("record.counter-reread"))
		seq = sequence_current(&producer->record->sequence);
	if (__builtin_expect(producer->path == PRODUCER_CPU_QUEUE, 1)) {
		if (__builtin_expect(cpu_queue_append(&store->cpus, delta, seq) ==
					     CPU_QUEUE_APPENDED,
				     1))
			return 0;
	} else if (producer->path == PRODUCER_THREAD_QUEUE) {
		if (__builtin_expect(!thread_queue_is_full(&producer->queue), 1))
			return thread_queue_append(&producer->queue, &store->pool, delta, seq);
	} else {
		struct rs_delta whole = *delta;

		whole.seq_type |= seq << 8;
		return producer->record->functions->append(store, &whole);
	}
	return record_append_slow(producer, delta, seq);
}

uint64_t rs_cut_take(struct rs_record *record)
{
	return sequence_cut(&record->sequence);
}

int rs_commit_cut(struct rs_record *record, uint64_t *cut)
{
	int result;

	lock_acquire(&record->commit_lock);
	result = sequence_commit(&record->sequence, cut);
	lock_release(&record->commit_lock);
	return result;
}

int rs_cut_wait(struct rs_record *record, uint64_t cut, uint64_t timeout_ns,
		struct rs_cut_waiting *waiting)
{
	struct timespec look = { .tv_nsec = RECORD_LOOK_NS };
	struct sequence_waiting found;
	uint64_t begin = timeout_ns ? clock_now_ns() : 0;

	if (!cut || cut >= sequence_current(&record->sequence))
		return -EINVAL;
	while (!sequence_close(&record->sequence, cut, &found)) {
		if (!timeout_ns || clock_now_ns() - begin >= timeout_ns) {
			if (waiting)
				*waiting = (struct rs_cut_waiting){ found.operations,
								    (int)found.thread, found.seq };
			return -ETIMEDOUT;
		}
		nanosleep(&look, NULL);
		/* Each look is a barrier on all CPUs. */
		if (look.tv_nsec < RECORD_LOOK_NS_MAX)
			look.tv_nsec *= 2;
	}
	return 0;
}

int rs_view_acquire(struct rs_record *record, struct rs_view **out)
{
	struct view_slot *slot = sequence_view(&record->sequence);

	if (!slot)
		return -ENOMEM;
	*out = (struct rs_view *)slot;
	return 0;
}

int rs_view_check(const struct rs_view *view)
{
	return view_is_ended((const struct view_slot *)view) ? -ESTALE : 0;
}

uint64_t rs_view_cut(const struct rs_view *view)
{
	return view_cut((const struct view_slot *)view);
}

int rs_view_release(struct rs_record *record, struct rs_view *view)
{
	(void)record;
	return view_release((struct view_slot *)view) ? 0 : -ESTALE;
}

static int record_merge(struct rs_record *record, int (*merge)(struct store *store))
{
	int result;

	rcu_thread_adopt();
	if (record->path == PRODUCER_STORE)
		return 0;
	result = merge(record->store);
	if (!result)
		throttle_fold(record);
	return result;
}

int rs_record_merge(struct rs_record *record)
{
	return record_merge(record, queued_merge);
}

int rs_record_settle(struct rs_record *record)
{
	return record_merge(record, queued_merge_all);
}

/* When the counter was not past `cut` yet, as late as is known; 0: unknown. By the run lock. */
static uint64_t record_before(const struct rs_record *record, uint64_t cut)
{
	unsigned back;

	/* Places that were never written say 0 at 0. */
	for (back = 0; back < RECORD_SEEN; back++) {
		unsigned at = (record->seen_last - back) % RECORD_SEEN;

		if (record->seen[at].counter <= cut)
			return record->seen[at].time;
	}
	return 0;
}

static void record_see(struct rs_record *record)
{
	uint64_t now = clock_now_ns();

	/* So far apart that the ring reaches back past the oldest view. */
	if (now - record->seen[record->seen_last].time <
	    record->options.view_age_ns_max / RECORD_SEEN * 2)
		return;
	record->seen_last = (record->seen_last + 1) % RECORD_SEEN;
	record->seen[record->seen_last].time = now;
	record->seen[record->seen_last].counter = sequence_current(&record->sequence);
}

int record_run_locked(struct rs_record *record, uint64_t cut, rs_head_fn *run, void *argument,
		      struct rs_run_result *result)
{
	struct sequence *sequence = &record->sequence;
	uint64_t limit = sequence_run_begin(sequence);
	uint64_t end;
	int failed = 0;

	/* One transaction after the other; ends at the first that is not over, or past the cut. */
	do {
		struct store_run order = { .run = run, .argument = argument, .result = result };

		order.transaction = sequence_oldest_end(sequence, &end);
		order.cut = end < limit ? end : limit;
		order.since = record_before(record, order.cut);

		failed = record->functions->run(record->store, &order);
		if (failed)
			break;
		result->cut = order.cut;
		if (end <= limit)
			sequence_transaction_run(sequence, order.transaction);
	} while (end < cut && end < limit);
	sequence_run_end(sequence);
	record_see(record);
	if (record->path != PRODUCER_STORE)
		throttle_fold_locked(record);
	throttle_relieve(record);
	return failed;
}

int rs_record_run(struct rs_record *record, uint64_t cut, rs_head_fn *run, void *argument,
		  struct rs_run_result *result)
{
	struct rs_run_result ignored;
	int cancel;
	int failed;

	rcu_thread_adopt();
	result = result ? result : &ignored;
	memset(result, 0, sizeof(*result));
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	lock_acquire(&record->run_lock);
	throttle_end_views(record);
	failed = record_run_locked(record, cut, run, argument, result);
	lock_release(&record->run_lock);
	pthread_setcancelstate(cancel, NULL);
	return failed;
}

int rs_head_lookup(struct rs_record *record, uint64_t bytenr, uint64_t seq_max,
		   struct rs_head_pending *pending, struct rs_delta *entries, size_t capacity)
{
	rcu_thread_adopt();
	return record->functions->lookup(record->store, bytenr, seq_max, pending, entries,
					 capacity);
}
