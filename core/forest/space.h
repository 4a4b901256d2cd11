/* SPDX-License-Identifier: MIT */
/*
 * The logical address space: block groups for data and for metadata, and what of them is free.
 *
 * A writer has a window of each kind, free pieces that are its own, so that most allocations touch
 * nothing shared; a window is filled from a block group under that group's lock. What is freed
 * comes back at the end of the commit, or at once where nobody has seen it.
 *
 * Who may call: space_init, space_add_group, space_mark and space_destroy one thread, at rest; a window's
 * functions its owner; space_free any thread. Progress: blocking, on a lock of rank LOCK_RANK_SPACE.
 * Shared lines written by an allocation from a window: none.
 */
#ifndef REFSTORM_FOREST_SPACE_H
#define REFSTORM_FOREST_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/lock.h"
#include "core/base/order.h"

#define SPACE_UNIT 4096U
#define SPACE_PIECES 512U                      /* of a window */
#define SPACE_EXTENT_MAX (UINT64_C(256) << 20) /* as the kernel preallocates */

enum space_kind {
	SPACE_DATA,
	SPACE_METADATA,
	SPACE_KINDS,
};

struct space_group; /* a block group: a range, its kind, and a bit for each unit in use */
struct space_groups;

struct space_piece {
	uint64_t bytenr;
	uint64_t bytes;
};

/* Free pieces of one kind that belong to one writer. */
struct space_window {
	struct space *space;
	enum space_kind kind;
	size_t group; /* its number, where the search goes on */
	unsigned count;
	uint64_t bytes; /* in all of them */
	struct space_piece pieces[SPACE_PIECES];
};

struct space {
	struct lock lock;            /* protects the list of groups and its order */
	struct space_groups *groups; /* by the lock */
	uint32_t node_bytes;
	uint64_t capacity;              /* bytes that groups may have in all */
	uint64_t grouped;               /* that they have; by the lock */
	uint64_t end;                   /* of the last group; by the lock */
	order_u64 used[SPACE_KINDS];    /* bytes, windows too */
	order_u64 windows[SPACE_KINDS]; /* that were made: where the next one begins to search */
};

/* 0 or -ENOMEM. No groups yet: they are made when they are needed, 1 GiB of data or 256 MiB of metadata. */
int space_init(struct space *space, uint32_t node_bytes, uint64_t capacity)
	__attribute__((warn_unused_result));
void space_destroy(struct space *space);

/* A block group of an image. `mixed`: for both kinds. 0, -ENOMEM, -EUCLEAN if it overlaps another. */
int space_add_group(struct space *space, uint64_t bytenr, uint64_t bytes, enum space_kind kind,
		    bool mixed) __attribute__((warn_unused_result));
/* In use from the start. -EUCLEAN: not inside one group, or in use already. */
int space_mark(struct space *space, uint64_t bytenr, uint64_t bytes)
	__attribute__((warn_unused_result));

void space_window_init(struct space_window *window, struct space *space, enum space_kind kind);
/* Gives back what is in it. */
void space_window_drain(struct space_window *window);

/*
 * One piece of `bytes` in one place (at most SPACE_EXTENT_MAX), or of what there is if that is nowhere,
 * not below `bytes_min`; `*got` says how much. 0, -ENOSPC, -ENOMEM. What lies in others' windows is
 * not found. Before -ENOSPC it waits for what is deferred, as space_blocks_reserve does: not in an RCU section.
 */
int space_take(struct space_window *window, uint64_t bytes, uint64_t bytes_min, uint64_t *bytenr,
	       uint64_t *got) __attribute__((warn_unused_result));

/* Sees to it that `blocks` tree blocks can be taken without fail. 0, -ENOSPC, -ENOMEM. */
int space_blocks_reserve(struct space_window *window, unsigned blocks)
	__attribute__((warn_unused_result));
/* One of them: its address. */
uint64_t space_block_take(struct space_window *window);

/* Gives back to the window what was just taken, and nobody has seen; to the space if there is no room in it. */
void space_give_back(struct space_window *window, uint64_t bytenr, uint64_t bytes);

/* Free again. */
void space_free(struct space *space, uint64_t bytenr, uint64_t bytes);

/* Whether all of the range is in use: for checks. */
bool space_is_used(const struct space *space, uint64_t bytenr, uint64_t bytes);
uint64_t space_used(const struct space *space, enum space_kind kind);

#endif /* REFSTORM_FOREST_SPACE_H */
