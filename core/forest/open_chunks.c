// SPDX-License-Identifier: MIT
/* The chunks of an image as block groups. The chunk tree was checked when the image was opened. */
#include <errno.h>
#include <inttypes.h>

#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/forest/open.h"

struct chunks {
	struct rs_forest *forest; /* NULL: they are added up only */
	uint64_t bytes;
	uint64_t end;
};

static int add_group(struct chunks *chunks, uint64_t begin, uint64_t bytes, uint64_t type,
		     struct rs_error *error)
{
	bool data = type & BTRFS_BLOCK_GROUP_DATA;
	bool metadata = type & BTRFS_BLOCK_GROUP_METADATA;
	int ret = space_add_group(&chunks->forest->space, begin, bytes,
				  data ? SPACE_DATA : SPACE_METADATA, data && metadata);

	if (ret == -ENOMEM)
		return error_no_memory(error, "the block groups");
	if (ret)
		return error_set_at(error, ret, begin,
				    "chunk of %" PRIu64 " bytes cannot be a block group", bytes);
	return 0;
}

static int read_chunk(void *argument, const struct tree_item *item, struct rs_error *error)
{
	const struct btrfs_chunk *disk = (const struct btrfs_chunk *)item->data;
	struct chunks *chunks = argument;
	uint64_t begin = item->key.offset;
	uint64_t bytes;

	if (item->key.type != BTRFS_CHUNK_ITEM_KEY ||
	    item->key.objectid != BTRFS_FIRST_CHUNK_TREE_OBJECTID)
		return 0;
	/* Opening the image has checked it; it may have been written over since. */
	if (item->bytes < sizeof(*disk))
		return error_set_at(error, -EUCLEAN, item->leaf, "chunk item is cut off");
	bytes = format_le64(&disk->length);
	if (begin >= OPEN_ADDRESS_MAX || bytes > OPEN_ADDRESS_MAX - begin || !bytes)
		return error_set_at(error, -EUCLEAN, begin,
				    "chunk of %" PRIu64 " bytes ends beyond byte %" PRIu64, bytes,
				    OPEN_ADDRESS_MAX);
	chunks->end = begin + bytes;
	if (!(format_le64(&disk->type) & (BTRFS_BLOCK_GROUP_DATA | BTRFS_BLOCK_GROUP_METADATA)))
		return 0;
	chunks->bytes += bytes;
	if (!chunks->forest)
		return 0;
	return add_group(chunks, begin, bytes, format_le64(&disk->type), error);
}

static int walk_chunks(struct rs_image *image, struct chunks *chunks, struct rs_error *error)
{
	const struct format_super *super = &image->devices.super;
	struct tree_root root = {
		.id = BTRFS_CHUNK_TREE_OBJECTID,
		.bytenr = format_le64(&super->chunk_root),
		.generation = format_le64(&super->chunk_root_generation),
		.level = super->chunk_root_level,
	};

	return tree_walk(image, &root, NULL, NULL, read_chunk, chunks, error);
}

int open_chunks_sum(struct rs_image *image, uint64_t *bytes, struct rs_error *error)
{
	struct chunks chunks = { 0 };
	int ret = walk_chunks(image, &chunks, error);

	*bytes = chunks.bytes;
	return ret;
}

int open_chunks_add(struct open_work *work, struct rs_error *error)
{
	struct chunks chunks = { .forest = work->forest };
	int ret = walk_chunks(work->image, &chunks, error);

	/* New groups go behind system chunks too, which are in no group. */
	if (!ret && work->forest->space.end < chunks.end)
		work->forest->space.end = chunks.end;
	return ret;
}
