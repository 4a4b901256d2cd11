/* SPDX-License-Identifier: MIT */
#include "stress/record/figures.h"

#include <string.h>

#include "stress/record/stalls.h"

unsigned figures_collect(const struct stress *stress, struct figure figures[FIGURES_MAX])
{
	const struct stress_counts *counts = &stress->counts;
	const struct rs_record_statistics *record = &stress->statistics;
	/* Relaxed, all: the threads have ended, or hang. */
	const struct figure all[] = {
		{ "deltas", "deltas", stress->deltas },
		{ "operations", "operations", shared_operations(stress->shared) },
		{ "cuts", "cuts", order_load_relaxed(&counts->cuts) },
		{ "commits", "commits", order_load_relaxed(&counts->commits) },
		{ "refused", "commits_refused", order_load_relaxed(&counts->commits_refused) },
		{ "waits for cuts", "cut_waits", order_load_relaxed(&counts->cut_waits) },
		{ "in vain", "cut_timeouts", order_load_relaxed(&counts->cut_timeouts) },
		{ "operations seen closed", "closed_checked",
		  order_load_relaxed(&counts->closed_checked) },
		{ "runs", "runs", order_load_relaxed(&counts->runs) },
		{ "refused runs", "runs_refused", order_load_relaxed(&counts->runs_refused) },
		{ "refused begins", "begins_refused", order_load_relaxed(&counts->begins_refused) },
		{ "heads", "heads", order_load_relaxed(&stress->heads.heads) },
		{ "entries", "entries", order_load_relaxed(&stress->heads.entries) },
		{ "merges asked", "merges_asked", order_load_relaxed(&stress->shared->merges) },
		{ "look-ups", "lookups", order_load_relaxed(&stress->shared->lookups) },
		{ "checks at rest", "checks", order_load_relaxed(&counts->checks) },
		{ "views", "views", order_load_relaxed(&counts->views) },
		{ "views ended", "views_ended", order_load_relaxed(&counts->views_ended) },
		{ "samples", "samples", order_load_relaxed(&counts->samples) },
		{ "samples void", "samples_void", order_load_relaxed(&counts->samples_void) },
		{ "left", "left", order_load_relaxed(&counts->left) },
		{ "threads ended", "threads_ended", order_load_relaxed(&counts->replaced) },
		{ "in operations", "abandoned", order_load_relaxed(&counts->abandoned) },
		{ "moved", "moved", order_load_relaxed(&counts->moved) },
		{ "naps", "naps", order_load_relaxed(&counts->naps) },
		{ "stalls", "stalls", stalls_made() },
		{ "stops", "stops", order_load_relaxed(&stress->shared->tracer.stops) },
		{ "stops missed", "stops_missed",
		  order_load_relaxed(&stress->shared->tracer.missed) },
		{ "oldest ns", "oldest_ns", order_load_relaxed(&counts->oldest_ns) },
		{ "pending at most", "pending_max", order_load_relaxed(&counts->pending_max) },
		{ "bytes at most", "pending_bytes_max", order_load_relaxed(&counts->bytes_max) },
		{ "readings too high", "recorded_overstated",
		  order_load_relaxed(&counts->overstated) },
		{ "record: recorded", "record_recorded", record->recorded },
		{ "merged", "record_merged", record->merged },
		{ "run", "record_run", record->run },
		{ "merges", "record_merges", record->merges },
		{ "helped", "record_helped", record->helped },
		{ "waits", "record_waits", record->waits },
		{ "longest wait ns", "record_wait_ns_max", record->wait_ns_max },
		{ "views ended for age", "record_views_ended", record->views_ended },
		{ "abandoned", "record_abandoned", record->abandoned },
	};

	_Static_assert(sizeof(all) <= FIGURES_MAX * sizeof(all[0]), "all have room");
	memcpy(figures, all, sizeof(all));
	return sizeof(all) / sizeof(all[0]);
}
