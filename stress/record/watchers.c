/* SPDX-License-Identifier: MIT */
/*
 * Threads that look: at single extents at any time, and at extents under a view, twice. Under a
 * view whose cut is closed and merged, what is pending up to the cut and what has been run make
 * the same sum at any time: nothing past the cut is run, and nothing up to it comes later.
 */
#include <errno.h>
#include <inttypes.h>

#include "core/base/clock.h"
#include "stress/record/crew.h"
#include "stress/record/faults.h"
#include "stress/record/parking.h"

#define WATCHERS_ENTRIES 64U
#define WATCHERS_SAMPLES 48U
#define WATCHERS_BURST 64U

/* A look-up, and what it found. */
struct watch {
	uint32_t extent;
	uint64_t seq_max;
	struct rs_head_pending pending;
	uint64_t weighted;
	bool whole; /* all entries had room */
	struct rs_delta entries[WATCHERS_ENTRIES];
};

static void watchers_fault(const struct watch *watch, const char *what, int64_t number)
{
	faults_report("look-up of extent %u up to %" PRIu64 " (references %" PRId64
		      " items %" PRId64 " reserved %" PRIu64 ", %zu entries%s): %s %" PRId64,
		      watch->extent, watch->seq_max, watch->pending.refs, watch->pending.items,
		      watch->pending.reserved, watch->pending.entries,
		      watch->pending.running ? ", running" : "", what, number);
}

/* The entries against the sums over them. */
static void watchers_check_entries(const struct keyspace *space, struct watch *watch)
{
	uint32_t keys[WATCHERS_ENTRIES];
	int64_t refs = 0;
	int64_t items = 0;
	uint64_t reserved = 0;
	size_t at;
	size_t before;

	for (at = 0; at < watch->pending.entries; at++) {
		const struct rs_delta *entry = &watch->entries[at];
		bool is_root = rs_delta_type(entry) == RS_DELTA_ROOT;
		uint64_t bytes = is_root ? entry->reserved : 0;

		keys[at] = keyspace_find(space, watch->extent, entry);
		if (keys[at] == KEYSPACE_NONE)
			watchers_fault(watch, "an entry that is no key, of type",
				       rs_delta_type(entry));
		if (rs_delta_seq(entry) > watch->seq_max || (!entry->count && !bytes))
			watchers_fault(watch, "an entry too many, of number",
				       (int64_t)rs_delta_seq(entry));
		for (before = 0; before < at; before++)
			if (keys[before] == keys[at])
				watchers_fault(watch, "two entries of key", keys[at]);
		*(is_root ? &items : &refs) += entry->count;
		reserved += bytes;
		watch->weighted += headcheck_weigh(keys[at], entry->count, bytes);
	}
	if (refs != watch->pending.refs || items != watch->pending.items ||
	    reserved != watch->pending.reserved)
		watchers_fault(watch, "entries do not make the sums, but references", refs);
}

static void watchers_look(struct stress *stress, struct watch *watch, uint32_t extent,
			  uint64_t seq_max)
{
	int result;

	watch->extent = extent;
	watch->seq_max = seq_max;
	watch->weighted = 0;
	result = rs_head_lookup(stress->record, keyspace_bytenr(&stress->space, extent), seq_max,
				&watch->pending, watch->entries, WATCHERS_ENTRIES);
	watch->whole = !result;
	if (result && result != -E2BIG)
		watchers_fault(watch, "rs_head_lookup", result);
	/* With -E2BIG the entries may have been more at some moment than in the end. */
	if (watch->whole && watch->pending.entries > WATCHERS_ENTRIES)
		watchers_fault(watch, "more entries than there is room for", result);
	else if (watch->whole)
		watchers_check_entries(&stress->space, watch);
	order_fetch_add_relaxed(&stress->shared->lookups, 1);
}

/* Mostly one of those that much happens to. */
static uint32_t watchers_extent(struct worker *worker)
{
	const struct keyspace *space = &worker->stress->space;
	uint64_t random = random_state_next(&worker->random);

	if (random % 8 == 0)
		return space->narrow + (uint32_t)(random >> 3) % KEYSPACE_WIDE;
	return (uint32_t)(random >> 3) % (random % 8 < 4 ? 16 : space->narrow);
}

static int64_t watchers_most(const struct stress *stress)
{
	/* Operations that are pending in part: a few for each producer, merger and CPU change. */
	return (int64_t)stress->seat_count * 64 * 12 * 8;
}

void lookers_work(struct worker *worker)
{
	struct stress *stress = worker->stress;
	int64_t most = watchers_most(stress);
	struct watch watch;
	unsigned at;

	while (!stress_is_over(stress)) {
		worker_step(worker, "looks up");
		for (at = 0; at < WATCHERS_BURST; at++) {
			uint32_t extent = watchers_extent(worker);

			watchers_look(stress, &watch, extent, UINT64_MAX);
			if (keyspace_is_balanced(&stress->space, extent) &&
			    (watch.pending.refs > most || -watch.pending.refs > most))
				watchers_fault(&watch, "out of balance by more than", most);
		}
		worker_step(worker, "pauses");
		crew_pause(worker, 2);
	}
}

/* What must not change while a view is held. */
struct view_sample {
	uint32_t extent;
	bool valid;
	bool whole;
	uint64_t refs;
	uint64_t items;
	uint64_t weighted;
};

/* Pending up to the cut, and run. Not valid if a head of the extent was run meanwhile. */
static void viewers_sample(struct stress *stress, uint64_t cut, uint32_t extent,
			   struct view_sample *sample)
{
	struct headcheck_sums sums;
	struct watch watch;

	sample->extent = extent;
	sample->valid = headcheck_extent_read(&stress->heads, extent, &sums);
	if (!sample->valid)
		return;
	watchers_look(stress, &watch, extent, cut);
	sample->valid = !watch.pending.running &&
			headcheck_extent_same(&stress->heads, extent, &sums);
	if (!sample->valid)
		return;
	sample->whole = watch.whole;
	sample->refs = sums.refs + (uint64_t)watch.pending.refs;
	sample->items = sums.items + (uint64_t)watch.pending.items;
	sample->weighted = sums.weighted + watch.weighted;
}

static void viewers_compare(struct stress *stress, uint64_t cut, const struct view_sample *first,
			    const struct view_sample *second)
{
	bool balanced = keyspace_is_balanced(&stress->space, first->extent);

	if (balanced && (first->refs || first->items))
		faults_report("view of %" PRIu64 ": extent %u has %" PRId64
			      " references and %" PRId64 " items in place of 0",
			      cut, first->extent, (int64_t)first->refs, (int64_t)first->items);
	if (first->refs != second->refs || first->items != second->items)
		faults_report("view of %" PRIu64 ": extent %u had %" PRId64
			      " references and %" PRId64 " items, and has %" PRId64 " and %" PRId64,
			      cut, first->extent, (int64_t)first->refs, (int64_t)first->items,
			      (int64_t)second->refs, (int64_t)second->items);
	else if (first->whole && second->whole && first->weighted != second->weighted)
		faults_report("view of %" PRIu64 ": extent %u has the same sums, but other keys",
			      cut, first->extent);
}

/* Until the cut is closed, and merged. False: it takes too long, or all are to rest. */
static bool viewers_wait(struct worker *worker, uint64_t cut)
{
	struct stress *stress = worker->stress;
	int result;

	do {
		worker_step(worker, "rs_cut_wait");
		result = rs_cut_wait(stress->record, cut, 5000000, NULL);
		if (stress_is_over(stress) || parking_is_asked(&stress->parking))
			return false;
	} while (result == -ETIMEDOUT);
	if (result)
		faults_report("rs_cut_wait of a view's cut: %d", result);
	worker_step(worker, "rs_record_settle");
	result = rs_record_settle(stress->record);
	if (result)
		faults_report("rs_record_settle: %d", result);
	return !result;
}

/* Holds the view for a while, in short pieces. */
static void viewers_hold(struct worker *worker)
{
	struct stress *stress = worker->stress;
	uint64_t ns = random_state_below(&worker->random, stress->options->hold_ms + 1) * 1000000;
	uint64_t end = clock_now_ns() + ns;

	worker_step(worker, "holds a view");
	while (clock_now_ns() < end && !stress_is_over(stress) &&
	       !parking_is_asked(&stress->parking)) {
		crew_pause(worker, 4);
		worker_step(worker, "holds a view");
	}
}

static void viewers_look(struct worker *worker, const struct rs_view *view)
{
	struct stress *stress = worker->stress;
	uint64_t cut = rs_view_cut(view);
	struct view_sample first[WATCHERS_SAMPLES];
	struct view_sample second[WATCHERS_SAMPLES];
	unsigned at;

	for (at = 0; at < WATCHERS_SAMPLES; at++)
		viewers_sample(stress, cut, watchers_extent(worker), &first[at]);
	viewers_hold(worker);
	for (at = 0; at < WATCHERS_SAMPLES; at++)
		viewers_sample(stress, cut, first[at].extent, &second[at]);
	/* Ended in between, it holds nothing. */
	if (rs_view_check(view) == -ESTALE) {
		order_fetch_add_relaxed(&stress->counts.samples_void, WATCHERS_SAMPLES);
		return;
	}
	for (at = 0; at < WATCHERS_SAMPLES; at++) {
		if (first[at].valid && second[at].valid) {
			viewers_compare(stress, cut, &first[at], &second[at]);
			stress_count(&stress->counts.samples);
		} else {
			stress_count(&stress->counts.samples_void);
		}
	}
}

static void viewers_turn(struct worker *worker)
{
	struct stress *stress = worker->stress;
	struct rs_view *view;
	uint64_t cut;
	int result;

	worker_step(worker, "rs_view_acquire");
	result = rs_view_acquire(stress->record, &view);
	if (result) {
		faults_report("rs_view_acquire: %d", result);
		return;
	}
	cut = rs_view_cut(view);
	viewcheck_hold(&stress->views, worker->number, cut);
	if (viewers_wait(worker, cut))
		viewers_look(worker, view);
	viewcheck_leave(&stress->views, worker->number);
	worker_step(worker, "rs_view_release");
	result = rs_view_release(stress->record, view);
	stress_count(&stress->counts.views);
	if (result == -ESTALE)
		stress_count(&stress->counts.views_ended);
	else if (result)
		faults_report("rs_view_release: %d", result);
	else if (viewcheck_is_passed(&stress->views, worker->number, cut))
		faults_report("something past %" PRIu64 " was run while a view held it", cut);
}

void viewers_work(struct worker *worker)
{
	struct stress *stress = worker->stress;

	while (!stress_is_over(stress)) {
		/* NULL: nobody wonders that it does not move. */
		order_own_store_relaxed(&worker->state, NULL);
		parking_point(&stress->parking);
		viewers_turn(worker);
		worker_step(worker, "pauses");
		crew_pause(worker, stress->options->pause_ms);
	}
	parking_gone(&stress->parking);
}
