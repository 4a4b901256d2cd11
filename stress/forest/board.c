/* SPDX-License-Identifier: MIT */
#include "stress/forest/board.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

/* Mapped and not allocated: no allocator's memory is shared after a fork. */
struct board *board_create(void)
{
	struct board *board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return board == MAP_FAILED ? NULL : board;
}

void board_destroy(struct board *board)
{
	if (board)
		munmap(board, sizeof(*board));
}

void board_clear(struct board *board)
{
	memset(board, 0, sizeof(*board));
}

void board_step(struct board *board, const char *doing)
{
	/* Relaxed: for who watches. */
	order_store_relaxed(&board->doing, (void *)(uintptr_t)doing);
	order_fetch_add_relaxed(&board->steps, 1);
}

uint64_t board_operations(const struct board *board)
{
	uint64_t sum = 0;
	unsigned at;

	/* Relaxed: sums. */
	for (at = 0; at < BOARD_SEATS; at++)
		sum += order_load_relaxed(&board->seats[at].begun);
	return sum;
}

uint64_t board_progress(const struct board *board)
{
	uint64_t sum = order_load_relaxed(&board->steps);
	unsigned at;

	/* Relaxed: whether it moves. An operation that ends is progress too. */
	for (at = 0; at < BOARD_SEATS; at++)
		sum += 2 * order_load_relaxed(&board->seats[at].begun) -
		       order_load_relaxed(&board->seats[at].inside);
	return sum;
}

uint32_t board_last_line(const struct board *board)
{
	uint32_t last = 0;
	unsigned line;
	unsigned at;

	/* Relaxed: the process has ended, or hangs. */
	for (at = 0; at < BOARD_SEATS; at++)
		for (line = 0; line < BOARD_LINES; line++) {
			uint32_t number = order_load_relaxed(&board->seats[at].lines[line]);

			last = number > last ? number : last;
		}
	return last;
}

void board_add_up(const struct board *board, struct campaign_result *result)
{
	unsigned seat;
	unsigned at;

	/* Relaxed, all: the process has ended. */
	for (seat = 0; seat < BOARD_SEATS; seat++) {
		const struct board_seat *one = &board->seats[seat];

		for (at = 0; at < SCRIPT_KINDS; at++)
			result->operations[at] += order_load_relaxed(&one->done[at]);
		for (at = 0; at < CAMPAIGN_ERRNO_MAX; at++)
			result->failed[at] += order_load_relaxed(&one->failed[at]);
	}
	result->recounts += order_load_relaxed(&board->recounts);
	result->groups += order_load_relaxed(&board->groups);
	result->references += order_load_relaxed(&board->references);
	result->actions += order_load_relaxed(&board->actions);
	result->refused += order_load_relaxed(&board->refused);
	result->aborted += order_load_relaxed(&board->aborted);
	for (at = 0; at < STALLS_WINDOWS_MAX; at++) {
		uint64_t stalls = order_load_relaxed(&board->window_stalls[at]);

		result->window_stalls[at] += stalls;
		result->stalls += stalls;
	}
}
