/* SPDX-License-Identifier: MIT */
/* Random histories of the space, against a byte for each unit; and threads that share one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/base/rcu.h"
#include "core/forest/space.h"
#include "tests/support/threads.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define UNIT UINT64_C(4096)
#define NODE 16384U

static struct space space;

static void space_begin(uint64_t capacity)
{
	rcu_thread_enroll();
	assert_int_equal(space_init(&space, NODE, capacity), 0);
}

static void space_end(void)
{
	rcu_defer_barrier();
	space_destroy(&space);
	rcu_thread_leave();
}

#define MODEL_END (GIB + 96 * MIB)
#define MODEL_UNITS ((MODEL_END - GIB) / UNIT)
#define MODEL_HELD 400U
#define MODEL_GROUPS 64U
#define MODEL_WINDOWS 4U /* the odd ones of metadata */

enum model_unit {
	MODEL_NONE, /* of no group */
	MODEL_FREE,
	MODEL_USED,
};

static struct space_window windows[MODEL_WINDOWS];
static struct model {
	uint8_t units[MODEL_UNITS];
	uint8_t groups[MODEL_UNITS];
	unsigned kinds[MODEL_GROUPS]; /* of a group: a bit for each */
	unsigned group_count;
	struct space_piece held[MODEL_HELD];
	unsigned held_count;
	uint64_t end;
} model;

static void model_group(uint64_t bytenr, uint64_t bytes, unsigned kinds)
{
	uint64_t at;

	for (at = (bytenr - GIB) / UNIT; at < (bytenr + bytes - GIB) / UNIT; at++) {
		assert_int_equal(model.units[at], MODEL_NONE);
		model.units[at] = MODEL_FREE;
		model.groups[at] = (uint8_t)model.group_count;
	}
	assert_true(model.group_count < MODEL_GROUPS);
	model.kinds[model.group_count++] = kinds;
	model.end = space.end;
}

static void model_change(const struct space_piece *piece, enum model_unit from, enum model_unit to)
{
	uint64_t at = (piece->bytenr - GIB) / UNIT;

	assert_int_equal(piece->bytenr % UNIT, 0);
	assert_in_range(piece->bytenr + piece->bytes, GIB, MODEL_END);
	for (; at < (piece->bytenr + piece->bytes - GIB) / UNIT; at++) {
		assert_int_equal(model.units[at], from);
		model.units[at] = (uint8_t)to;
	}
}

static void model_hold(struct space_piece piece)
{
	model_change(&piece, MODEL_FREE, MODEL_USED);
	model.held[model.held_count++] = piece;
}

/* With nothing in the windows the space and the model are the same. */
static void model_compare(void)
{
	uint64_t at;
	unsigned i;

	for (i = 0; i < MODEL_WINDOWS; i++)
		space_window_drain(&windows[i]);
	for (at = 0; at < MODEL_UNITS; at++)
		assert_int_equal(space_is_used(&space, GIB + at * UNIT, UNIT),
				 model.units[at] == MODEL_USED);
}

/* Whether there is an aligned run of so many free units of the kind. All groups begin aligned. */
static bool model_has_run(enum space_kind kind, uint64_t units, uint64_t align)
{
	uint64_t run = 0;
	uint64_t at;

	for (at = 0; at < MODEL_UNITS; at++) {
		bool fits = model.units[at] == MODEL_FREE &&
			    (model.kinds[model.groups[at]] & 1U << kind);

		if (at && model.groups[at] != model.groups[at - 1])
			run = 0;
		run = !fits || (!run && at % align) ? 0 : run + 1;
		if (run == units)
			return true;
	}
	return false;
}

/* Not before all has been tried: with nothing in any window, what is refused is not there. */
static void model_take(struct random_state *random, struct space_window *window)
{
	static const uint64_t most[] = { 1, 16, 64, 600 };
	uint64_t bytes =
		(1 + random_state_below(random, most[random_state_below(random, 4)])) * UNIT;
	uint64_t bytes_min = 1 + random_state_below(random, bytes < 64 * KIB ? bytes : 64 * KIB);
	struct space_piece piece;
	int result;

	bytes_min = (bytes_min + UNIT - 1) / UNIT * UNIT;
	result = space_take(window, bytes, bytes_min, &piece.bytenr, &piece.bytes);
	if (result) {
		assert_int_equal(result, -ENOSPC);
		assert_int_equal(window->bytes, 0);
		model_compare();
		result = space_take(window, bytes, bytes_min, &piece.bytenr, &piece.bytes);
		assert_int_equal(!result, model_has_run(SPACE_DATA, bytes_min / UNIT, 1));
	}
	if (space.end > model.end)
		model_group(model.end, space.end - model.end, 1U << SPACE_DATA);
	if (!result) {
		assert_in_range(piece.bytes, bytes_min, bytes);
		model_hold(piece);
	}
}

static void model_blocks(struct random_state *random, struct space_window *window)
{
	unsigned blocks = 1 + (unsigned)random_state_below(random, 20);
	int result = space_blocks_reserve(window, blocks);
	bool short_of = result;

	if (short_of) {
		assert_int_equal(result, -ENOSPC);
		model_compare();
		blocks = 1;
		result = space_blocks_reserve(window, blocks);
	}
	if (space.end > model.end)
		model_group(model.end, space.end - model.end, 1U << SPACE_METADATA);
	if (short_of)
		assert_int_equal(!result, model_has_run(SPACE_METADATA, NODE / UNIT, NODE / UNIT));
	while (!result && blocks-- && model.held_count < MODEL_HELD)
		model_hold((struct space_piece){ space_block_take(window), NODE });
}

static void model_drop(struct random_state *random, bool give_back)
{
	unsigned at = (unsigned)random_state_below(random, model.held_count);
	struct space_piece piece = model.held[at];
	unsigned kinds = model.kinds[model.groups[(piece.bytenr - GIB) / UNIT]];

	model.held[at] = model.held[--model.held_count];
	model_change(&piece, MODEL_USED, MODEL_FREE);
	/* A block that came from a mixed group goes to a window of data: that is whole units too. */
	if (give_back)
		space_give_back(&windows[kinds & 1U << SPACE_DATA ? 0 : 1], piece.bytenr,
				piece.bytes);
	else
		space_free(&space, piece.bytenr, piece.bytes);
}

static void model_step(struct random_state *random)
{
	unsigned window = (unsigned)random_state_below(random, MODEL_WINDOWS);
	uint64_t choice = random_state_below(random, 100);

	if (choice == 0)
		space_window_drain(&windows[window]);
	else if (model.held_count && (choice < 48 || model.held_count == MODEL_HELD))
		model_drop(random, choice < 16);
	else if (window % 2)
		model_blocks(random, &windows[window]);
	else
		model_take(random, &windows[window]);
}

static void histories_are_as_the_model_says(void **state)
{
	struct random_state random;
	unsigned step;
	unsigned i;

	(void)state;
	random_state_seed(&random, threads_data_seed("space_model_test"), 0);
	space_begin(20 * MIB);
	memset(&model, 0, sizeof(model));
	assert_int_equal(space_add_group(&space, GIB, 2 * MIB, SPACE_DATA, true), 0);
	model_group(GIB, 2 * MIB, 3);
	assert_int_equal(space_add_group(&space, GIB + 3 * MIB, MIB, SPACE_METADATA, false), 0);
	model_group(GIB + 3 * MIB, MIB, 1U << SPACE_METADATA);
	for (i = 0; i < MODEL_WINDOWS; i++)
		space_window_init(&windows[i], &space, i % 2 ? SPACE_METADATA : SPACE_DATA);
	for (step = 0; step < 3000; step++) {
		model_step(&random);
		if (step % 250 == 0)
			model_compare();
	}
	assert_int_equal(space.grouped, 20 * MIB);
	while (model.held_count)
		model_drop(&random, false);
	model_compare();
	assert_int_equal(space_used(&space, SPACE_DATA) + space_used(&space, SPACE_METADATA), 0);
	space_end();
}

#define THREADS 8U
#define THREAD_HELD 48U

/* Whose each unit is: 0, or the thread's number and 1. */
static struct crowd {
	order_u32 owners[MODEL_UNITS];
	uint64_t seed;
	unsigned turns;
	order_u32 wrong;
	order_u64 taken;
	order_u64 refused;
} crowd;

struct worker {
	struct random_state random;
	uint32_t name;
	struct space_window windows[SPACE_KINDS];
	struct space_piece held[THREAD_HELD];
	unsigned held_count;
};

static void worker_change(struct worker *worker, const struct space_piece *piece, bool take)
{
	uint64_t at = (piece->bytenr - GIB) / UNIT;
	uint64_t end = at + piece->bytes / UNIT;

	for (; at < end && at < MODEL_UNITS; at++) {
		/* Relaxed: the space's locks order who has it; the exchange sees who has it too. */
		uint32_t before =
			order_exchange_relaxed(&crowd.owners[at], take ? worker->name : 0);

		if (before != (take ? 0 : worker->name))
			order_fetch_add_relaxed(&crowd.wrong, 1);
	}
	if (at != end)
		order_fetch_add_relaxed(&crowd.wrong, 1);
}

static void worker_take(struct worker *worker)
{
	enum space_kind kind = random_state_chance(&worker->random, 1, 2) ? SPACE_DATA :
									    SPACE_METADATA;
	struct space_window *window = &worker->windows[kind];
	struct space_piece piece = { 0, NODE };
	uint64_t bytes = (1 + random_state_below(&worker->random, 100)) * UNIT;
	int result;

	if (kind == SPACE_DATA) {
		result = space_take(window, bytes, UNIT, &piece.bytenr, &piece.bytes);
	} else {
		result = space_blocks_reserve(window, 1);
		piece.bytenr = result ? 0 : space_block_take(window);
	}
	order_fetch_add_relaxed(result ? &crowd.refused : &crowd.taken, 1);
	if (result && result != -ENOSPC)
		order_fetch_add_relaxed(&crowd.wrong, 1);
	if (result)
		return;
	worker_change(worker, &piece, true);
	worker->held[worker->held_count++] = piece;
}

static void worker_drop(struct worker *worker)
{
	unsigned at = (unsigned)random_state_below(&worker->random, worker->held_count);
	struct space_piece piece = worker->held[at];

	worker->held[at] = worker->held[--worker->held_count];
	worker_change(worker, &piece, false);
	space_free(&space, piece.bytenr, piece.bytes);
}

static void worker_main(void *argument, unsigned thread)
{
	struct worker worker = { .name = thread + 1 };
	unsigned turn;
	unsigned kind;

	(void)argument;
	random_state_seed(&worker.random, crowd.seed, thread);
	for (kind = 0; kind < SPACE_KINDS; kind++)
		space_window_init(&worker.windows[kind], &space, (enum space_kind)kind);
	for (turn = 0; turn < crowd.turns; turn++) {
		bool full = worker.held_count == THREAD_HELD;

		if (worker.held_count && (full || random_state_chance(&worker.random, 45, 100)))
			worker_drop(&worker);
		else
			worker_take(&worker);
	}
	while (worker.held_count)
		worker_drop(&worker);
	for (kind = 0; kind < SPACE_KINDS; kind++)
		space_window_drain(&worker.windows[kind]);
}

static void crowd_run(uint64_t capacity, unsigned turns)
{
	uint64_t at;

	memset(&crowd, 0, sizeof(crowd));
	crowd.seed = threads_data_seed("space_model_test");
	crowd.turns = turns;
	space_begin(capacity);
	threads_run(THREADS, worker_main, NULL);
	assert_int_equal(order_load_relaxed(&crowd.wrong), 0);
	assert_in_range(space.grouped, 1, capacity);
	assert_int_equal(space_used(&space, SPACE_DATA), 0);
	assert_int_equal(space_used(&space, SPACE_METADATA), 0);
	for (at = 0; at < capacity / UNIT; at++) {
		assert_int_equal(order_load_relaxed(&crowd.owners[at]), 0);
		assert_false(space_is_used(&space, GIB + at * UNIT, UNIT));
	}
	space_end();
}

static void threads_share_a_space(void **state)
{
	(void)state;
	crowd_run(96 * MIB, 20000);
	/* All that there was has been taken many times. */
	assert_true(order_load_relaxed(&crowd.taken) > 3 * (96 * MIB / UNIT));
}

static void threads_share_what_is_too_little(void **state)
{
	(void)state;
	/* Less than one thread takes where it can. Each refusal waits for RCU: fewer turns. */
	crowd_run(4 * MIB, 400);
	assert_true(order_load_relaxed(&crowd.refused) > 0);
	assert_true(order_load_relaxed(&crowd.taken) > THREADS * THREAD_HELD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(histories_are_as_the_model_says),
		cmocka_unit_test(threads_share_a_space),
		cmocka_unit_test(threads_share_what_is_too_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
