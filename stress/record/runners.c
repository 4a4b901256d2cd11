/* SPDX-License-Identifier: MIT */
/* Threads that take cuts, wait for them and run heads, and threads that merge. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "stress/record/crew.h"
#include "stress/record/faults.h"
#include "stress/record/producers.h"

/* One turn of a runner: a cut, and which operations went on when it was taken. */
struct runner_turn {
	uint64_t cut;
	uint64_t open[SHARED_SEATS_MAX];
};

static bool runners_cut(struct worker *worker, struct runner_turn *turn)
{
	struct stress *stress = worker->stress;
	bool commits = random_state_chance(&worker->random, 1, 3);
	int result;

	producers_open(stress, turn->open);
	if (commits) {
		worker_step(worker, "rs_commit_cut");
		result = crew_commit(stress, &turn->cut);
		if (!result)
			return true;
		if (result != -EAGAIN)
			faults_report("rs_commit_cut: %d", result);
	}
	worker_step(worker, "rs_cut_take");
	turn->cut = rs_cut_take(stress->record);
	stress_count(&stress->counts.cuts);
	return true;
}

/* The cut is closed: what went on before it has ended. */
static void runners_check_closed(struct stress *stress, const struct runner_turn *turn)
{
	unsigned was;
	unsigned still = producers_still_open(stress, turn->open, &was);

	order_fetch_add_relaxed(&stress->counts.closed_checked, was);
	if (still)
		faults_report("cut %" PRIu64 " is closed, but %u operations from before it go on",
			      turn->cut, still);
}

static void runners_check_waiting(const struct rs_cut_waiting *waiting, uint64_t cut)
{
	if (!waiting->producers || waiting->seq > cut || !producers_know(waiting->thread))
		faults_report("cut %" PRIu64
			      " waits for %u operations, one of thread %d with %" PRIu64,
			      cut, waiting->producers, waiting->thread, waiting->seq);
}

/* Waits for the cut, or not long. */
static void runners_wait(struct worker *worker, const struct runner_turn *turn)
{
	static const uint64_t timeouts_us[4] = { 0, 100, 2000, 50000 };
	struct stress *stress = worker->stress;
	uint64_t timeout = timeouts_us[random_state_below(&worker->random, 4)] * 1000;
	struct rs_cut_waiting waiting;
	int result;

	memset(&waiting, 0, sizeof(waiting));
	worker_step(worker, "rs_cut_wait");
	result = rs_cut_wait(stress->record, turn->cut, timeout, &waiting);
	stress_count(&stress->counts.cut_waits);
	if (!result) {
		runners_check_closed(stress, turn);
	} else if (result == -ETIMEDOUT) {
		stress_count(&stress->counts.cut_timeouts);
		runners_check_waiting(&waiting, turn->cut);
	} else {
		faults_report("rs_cut_wait for %" PRIu64 ": %d", turn->cut, result);
	}
}

static void runners_check_result(struct stress *stress, const struct runner_turn *turn,
				 const struct headcheck_order *order,
				 const struct rs_run_result *result)
{
	if (result->heads != order->heads || result->entries != order->entries)
		faults_report("a run says %" PRIu64 " heads and %" PRIu64
			      " entries, but gave %" PRIu64 " and %" PRIu64,
			      result->heads, result->entries, order->heads, order->entries);
	if (order->refused)
		return;
	if (order->highest > result->cut)
		faults_report("a run up to %" PRIu64 " gave number %" PRIu64, result->cut,
			      order->highest);
	if (!result->cut)
		return;
	if (rs_cut_wait(stress->record, result->cut, 0, NULL))
		faults_report("a run went up to %" PRIu64 ", which is not closed", result->cut);
	if (result->cut >= turn->cut)
		runners_check_closed(stress, turn);
}

static void runners_run(struct worker *worker, const struct runner_turn *turn)
{
	struct stress *stress = worker->stress;
	struct headcheck_order order;
	struct rs_run_result ran;
	int result;

	headcheck_order_init(&order, &stress->heads, false);
	worker_step(worker, "rs_record_run");
	result = rs_record_run(stress->record, turn->cut, headcheck_take, &order, &ran);
	worker_step(worker, "has run");
	stress_count(&stress->counts.runs);
	if (order.refused)
		stress_count(&stress->counts.runs_refused);
	if (result != (order.refused ? HEADCHECK_REFUSAL : 0))
		faults_report("rs_record_run: %d%s", result,
			      order.refused ? ", but a head was refused" : "");
	else
		runners_check_result(stress, turn, &order, &ran);
}

void runners_work(struct worker *worker)
{
	struct stress *stress = worker->stress;
	struct runner_turn turn;

	while (!stress_rests(stress)) {
		worker_step(worker, "pauses");
		crew_pause(worker, stress->options->pause_ms);
		runners_cut(worker, &turn);
		if (random_state_chance(&worker->random, 3, 4))
			runners_wait(worker, &turn);
		if (random_state_chance(&worker->random, 7, 8))
			runners_run(worker, &turn);
	}
}

void mergers_work(struct worker *worker)
{
	struct stress *stress = worker->stress;
	int result;

	while (!stress_rests(stress)) {
		worker_step(worker, "pauses");
		crew_pause(worker, stress->options->pause_ms);
		worker_step(worker, "rs_record_merge");
		result = rs_record_merge(stress->record);
		if (result)
			faults_report("rs_record_merge: %d", result);
		order_fetch_add_relaxed(&stress->shared->merges, 1);
		if (random_state_chance(&worker->random, 1, 8)) {
			worker_step(worker, "rs_record_tend");
			result = rs_record_tend(stress->record);
			if (result && result != HEADCHECK_REFUSAL)
				faults_report("rs_record_tend: %d", result);
		}
	}
}
