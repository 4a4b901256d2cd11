// SPDX-License-Identifier: MIT
/*
 * The extent tree of an image. It is read in the order of keys, one block at a time, since that is how
 * the index of extents is filled, by one thread: an item, the references inside it, and those behind
 * it that have items of their own. What belongs to other trees than subvolumes is kept as it is.
 */
#include <errno.h>
#include <inttypes.h>

#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/forest/open.h"

/* The extent whose items are being read. */
struct current {
	uint64_t bytenr;
	uint64_t bytes; /* 0: there is none */
	uint64_t refs;  /* that its item says */
	uint64_t found;
	uint64_t leaf; /* for messages */
	uint8_t level; /* of a tree block */
	bool metadata;
	bool full;
};

struct extents {
	struct open_work *work;
	struct current current;
	uint64_t end; /* of the one before */
};

static int refuse(const struct current *current, const char *what, struct rs_error *error)
{
	return error_set_at(error, -EUCLEAN, current->bytenr, "extent of %" PRIu64 " bytes %s",
			    current->bytes, what);
}

/* What the trees say of the block, if it is one of theirs. */
static int finish_block(struct extents *extents, struct rs_error *error)
{
	const struct current *current = &extents->current;
	struct buffer *buffer = buffer_find(&extents->work->forest->buffers, current->bytenr);
	uint64_t pointers;

	if (!buffer)
		return 0;
	/* Relaxed, here and below: nobody else knows the forest yet. */
	pointers = buffer_refs(order_load_relaxed(&buffer->word));
	if (!current->metadata || buffer->level != current->level)
		return refuse(current, "is a tree block of another level", error);
	if (pointers != current->refs)
		return error_set_at(error, -EUCLEAN, current->bytenr,
				    "tree block has %" PRIu64 " references, and %" PRIu64
				    " pointers lead to it",
				    current->refs, pointers);
	order_store_relaxed(&buffer->word, pointers | (current->full ? BUFFER_FULL : 0));
	return 0;
}

/* All that is said of the extent has been read. */
static int finish_extent(struct extents *extents, struct rs_error *error)
{
	struct current *current = &extents->current;
	int ret = 0;

	if (!current->bytes)
		return 0;
	if (!current->refs || current->found != current->refs)
		return error_set_at(error, -EUCLEAN, current->bytenr,
				    "extent item says %" PRIu64
				    " references, its back references are %" PRIu64,
				    current->refs, current->found);
	ret = finish_block(extents, error);
	extents->end = current->bytenr + current->bytes;
	current->bytes = 0;
	return ret;
}

static int check_place(const struct extents *extents, struct rs_error *error)
{
	const struct current *current = &extents->current;
	const struct chunk_map *chunks = extents->work->image->chunks;
	uint64_t first = chunk_map_flags(chunks, current->bytenr);
	uint64_t last;
	uint64_t wanted = current->metadata ?
				  BTRFS_BLOCK_GROUP_METADATA | BTRFS_BLOCK_GROUP_SYSTEM :
				  BTRFS_BLOCK_GROUP_DATA;

	if (!current->bytes || current->bytes > FORMAT_EXTENT_BYTES_MAX ||
	    current->bytes % SPACE_UNIT || current->bytenr % SPACE_UNIT ||
	    current->bytenr > OPEN_ADDRESS_MAX - current->bytes)
		return refuse(current, "makes no sense", error);
	if (current->metadata && current->bytes != extents->work->forest->node_bytes)
		return refuse(current, "is a tree block of another size", error);
	if (current->bytenr < extents->end)
		return refuse(current, "overlaps the one before it", error);
	last = chunk_map_flags(chunks, current->bytenr + current->bytes - 1);
	if (!(first & last & wanted))
		return refuse(current, "lies in no block group of its kind", error);
	return 0;
}

/* System chunks are in no block group of ours. */
static int mark_used(struct extents *extents, struct rs_error *error)
{
	const struct current *current = &extents->current;
	int ret;

	if (chunk_map_flags(extents->work->image->chunks, current->bytenr) &
	    BTRFS_BLOCK_GROUP_SYSTEM)
		return 0;
	ret = space_mark(&extents->work->forest->space, current->bytenr, current->bytes);
	if (ret == -EUCLEAN)
		return refuse(current, "lies in no block group", error);
	return ret ? error_no_memory(error, "the block groups") : 0;
}

static int load_ref(struct extents *extents, const struct extent_ref *ref, struct rs_error *error)
{
	struct current *current = &extents->current;
	bool metadata = ref->type == BTRFS_TREE_BLOCK_REF_KEY ||
			ref->type == BTRFS_SHARED_BLOCK_REF_KEY;
	int ret;

	if (!ref->count || metadata != current->metadata)
		return refuse(current, "has a back reference that makes no sense", error);
	ret = extent_index_load(extents->work->forest->extents, current->bytenr, current->bytes,
				metadata, ref);
	current->found += ref->count;
	if (ret == -EUCLEAN)
		return refuse(current, "has two back references of one kind", error);
	return ret ? error_no_memory(error, "the index of extents") : 0;
}

static void read_data_ref(const struct btrfs_extent_data_ref *disk, struct extent_ref *ref)
{
	ref->root_or_parent = format_le64(&disk->root);
	ref->owner = format_le64(&disk->objectid);
	ref->offset = format_le64(&disk->offset);
	ref->count = format_le32(&disk->count);
}

/* Bytes of the inline reference at `at`, its type among them; 0 if it is of an unknown type or cut off. */
static uint32_t read_inline_ref(const struct current *current, const uint8_t *at, uint32_t left,
				struct extent_ref *ref)
{
	uint32_t bytes = 1 + sizeof(__le64);

	*ref = (struct extent_ref){ .count = 1, .type = at[0] };
	if (ref->type == BTRFS_EXTENT_DATA_REF_KEY)
		bytes = 1 + sizeof(struct btrfs_extent_data_ref);
	else if (ref->type == BTRFS_SHARED_DATA_REF_KEY)
		bytes += (uint32_t)sizeof(__le32);
	else if (ref->type != BTRFS_TREE_BLOCK_REF_KEY && ref->type != BTRFS_SHARED_BLOCK_REF_KEY)
		return 0;
	if (bytes > left)
		return 0;
	if (ref->type == BTRFS_EXTENT_DATA_REF_KEY)
		read_data_ref((const struct btrfs_extent_data_ref *)(at + 1), ref);
	else
		ref->root_or_parent = format_le64(at + 1);
	if (ref->type == BTRFS_SHARED_DATA_REF_KEY)
		ref->count = format_le32(at + 1 + sizeof(__le64));
	if (ref->type == BTRFS_TREE_BLOCK_REF_KEY)
		ref->owner = current->level;
	return bytes;
}

static int refuse_simple(struct rs_error *error)
{
	return error_set(error, -EOPNOTSUPP,
			 "simple quotas: extents have owners, which is not supported for changing");
}

static int load_inline_refs(struct extents *extents, const uint8_t *at, uint32_t left,
			    struct rs_error *error)
{
	/* Ends: each round takes a reference off. */
	while (left) {
		struct extent_ref ref;
		uint32_t bytes = read_inline_ref(&extents->current, at, left, &ref);
		int ret;

		if (!bytes && at[0] == FORMAT_EXTENT_OWNER_REF_KEY)
			return refuse_simple(error);
		if (!bytes)
			return refuse(
				&extents->current,
				"has inline references that are cut off, or of an unknown type",
				error);
		ret = load_ref(extents, &ref, error);
		if (ret)
			return ret;
		at += bytes;
		left -= bytes;
	}
	return 0;
}

/* Where inline references begin; NULL: the item makes no sense. */
static const uint8_t *read_extent(const struct extents *extents, const struct tree_item *item,
				  struct current *current)
{
	const struct btrfs_extent_item *disk = (const struct btrfs_extent_item *)item->data;
	const uint8_t *at = item->data + sizeof(*disk);
	bool skinny = item->key.type == BTRFS_METADATA_ITEM_KEY;
	uint64_t level = item->key.offset;
	uint64_t flags;

	if (item->bytes < sizeof(*disk))
		return NULL;
	flags = format_le64(&disk->flags);
	*current = (struct current){
		.bytenr = item->key.objectid,
		.bytes = skinny ? extents->work->forest->node_bytes : item->key.offset,
		.refs = format_le64(&disk->refs),
		.leaf = item->leaf,
		.metadata = flags & BTRFS_EXTENT_FLAG_TREE_BLOCK,
		.full = flags & BTRFS_BLOCK_FLAG_FULL_BACKREF,
	};
	if (current->metadata == !!(flags & BTRFS_EXTENT_FLAG_DATA) ||
	    (skinny && !current->metadata))
		return NULL;
	if (current->metadata && !skinny) {
		if (item->bytes - sizeof(*disk) < sizeof(struct btrfs_tree_block_info))
			return NULL;
		level = ((const struct btrfs_tree_block_info *)at)->level;
		at += sizeof(struct btrfs_tree_block_info);
	}
	if (current->metadata && level >= FORMAT_LEVELS)
		return NULL;
	current->level = current->metadata ? (uint8_t)level : 0;
	return at;
}

static int load_extent(struct extents *extents, const struct tree_item *item,
		       struct rs_error *error)
{
	const uint8_t *at;
	int ret = finish_extent(extents, error);

	if (ret)
		return ret;
	at = read_extent(extents, item, &extents->current);
	if (!at)
		return error_set_at(error, -EUCLEAN, item->key.objectid,
				    "extent item is cut off, or makes no sense");
	ret = check_place(extents, error);
	if (!ret)
		ret = mark_used(extents, error);
	if (ret)
		return ret;
	return load_inline_refs(extents, at, (uint32_t)(item->data + item->bytes - at), error);
}

/* A reference with an item of its own. */
static int load_keyed_ref(struct extents *extents, const struct tree_item *item,
			  struct rs_error *error)
{
	const struct current *current = &extents->current;
	struct extent_ref ref = {
		.root_or_parent = item->key.offset,
		.count = 1,
		.type = item->key.type,
	};
	uint32_t least = 0;

	if (!current->bytes || current->bytenr != item->key.objectid)
		return error_set_at(error, -EUCLEAN, item->key.objectid,
				    "back reference to an extent that has no item");
	if (ref.type == BTRFS_EXTENT_DATA_REF_KEY)
		least = sizeof(struct btrfs_extent_data_ref);
	else if (ref.type == BTRFS_SHARED_DATA_REF_KEY)
		least = sizeof(struct btrfs_shared_data_ref);
	if (item->bytes < least)
		return refuse(current, "has a back reference that is cut off", error);
	if (ref.type == BTRFS_EXTENT_DATA_REF_KEY)
		read_data_ref((const struct btrfs_extent_data_ref *)item->data, &ref);
	else if (ref.type == BTRFS_SHARED_DATA_REF_KEY)
		ref.count = format_le32(item->data);
	else if (ref.type == BTRFS_TREE_BLOCK_REF_KEY)
		ref.owner = current->level;
	return load_ref(extents, &ref, error);
}

static int load_item(void *argument, const struct tree_item *item, struct rs_error *error)
{
	switch (item->key.type) {
	case BTRFS_EXTENT_ITEM_KEY:
	case BTRFS_METADATA_ITEM_KEY:
		return load_extent(argument, item, error);
	case BTRFS_TREE_BLOCK_REF_KEY:
	case BTRFS_EXTENT_DATA_REF_KEY:
	case BTRFS_SHARED_BLOCK_REF_KEY:
	case BTRFS_SHARED_DATA_REF_KEY:
		return load_keyed_ref(argument, item, error);
	case FORMAT_EXTENT_OWNER_REF_KEY:
		return refuse_simple(error);
	default:
		return 0;
	}
}

int open_extents_load(struct open_work *work, struct rs_error *error)
{
	struct extents extents = { .work = work };
	int ret = tree_walk(work->image, &work->extents, NULL, NULL, load_item, &extents, error);

	return ret ? ret : finish_extent(&extents, error);
}

struct check {
	struct open_work *work;
	struct rs_error *error;
};

static int check_data(const struct check *check, const struct buffer *leaf, uint32_t slot)
{
	const struct btrfs_file_extent_item *item =
		(const struct btrfs_file_extent_item *)node_item_data(leaf->data, slot);
	uint64_t bytenr;
	struct extent extent;

	if (item->type == BTRFS_FILE_EXTENT_INLINE || !format_le64(&item->disk_bytenr))
		return 0;
	bytenr = format_le64(&item->disk_bytenr);
	if (extent_index_find(check->work->forest->extents, bytenr, &extent) && !extent.metadata &&
	    extent.bytes == format_le64(&item->disk_num_bytes))
		return 0;
	return error_set_at(check->error, -EUCLEAN, leaf->bytenr,
			    "file extent of item %u is in %" PRIu64 " bytes at %" PRIu64
			    ", which are no extent of data",
			    slot, format_le64(&item->disk_num_bytes), bytenr);
}

static int check_buffer(void *argument, struct buffer *buffer)
{
	const struct check *check = argument;
	uint32_t slot;
	int ret = 0;

	/* Relaxed: nobody else knows the forest yet. */
	if (order_load_relaxed(&buffer->word) & BUFFER_LOCK)
		return error_set_at(check->error, -EUCLEAN, buffer->bytenr,
				    "tree block has no extent item");
	if (buffer->level)
		return 0;
	for (slot = 0; !ret && slot < node_count(buffer->data); slot++)
		if (node_item(buffer->data, slot)->key.type == BTRFS_EXTENT_DATA_KEY)
			ret = check_data(check, buffer, slot);
	return ret;
}

int open_extents_check(struct open_work *work, struct rs_error *error)
{
	struct check check = { work, error };

	return buffer_map_each(&work->forest->buffers, check_buffer, &check);
}
