/* SPDX-License-Identifier: MIT */
#include "tests/support/image_build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/disk/csum.h"
#include "tests/support/chunk_item.h"
#include "tests/support/super_image.h"

#define SECTOR UINT64_C(4096)
#define LEVELS 8
/* Where another super block would be: 64 KiB from there on stay free. */
#define SECOND_SUPER (UINT64_C(64) << 20)

static void *grow(void *array, size_t count, size_t *capacity, size_t bytes)
{
	if (count < *capacity)
		return array;
	*capacity = *capacity ? *capacity * 2 : 64;
	array = realloc(array, *capacity * bytes);
	assert_non_null(array);
	return array;
}

struct image_build *image_build_create(uint32_t node_bytes, enum image_profile profile)
{
	struct image_build *build = calloc(1, sizeof(*build));

	assert_non_null(build);
	build->node_bytes = node_bytes;
	build->profile = profile;
	build->next_system = IMAGE_SYSTEM_AT;
	build->next_metadata = IMAGE_METADATA_AT;
	return build;
}

void image_items_free(struct image_items *items)
{
	for (size_t i = 0; i < items->count; i++)
		free(items->items[i].data);
	free(items->items);
	*items = (struct image_items){ 0 };
}

void image_build_free(struct image_build *build)
{
	for (size_t i = 0; i < build->block_count; i++)
		free(build->blocks[i].bytes);
	free(build->blocks);
	image_items_free(&build->roots);
	image_items_free(&build->chunks);
	free(build);
}

uint8_t *image_build_block(struct image_build *build, uint64_t owner, uint8_t level)
{
	bool system = owner == BTRFS_CHUNK_TREE_OBJECTID;
	uint64_t *next = system ? &build->next_system : &build->next_metadata;
	struct image_block *block;
	struct format_header *header;

	build->blocks = grow(build->blocks, build->block_count, &build->block_capacity,
			     sizeof(*build->blocks));
	block = &build->blocks[build->block_count++];
	if (*next + build->node_bytes > SECOND_SUPER && *next < SECOND_SUPER + 65536)
		*next = SECOND_SUPER + 65536;
	*block = (struct image_block){ .bytenr = *next, .bytes = calloc(1, build->node_bytes) };
	assert_non_null(block->bytes);
	*next += build->node_bytes;
	assert_true(build->next_system <= IMAGE_SYSTEM_AT + IMAGE_SYSTEM_BYTES);
	assert_true(build->next_metadata <= IMAGE_METADATA_AT + IMAGE_METADATA_BYTES);
	header = image_header(block->bytes);
	memset(header->fsid, IMAGE_FSID, sizeof(header->fsid));
	memset(header->chunk_tree_uuid, 0x33, sizeof(header->chunk_tree_uuid));
	header->bytenr = block->bytenr;
	header->flags = BTRFS_HEADER_FLAG_WRITTEN | UINT64_C(1) << 56;
	header->generation = IMAGE_GENERATION;
	header->owner = owner;
	header->level = level;
	return block->bytes;
}

struct image_block *image_build_find(struct image_build *build, const uint8_t *block)
{
	for (size_t i = 0; i < build->block_count; i++)
		if (build->blocks[i].bytes == block)
			return &build->blocks[i];
	fail_msg("no such block");
	return NULL;
}

struct format_item *image_item_at(uint8_t *leaf, uint32_t slot)
{
	return (struct format_item *)(leaf + sizeof(struct format_header)) + slot;
}

struct format_key_ptr *image_pointer_at(uint8_t *node, uint32_t slot)
{
	return (struct format_key_ptr *)(node + sizeof(struct format_header)) + slot;
}

uint8_t *image_data_at(uint8_t *leaf, uint32_t slot)
{
	return leaf + sizeof(struct format_header) + image_item_at(leaf, slot)->offset;
}

static struct btrfs_disk_key disk_key(const struct format_key *key)
{
	struct btrfs_disk_key disk = {
		.objectid = key->objectid,
		.type = key->type,
		.offset = key->offset,
	};

	return disk;
}

bool image_leaf_add(const struct image_build *build, uint8_t *leaf, const struct image_item *item)
{
	struct format_header *header = image_header(leaf);
	uint32_t count = header->nritems;
	uint32_t end = build->node_bytes - (uint32_t)sizeof(*header);
	struct format_item *slot = image_item_at(leaf, count);

	if (count)
		end = image_item_at(leaf, count - 1)->offset;
	if ((count + 1) * sizeof(*slot) + item->bytes > end)
		return false;
	slot->key = disk_key(&item->key);
	slot->offset = end - item->bytes;
	slot->size = item->bytes;
	if (item->bytes)
		memcpy(image_data_at(leaf, count), item->data, item->bytes);
	header->nritems = count + 1;
	return true;
}

void image_node_add(uint8_t *node, const uint8_t *child)
{
	struct format_header *header = image_header(node);
	struct format_key_ptr *slot = image_pointer_at(node, header->nritems);

	/* Items and pointers both begin with their key. */
	memcpy(&slot->key, child + sizeof(*header), sizeof(slot->key));
	slot->blockptr = image_bytenr(child);
	slot->generation = format_le64(&((const struct format_header *)child)->generation);
	header->nritems = header->nritems + 1;
}

void image_items_add(struct image_items *items, uint64_t objectid, uint8_t type, uint64_t offset,
		     const void *data, size_t bytes)
{
	struct image_item *item;

	items->items = grow(items->items, items->count, &items->capacity, sizeof(*items->items));
	item = &items->items[items->count++];
	item->key = (struct format_key){ .objectid = objectid, .type = type, .offset = offset };
	item->bytes = (uint32_t)bytes;
	item->data = malloc(bytes + 1);
	assert_non_null(item->data);
	if (bytes)
		memcpy(item->data, data, bytes);
}

static int compare_items(const void *a, const void *b)
{
	const struct image_item *left = a;
	const struct image_item *right = b;

	return format_key_compare(&left->key, &right->key);
}

/* Nodes of `level` above the `count` blocks, which are replaced by them. Returns how many. */
static size_t add_level(struct image_build *build, uint64_t owner, uint8_t level, uint8_t **blocks,
			size_t count, size_t fanout)
{
	size_t room =
		(build->node_bytes - sizeof(struct format_header)) / sizeof(struct format_key_ptr);
	size_t made = 0;

	if (!fanout || fanout > room)
		fanout = room;
	for (size_t i = 0; i < count; made++) {
		uint8_t *node = image_build_block(build, owner, level);

		for (size_t end = i + fanout; i < count && i < end; i++)
			image_node_add(node, blocks[i]);
		blocks[made] = node;
	}
	return made;
}

uint8_t *image_build_tree(struct image_build *build, uint64_t owner, struct image_items *items,
			  unsigned leaf_items, unsigned fanout)
{
	uint8_t **blocks = calloc(items->count + 1, sizeof(*blocks));
	uint8_t *root;
	size_t count = 1;
	uint8_t level = 0;

	assert_non_null(blocks);
	if (items->count)
		qsort(items->items, items->count, sizeof(*items->items), compare_items);
	blocks[0] = image_build_block(build, owner, 0);
	for (size_t i = 0; i < items->count; i++) {
		uint8_t *leaf = blocks[count - 1];

		if ((leaf_items && image_header(leaf)->nritems == leaf_items) ||
		    !image_leaf_add(build, leaf, &items->items[i])) {
			leaf = blocks[count++] = image_build_block(build, owner, 0);
			assert_true(image_leaf_add(build, leaf, &items->items[i]));
		}
	}
	while (count > 1) {
		assert_true(++level < LEVELS);
		count = add_level(build, owner, level, blocks, count, fanout);
	}
	root = blocks[0];
	free(blocks);
	return root;
}

static void make_chunk(const struct image_build *build, struct chunk_item *item, uint64_t logical,
		       uint64_t bytes, uint64_t type)
{
	static const uint64_t profiles[] = { 0, BTRFS_BLOCK_GROUP_DUP, BTRFS_BLOCK_GROUP_RAID1 };
	enum image_profile profile = type & BTRFS_BLOCK_GROUP_DATA ? IMAGE_SINGLE : build->profile;
	struct btrfs_chunk *fields = chunk_item_fields(item);
	struct btrfs_stripe *stripe = &fields->stripe;

	chunk_item_make(item, bytes, type | profiles[profile], profile == IMAGE_SINGLE ? 1 : 2);
	chunk_put64(&stripe[0].devid, 1);
	chunk_put64(&stripe[0].offset, logical);
	if (profile == IMAGE_SINGLE)
		return;
	chunk_put64(&stripe[1].devid, profile == IMAGE_RAID1 ? 2 : 1);
	chunk_put64(&stripe[1].offset, logical + IMAGE_COPY_OFFSET);
}

static void add_chunk(struct image_build *build, uint64_t logical, uint64_t bytes, uint64_t type)
{
	struct chunk_item item;

	make_chunk(build, &item, logical, bytes, type);
	image_items_add(&build->chunks, BTRFS_FIRST_CHUNK_TREE_OBJECTID, BTRFS_CHUNK_ITEM_KEY,
			logical, chunk_item_fields(&item), item.size);
}

static void fill_super(struct image_build *build, const uint8_t *root, const uint8_t *chunk_root)
{
	struct btrfs_disk_key key = { .objectid = BTRFS_FIRST_CHUNK_TREE_OBJECTID,
				      .type = BTRFS_CHUNK_ITEM_KEY,
				      .offset = IMAGE_SYSTEM_AT };
	struct format_super *super = &build->super;
	struct chunk_item item;

	super_image_make(super, IMAGE_FSID, 1, build->profile == IMAGE_RAID1 ? 2 : 1);
	super->generation = IMAGE_GENERATION;
	super->chunk_root_generation = IMAGE_GENERATION;
	super->nodesize = build->node_bytes;
	super->leafsize = build->node_bytes;
	super->csum_type = build->csum_type;
	super->root = image_bytenr(root);
	super->root_level = ((const struct format_header *)root)->level;
	super->chunk_root = image_bytenr(chunk_root);
	super->chunk_root_level = ((const struct format_header *)chunk_root)->level;
	make_chunk(build, &item, IMAGE_SYSTEM_AT, IMAGE_SYSTEM_BYTES, BTRFS_BLOCK_GROUP_SYSTEM);
	memset(super->sys_chunk_array, 0, sizeof(super->sys_chunk_array));
	memcpy(super->sys_chunk_array, &key, sizeof(key));
	memcpy(super->sys_chunk_array + sizeof(key), chunk_item_fields(&item), item.size);
	super->sys_chunk_array_size = (uint32_t)(sizeof(key) + item.size);
}

void image_build_finish(struct image_build *build)
{
	uint8_t *chunk_root;
	uint8_t *root;

	add_chunk(build, IMAGE_SYSTEM_AT, IMAGE_SYSTEM_BYTES, BTRFS_BLOCK_GROUP_SYSTEM);
	add_chunk(build, IMAGE_METADATA_AT, IMAGE_METADATA_BYTES, BTRFS_BLOCK_GROUP_METADATA);
	add_chunk(build, IMAGE_DATA_AT, IMAGE_DATA_BYTES, BTRFS_BLOCK_GROUP_DATA);
	chunk_root = image_build_tree(build, BTRFS_CHUNK_TREE_OBJECTID, &build->chunks, 0, 0);
	root = image_build_tree(build, BTRFS_ROOT_TREE_OBJECTID, &build->roots, 0, 0);
	fill_super(build, root, chunk_root);
}

static uint8_t *block_at(struct image_build *build, uint64_t bytenr)
{
	for (size_t i = 0; i < build->block_count; i++)
		if (build->blocks[i].bytenr == bytenr)
			return build->blocks[i].bytes;
	fail_msg("no block at %llu", (unsigned long long)bytenr);
	return NULL;
}

uint8_t *image_build_root_tree(struct image_build *build)
{
	return block_at(build, build->super.root);
}

uint8_t *image_build_chunk_tree(struct image_build *build)
{
	return block_at(build, build->super.chunk_root);
}

uint64_t image_build_physical(const struct image_build *build, uint64_t bytenr, unsigned copy)
{
	(void)build;
	return copy ? bytenr + IMAGE_COPY_OFFSET : bytenr;
}

static void write_at(int fd, const void *bytes, size_t count, uint64_t at)
{
	assert_int_equal(pwrite(fd, bytes, count, (off_t)at), count);
}

void image_build_write(const struct image_build *build, unsigned device, int fd)
{
	struct format_super super = build->super;
	unsigned copies = build->profile == IMAGE_DUP ? 2 : 1;

	assert_int_equal(ftruncate(fd, (off_t)IMAGE_FILE_BYTES), 0);
	super.dev_item.devid = device + 1;
	memset(super.dev_item.uuid, (int)device + 1, sizeof(super.dev_item.uuid));
	super_image_write(fd, 0, &super);
	for (size_t i = 0; i < build->block_count; i++) {
		const struct image_block *block = &build->blocks[i];
		unsigned first = build->profile == IMAGE_RAID1 ? device : 0;

		if (block->absent)
			continue;
		if (!block->keep_csum)
			csum_block_write(build->csum_type, block->bytes, build->node_bytes);
		for (unsigned copy = first; copy < first + copies; copy++)
			write_at(fd, block->bytes, build->node_bytes,
				 image_build_physical(build, block->bytenr, copy));
	}
}
