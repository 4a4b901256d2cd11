/* SPDX-License-Identifier: MIT */
/*
 * Memory that the process of a round shares with the one that watches it. All words are relaxed: each
 * stands for itself, or is read when the round's process has ended. Callers: a seat is written by its
 * thread, all else by who runs the round; any process reads.
 */
#ifndef REFSTORM_STRESS_FOREST_BOARD_H
#define REFSTORM_STRESS_FOREST_BOARD_H

#include "core/base/order.h"
#include "stress/forest/campaign.h"
#include "workloads/script_random.h"

#define BOARD_SEATS (SCRIPT_RANDOM_THREADS_MAX + 1) /* the first one is of lines of no thread */
#define BOARD_LINES 16U                             /* the last ones of each thread */
#define BOARD_FINDING_BYTES 65536U

enum board_outcome {
	BOARD_RUNS,
	BOARD_DONE,
	BOARD_WRONG,
	BOARD_LEAKS,
	BOARD_UNUSABLE,
};

struct board_seat {
	order_u32 thread; /* the kernel's id; 0: none */
	order_u32 inside; /* an operation */
	order_u64 begun;  /* operations */
	order_u32 lines[BOARD_LINES];
	order_u64 done[SCRIPT_KINDS];
	order_u64 failed[CAMPAIGN_ERRNO_MAX];
} __attribute__((aligned(ORDER_LINE)));

struct board {
	struct board_seat seats[BOARD_SEATS];
	order_u32 seats_taken;
	order_u32 stacks;  /* that threads have written on demand */
	order_u64 steps;   /* of the round outside of operations: moves on */
	order_ptr doing;   /* what it does, a text of the program itself */
	order_u32 outcome; /* enum board_outcome */
	order_u64 recounts;
	order_u64 groups;
	order_u64 references;
	order_u64 actions;
	order_u64 refused;
	order_u32 aborted;
	order_u64 window_stalls[STALLS_WINDOWS_MAX];
	order_u64 state_digest;
	char why[CAMPAIGN_WHY_BYTES];
	char finding[BOARD_FINDING_BYTES];
};

/* Zeroed; NULL: no memory. Children of fork see the same. */
struct board *board_create(void);
void board_destroy(struct board *board);
/* While no process runs that uses it. */
void board_clear(struct board *board);

/* The next step of the round, which is told by `doing`. */
void board_step(struct board *board, const char *doing);

/* What moves for as long as anything does. */
uint64_t board_progress(const struct board *board);
uint64_t board_operations(const struct board *board);
/* The last line of the script that any thread has begun. */
uint32_t board_last_line(const struct board *board);

/* Adds what was done to the result. */
void board_add_up(const struct board *board, struct campaign_result *result);

#endif /* REFSTORM_STRESS_FOREST_BOARD_H */
