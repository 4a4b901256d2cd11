/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/hand_forest.h"

#include <string.h>

#include "core/disk/put.h"

struct hand_forest hand_forest;

struct format_key hand_forest_key(uint64_t objectid, uint64_t offset)
{
	return (struct format_key){ objectid, offset, BTRFS_EXTENT_DATA_KEY };
}

static void block_make(enum hand_place place, uint8_t level, uint64_t owner, int refs, bool full)
{
	struct buffer *buffer = buffer_create(&hand_forest.forest.buffers, NULL, HAND_AT(place),
					      HAND_GENERATION, level);
	struct format_header *header;

	assert_non_null(buffer);
	memset(buffer->data, 0, HAND_NODE);
	header = (struct format_header *)buffer->data;
	put_le64(&header->bytenr, HAND_AT(place));
	put_le64(&header->generation, HAND_GENERATION);
	put_le64(&header->owner, owner);
	header->level = level;
	assert_int_equal(buffer_publish(buffer), 0);
	buffer_lock(buffer);
	buffer_unlock(buffer, refs - 1, full);
	hand_forest.blocks[place] = buffer;
}

struct format_key_ptr *hand_forest_pointer(enum hand_place place, uint32_t slot)
{
	return (struct format_key_ptr *)(hand_forest.blocks[place]->data +
					 sizeof(struct format_header)) +
	       slot;
}

struct format_item *hand_forest_item(enum hand_place place, uint32_t slot)
{
	return (struct format_item *)(hand_forest.blocks[place]->data +
				      sizeof(struct format_header)) +
	       slot;
}

struct btrfs_file_extent_item *hand_forest_extent(enum hand_place place, uint32_t slot)
{
	return (struct btrfs_file_extent_item *)(hand_forest.blocks[place]->data +
						 sizeof(struct format_header) +
						 format_le32(
							 &hand_forest_item(place, slot)->offset));
}

static uint32_t count_up(enum hand_place place)
{
	struct format_header *header = (struct format_header *)hand_forest.blocks[place]->data;
	uint32_t slot = format_le32(&header->nritems);

	put_le32(&header->nritems, slot + 1);
	return slot;
}

static void point(enum hand_place place, uint64_t objectid, uint64_t offset, uint64_t child)
{
	const struct format_key key = hand_forest_key(objectid, offset);
	struct format_key_ptr *pointer = hand_forest_pointer(place, count_up(place));

	put_key(&pointer->key, &key);
	put_le64(&pointer->blockptr, child);
	put_le64(&pointer->generation, HAND_GENERATION);
}

/* A whole extent at `offset` of the inode. */
void hand_forest_put(enum hand_place place, uint64_t inode, uint64_t offset, uint64_t bytenr)
{
	const struct format_key key = hand_forest_key(inode, offset);
	uint32_t slot = count_up(place);
	uint32_t bytes = sizeof(struct btrfs_file_extent_item);
	uint32_t end = slot ? format_le32(&hand_forest_item(place, slot - 1)->offset) :
			      HAND_NODE - (uint32_t)sizeof(struct format_header);
	struct format_item *item = hand_forest_item(place, slot);
	struct btrfs_file_extent_item *extent;

	put_key(&item->key, &key);
	put_le32(&item->offset, end - bytes);
	put_le32(&item->size, bytes);
	extent = hand_forest_extent(place, slot);
	extent->type = BTRFS_FILE_EXTENT_REG;
	put_le64(&extent->disk_bytenr, bytenr);
	put_le64(&extent->disk_num_bytes, bytenr ? HAND_DATA : 0);
	put_le64(&extent->num_bytes, HAND_DATA);
	put_le64(&extent->ram_bytes, HAND_DATA);
}

static void make_nodes(void)
{
	block_make(HAND_TOP, 1, 256, 1, false);
	block_make(HAND_LEFT, 0, 256, 2, false);
	block_make(HAND_COPY, 0, 256, 1, false);
	block_make(HAND_SNAP, 1, 257, 1, false);
	block_make(HAND_FULL, 0, 256, 1, true);
	block_make(HAND_DROP_TOP, 2, 258, 1, false);
	block_make(HAND_PATH, 1, 258, 1, false);
	block_make(HAND_DROP_LEAF, 0, 258, 1, false);
	block_make(HAND_REST, 1, 258, 1, false);
	block_make(HAND_REST_LEAF, 0, 258, 1, false);
	point(HAND_TOP, 300, 0, HAND_AT(HAND_LEFT));
	point(HAND_TOP, 301, 0, HAND_AT(HAND_COPY));
	point(HAND_SNAP, 300, 0, HAND_AT(HAND_LEFT));
	point(HAND_SNAP, 301, 0, HAND_AT(HAND_FULL));
	hand_forest_put(HAND_LEFT, 300, 0, HAND_DATA_AT(0));
	hand_forest_put(HAND_LEFT, 300, HAND_DATA, 0);
	hand_forest_put(HAND_LEFT, 300, 2 * HAND_DATA, HAND_DATA_AT(0));
	hand_forest_put(HAND_COPY, 301, 0, HAND_DATA_AT(1));
	hand_forest_put(HAND_COPY, 301, HAND_DATA, HAND_DATA_AT(2));
	hand_forest_put(HAND_FULL, 301, 0, HAND_DATA_AT(1));
	hand_forest_put(HAND_FULL, 301, HAND_DATA, HAND_DATA_AT(1));
	point(HAND_DROP_TOP, 300, 0, HAND_GONE);
	point(HAND_DROP_TOP, 310, 0, HAND_AT(HAND_PATH));
	point(HAND_DROP_TOP, 320, 0, HAND_AT(HAND_REST));
	point(HAND_PATH, 310, 0, HAND_GONE);
	point(HAND_PATH, 311, 0, HAND_AT(HAND_DROP_LEAF));
	point(HAND_REST, 320, 0, HAND_AT(HAND_REST_LEAF));
	hand_forest_put(HAND_DROP_LEAF, 311, 0, HAND_DATA_AT(3));
	hand_forest_put(HAND_REST_LEAF, 320, 0, HAND_DATA_AT(3));
}

void hand_forest_index(uint64_t bytenr, uint64_t from, uint64_t owner, uint64_t offset,
		       uint32_t count, uint8_t type)
{
	const struct extent_ref ref = { from, owner, offset, count, type };
	bool metadata = type == RS_DELTA_TREE_BLOCK_REF || type == RS_DELTA_SHARED_BLOCK_REF;

	assert_int_equal(extent_index_load(hand_forest.forest.extents, bytenr,
					   metadata ? HAND_NODE : HAND_DATA, metadata, &ref),
			 0);
}

static void index_block(enum hand_place place, uint64_t root)
{
	hand_forest_index(HAND_AT(place), root, hand_forest.blocks[place]->level, 0, 1,
			  RS_DELTA_TREE_BLOCK_REF);
}

void hand_forest_index_data(unsigned place, uint64_t root, uint64_t inode, uint64_t offset)
{
	hand_forest_index(HAND_DATA_AT(place), root, inode, offset, 1, RS_DELTA_EXTENT_DATA_REF);
}

static void make_index(void)
{
	index_block(HAND_TOP, 256);
	index_block(HAND_LEFT, 256);
	index_block(HAND_LEFT, 257);
	index_block(HAND_COPY, 256);
	index_block(HAND_SNAP, 257);
	index_block(HAND_FULL, 257);
	index_block(HAND_DROP_TOP, 258);
	index_block(HAND_PATH, 258);
	index_block(HAND_DROP_LEAF, 258);
	index_block(HAND_REST, 258);
	index_block(HAND_REST_LEAF, 258);
	hand_forest_index_data(0, 256, 300, 0);
	hand_forest_index_data(0, 256, 300, 2 * HAND_DATA);
	hand_forest_index_data(1, 256, 301, 0);
	hand_forest_index(HAND_DATA_AT(1), HAND_AT(HAND_FULL), 0, 0, 2, RS_DELTA_SHARED_DATA_REF);
	hand_forest_index_data(2, 256, 301, HAND_DATA);
	hand_forest_index_data(3, 258, 311, 0);
	hand_forest_index_data(3, 258, 320, 0);
}

static void root_make(unsigned at, uint64_t id, enum hand_place node)
{
	hand_forest.commits[at] = (struct root_commit){ .node = hand_forest.blocks[node],
							.generation = HAND_GENERATION };
	memset(&hand_forest.roots[at], 0, sizeof(hand_forest.roots[at]));
	hand_forest.roots[at].forest = &hand_forest.forest;
	hand_forest.roots[at].id = id;
	order_store_relaxed(&hand_forest.roots[at].commit,
			    &hand_forest.commits[at]); /* relaxed: one thread */
}

void hand_forest_make(void)
{
	enum hand_place place;

	memset(&hand_forest, 0, sizeof(hand_forest));
	hand_forest.forest.node_bytes = HAND_NODE;
	assert_int_equal(buffer_map_init(&hand_forest.forest.buffers, HAND_NODE), 0);
	assert_int_equal(extent_index_create(&hand_forest.forest.extents), 0);
	assert_int_equal(space_init(&hand_forest.forest.space, HAND_NODE, UINT64_C(1) << 30), 0);
	assert_int_equal(space_add_group(&hand_forest.forest.space, HAND_GROUP, HAND_GROUP_BYTES,
					 SPACE_DATA, true),
			 0);
	make_nodes();
	make_index();
	for (place = 0; place < HAND_PLACES; place++)
		assert_int_equal(space_mark(&hand_forest.forest.space, HAND_AT(place), HAND_NODE),
				 0);
	assert_int_equal(space_mark(&hand_forest.forest.space, HAND_DATA_AT(0), 4 * HAND_DATA), 0);
	root_make(0, 256, HAND_TOP);
	root_make(1, 257, HAND_SNAP);
	root_make(2, 258, HAND_DROP_TOP);
	hand_forest.commits[2].dropping = true;
	hand_forest.commits[2].drop_level = 1;
	hand_forest.commits[2].drop_progress = hand_forest_key(311, 0);
}

void hand_forest_destroy(void)
{
	buffer_map_destroy(&hand_forest.forest.buffers);
	extent_index_destroy(hand_forest.forest.extents);
	space_destroy(&hand_forest.forest.space);
}
