/* SPDX-License-Identifier: MIT */
#include "stress/forest/round_impl.h"

#include <errno.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "stress/forest/stacks.h"

/* A thread of the script. */
struct round_seat {
	struct round *round;
	void *forest_seat;
	struct board_seat *board;
};

static int run_forest(void *thread, const struct script_operation *operation)
{
	struct round_seat *seat = thread;
	const struct script_backend *backend = script_forest_backend(seat->round->back_end);

	return backend->run[operation->kind](seat->forest_seat, operation);
}

/* Relaxed: of this thread alone. */
static void add_own(order_u64 *count)
{
	order_own_store_relaxed(count, order_load_relaxed(count) + 1);
}

static int run_operation(void *thread, const struct script_operation *operation)
{
	struct round_seat *seat = thread;
	struct board_seat *board = seat->board;
	/* Relaxed, all: see board.h. */
	uint64_t begun = order_load_relaxed(&board->begun);
	int ret;

	order_own_store_relaxed(&board->lines[begun % BOARD_LINES], operation->line);
	order_own_store_relaxed(&board->inside, 1);
	add_own(&board->begun);
	if (seat->round->refusals.kind == REFUSALS_NONE)
		ret = run_forest(seat, operation);
	else
		ret = refusals_take(&seat->round->refusals, run_forest, seat, operation);
	order_own_store_relaxed(&board->inside, 0);
	add_own(&board->done[operation->kind]);
	if (ret < 0 && ret > -(int)CAMPAIGN_ERRNO_MAX)
		add_own(&board->failed[-ret]);
	return ret;
}

static int seat_join(void *argument, void **thread)
{
	struct round *round = argument;
	const struct script_backend *backend = script_forest_backend(round->back_end);
	struct round_seat *seat;
	int ret = -ENOMEM;

	/* A thread that cannot even begin is no script. */
	alloc_fail_pause();
	seat = alloc_zeroed(1, sizeof(*seat));
	if (seat)
		ret = backend->join(backend->argument, &seat->forest_seat);
	alloc_fail_resume();
	if (ret) {
		alloc_free(seat);
		return ret;
	}
	seat->round = round;
	/* Relaxed: a number for itself. No more threads than seats: the plan knows how many there are. */
	seat->board = &round->board->seats[order_fetch_add_relaxed(&round->board->seats_taken, 1) %
					   BOARD_SEATS];
	order_store_relaxed(&seat->board->thread, (uint32_t)gettid());
	stacks_seat(seat->board);
	*thread = seat;
	return 0;
}

static void seat_leave(void *thread)
{
	struct round_seat *seat = thread;

	stacks_seat(NULL);
	script_forest_backend(seat->round->back_end)->leave(seat->forest_seat);
	alloc_free(seat);
}

static int seat_aborted(void *argument, struct rs_error *error)
{
	struct round *round = argument;

	return rs_forest_aborted(round->forest, error);
}

void round_seats_init(struct round *round)
{
	unsigned kind;

	round->backend = *script_forest_backend(round->back_end);
	round->backend.argument = round;
	round->backend.join = seat_join;
	round->backend.leave = seat_leave;
	round->backend.aborted = seat_aborted;
	round->backend.found = NULL;
	for (kind = 0; kind < SCRIPT_KINDS; kind++)
		if (round->backend.run[kind])
			round->backend.run[kind] = run_operation;
}
