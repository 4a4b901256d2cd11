/* SPDX-License-Identifier: MIT */
#include "stress/record/keyspace.h"

#include <string.h>

#define KEYSPACE_FIRST (UINT64_C(16) << 20)
#define KEYSPACE_STEP 16384U
#define KEYSPACE_ROOT 256U
#define KEYSPACE_INODE 257U
#define KEYSPACE_PARENT (UINT64_C(1) << 30)

/* One slot of the narrow extents; what the masks let through comes from the extent's number. */
struct keyspace_slot {
	uint64_t root;
	uint64_t owner;
	uint64_t owner_mask;
	uint64_t offset_mask;
	uint64_t type;
};

#define BLOCK(n)                                                                                   \
	{                                                                                          \
		KEYSPACE_ROOT + (n), 0, 7, 0, RS_DELTA_TREE_BLOCK_REF                              \
	}
#define DATA(n)                                                                                    \
	{                                                                                          \
		KEYSPACE_ROOT + (n) % 2, KEYSPACE_INODE + (n) / 2, 0, 0xff000,                     \
			RS_DELTA_EXTENT_DATA_REF                                                   \
	}
#define SHARED(n, type, mask)                                                                      \
	{                                                                                          \
		KEYSPACE_PARENT + (n)*KEYSPACE_STEP, 0, mask, 0, type                              \
	}
#define ROOT(n)                                                                                    \
	{                                                                                          \
		KEYSPACE_ROOT + (n), 0, 0, 0, RS_DELTA_ROOT                                        \
	}

static const struct keyspace_slot keyspace_slots[KEYSPACE_SLOTS] = {
	BLOCK(0),
	BLOCK(1),
	BLOCK(2),
	BLOCK(3),
	DATA(0),
	DATA(1),
	DATA(2),
	DATA(3),
	SHARED(0, RS_DELTA_SHARED_BLOCK_REF, 7),
	SHARED(1, RS_DELTA_SHARED_BLOCK_REF, 7),
	SHARED(0, RS_DELTA_SHARED_DATA_REF, 0),
	SHARED(1, RS_DELTA_SHARED_DATA_REF, 0),
	ROOT(0),
	ROOT(1),
	ROOT(2),
	ROOT(3),
};

void keyspace_init(struct keyspace *space, uint32_t narrow, bool spread)
{
	static const unsigned shifts[4] = { 0, 40, 50, 60 };
	unsigned at;

	memset(space, 0, sizeof(*space));
	space->narrow = narrow;
	space->extents = narrow + KEYSPACE_WIDE;
	space->keys = narrow * KEYSPACE_SLOTS + KEYSPACE_WIDE * KEYSPACE_WIDE_SLOTS;
	for (at = 1; at < 4 && spread; at++)
		space->base[at] = UINT64_C(1) << shifts[at];
}

static unsigned keyspace_quarter(const struct keyspace *space, uint32_t extent)
{
	/* A quarter is a power of two only by chance: compare. */
	uint32_t quarter = space->narrow / 4;

	return (unsigned)(extent >= quarter) + (extent >= 2 * quarter) + (extent >= 3 * quarter);
}

uint64_t keyspace_bytenr(const struct keyspace *space, uint32_t extent)
{
	return space->base[keyspace_quarter(space, extent)] + KEYSPACE_FIRST +
	       (uint64_t)extent * KEYSPACE_STEP;
}

uint32_t keyspace_extent(const struct keyspace *space, uint64_t bytenr)
{
	unsigned quarter = 3;
	uint64_t extent;

	while (quarter && bytenr < space->base[quarter])
		quarter--;
	extent = (bytenr - space->base[quarter] - KEYSPACE_FIRST) / KEYSPACE_STEP;
	if (extent >= space->extents || keyspace_bytenr(space, (uint32_t)extent) != bytenr)
		return KEYSPACE_NONE;
	return (uint32_t)extent;
}

void keyspace_delta(const struct keyspace *space, uint32_t extent, uint32_t slot,
		    struct rs_delta *delta)
{
	const struct keyspace_slot *from = &keyspace_slots[slot % KEYSPACE_SLOTS];

	delta->bytenr = keyspace_bytenr(space, extent);
	delta->count = 0;
	delta->length_4k = 1 + extent % 32;
	if (__builtin_expect(keyspace_is_wide(space, extent), 0)) {
		delta->root = KEYSPACE_ROOT + slot % KEYSPACE_WIDE_ROOTS;
		delta->owner = 0;
		delta->offset = 0;
		delta->seq_type = slot < KEYSPACE_WIDE_ROOTS ? RS_DELTA_TREE_BLOCK_REF :
							       RS_DELTA_ROOT;
		return;
	}
	delta->root = from->root;
	delta->owner = from->owner + (extent & from->owner_mask);
	delta->offset = ((uint64_t)extent << 12) & from->offset_mask;
	delta->seq_type = from->type;
}

/* The only slot that could be the delta's; may be too high. */
static uint64_t keyspace_guess(const struct keyspace *space, uint32_t extent,
			       const struct rs_delta *delta)
{
	uint64_t root = delta->root - KEYSPACE_ROOT;
	uint64_t parent = (delta->parent - KEYSPACE_PARENT) / KEYSPACE_STEP;
	bool is_root = rs_delta_type(delta) == RS_DELTA_ROOT;

	if (keyspace_is_wide(space, extent))
		return root < KEYSPACE_WIDE_ROOTS ? root + (is_root ? KEYSPACE_WIDE_ROOTS : 0) :
						    UINT64_MAX;
	switch (rs_delta_type(delta)) {
	case RS_DELTA_TREE_BLOCK_REF:
		return root;
	case RS_DELTA_EXTENT_DATA_REF:
		return 4 + root + 2 * (delta->owner - KEYSPACE_INODE);
	case RS_DELTA_SHARED_BLOCK_REF:
		return 8 + parent;
	case RS_DELTA_SHARED_DATA_REF:
		return 10 + parent;
	case RS_DELTA_ROOT:
		return KEYSPACE_REFS + root;
	default:
		return UINT64_MAX;
	}
}

uint32_t keyspace_find(const struct keyspace *space, uint32_t extent, const struct rs_delta *delta)
{
	uint64_t slot = keyspace_guess(space, extent, delta);
	struct rs_delta whole;

	if (slot >= (keyspace_is_wide(space, extent) ? KEYSPACE_WIDE_SLOTS : KEYSPACE_SLOTS))
		return KEYSPACE_NONE;
	keyspace_delta(space, extent, (uint32_t)slot, &whole);
	if (whole.bytenr != delta->bytenr || whole.root != delta->root ||
	    whole.offset != delta->offset || whole.length_4k != delta->length_4k ||
	    whole.seq_type != (delta->seq_type & 0xff))
		return KEYSPACE_NONE;
	if (whole.seq_type != RS_DELTA_ROOT && whole.owner != delta->owner)
		return KEYSPACE_NONE;
	return keyspace_key(space, extent, (uint32_t)slot);
}
