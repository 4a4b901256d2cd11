/* SPDX-License-Identifier: MIT */
#include "tests/support/chunk_item.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

struct btrfs_chunk *chunk_item_fields(struct chunk_item *item)
{
	return (struct btrfs_chunk *)(item->bytes + 1);
}

void chunk_put64(void *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

void chunk_item_make(struct chunk_item *item, uint64_t bytes, uint64_t flags, unsigned stripes)
{
	struct btrfs_chunk *fields = chunk_item_fields(item);
	struct btrfs_stripe *stripe = &fields->stripe;

	assert_true(stripes <= 16);
	memset(item, 0, sizeof(*item));
	item->size = offsetof(struct btrfs_chunk, stripe) + stripes * sizeof(*stripe);
	chunk_put64(&fields->length, bytes);
	chunk_put64(&fields->owner, BTRFS_EXTENT_TREE_OBJECTID);
	chunk_put64(&fields->stripe_len, FORMAT_STRIPE_BYTES);
	chunk_put64(&fields->type, flags);
	fields->sector_size = CHUNK_SECTOR;
	fields->num_stripes = (uint16_t)stripes;
	fields->sub_stripes = flags & BTRFS_BLOCK_GROUP_RAID10 ? 2 : 1;
	for (unsigned i = 0; i < stripes; i++) {
		chunk_put64(&stripe[i].devid, 10 + i);
		chunk_put64(&stripe[i].offset, (i + 1) * MIB);
	}
}

int chunk_item_add(struct chunk_map *map, uint64_t logical, struct chunk_item *item)
{
	struct rs_error error = RS_ERROR_INIT;
	int ret = chunk_map_add(map, logical, chunk_item_fields(item), item->size, CHUNK_SECTOR,
				&error);

	assert_int_equal(error.code, ret);
	if (ret == -EUCLEAN) {
		assert_int_equal(error.address, logical);
		assert_true(error.what[0] != '\0');
	}
	return ret;
}

struct chunk_map *chunk_item_map(void)
{
	struct chunk_map *map = chunk_map_create();

	assert_non_null(map);
	return map;
}

uint64_t chunk_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}
