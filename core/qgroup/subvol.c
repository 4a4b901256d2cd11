// SPDX-License-Identifier: MIT
#include "core/qgroup/subvol.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/qgroup/ancestry.h"

/* Root items from before 2011 end here, without uuids and creation generations. */
#define OLD_ROOT_ITEM_BYTES offsetof(struct btrfs_root_item, generation_v2)

struct listing {
	struct rs_image *image;
	struct subvol_list *list;
};

static int compare_ids(const void *a, const void *b)
{
	uint64_t left = ((const struct subvol *)a)->root.id;
	uint64_t right = ((const struct subvol *)b)->root.id;

	return left < right ? -1 : left > right;
}

struct subvol *subvol_list_find(const struct subvol_list *list, uint64_t id)
{
	struct subvol wanted = { .root.id = id };

	if (!list->count)
		return NULL;
	return bsearch(&wanted, list->subvols, list->count, sizeof(wanted), compare_ids);
}

static struct subvol *subvol_add(struct subvol_list *list)
{
	struct subvol *subvols =
		array_grow(list->subvols, list->count, 1, &list->capacity, sizeof(*subvols));

	if (!subvols)
		return NULL;
	list->subvols = subvols;
	list->subvols[list->count] = (struct subvol){ 0 };
	return &list->subvols[list->count++];
}

/* The part that all trees have. */
static int read_tree_root(const struct rs_image *image, const struct tree_item *item,
			  struct tree_root *root, struct rs_error *error)
{
	const struct btrfs_root_item *disk = (const struct btrfs_root_item *)item->data;

	if (item->bytes < OLD_ROOT_ITEM_BYTES)
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "root item of tree %" PRId64 " has %u bytes, needs %zu",
				    (int64_t)item->key.objectid, item->bytes, OLD_ROOT_ITEM_BYTES);
	root->id = item->key.objectid;
	root->bytenr = format_le64(&disk->bytenr);
	root->generation = format_le64(&disk->generation);
	root->level = disk->level;
	if (!root->bytenr || root->bytenr % image->rules.sector_bytes ||
	    root->level >= FORMAT_LEVELS || root->generation > image->rules.generation_max)
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "root item of tree %" PRId64 " makes no sense: block %" PRIu64
				    ", level %u, generation %" PRIu64,
				    (int64_t)root->id, root->bytenr, root->level, root->generation);
	return 0;
}

static int read_drop(const struct tree_item *item, struct subvol *subvol, struct rs_error *error)
{
	const struct btrfs_root_item *disk = (const struct btrfs_root_item *)item->data;

	subvol->deleted = !format_le32(&disk->refs);
	if (!subvol->deleted || !format_le64(&disk->drop_progress.objectid))
		return 0;
	subvol->dropping = true;
	subvol->drop_level = disk->drop_level;
	subvol->drop_progress = format_key_read(&disk->drop_progress);
	if (!subvol->drop_level || subvol->drop_level > subvol->root.level)
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "tree %" PRIu64 " has %u as the level where its deletion has "
				    "got to, and is of level %u",
				    subvol->root.id, subvol->drop_level, subvol->root.level);
	return 0;
}

static int read_subvol(struct listing *listing, const struct tree_item *item,
		       struct rs_error *error)
{
	const struct btrfs_root_item *disk = (const struct btrfs_root_item *)item->data;
	struct subvol_list *list = listing->list;
	struct subvol *subvol;
	int ret;

	if (list->count && list->subvols[list->count - 1].root.id == item->key.objectid)
		return error_set_at(error, -EUCLEAN, item->leaf, "two root items for tree %" PRIu64,
				    item->key.objectid);
	subvol = subvol_add(list);
	if (!subvol)
		return error_no_memory(error, "the list of subvolumes");
	ret = read_tree_root(listing->image, item, &subvol->root, error);
	if (!ret)
		ret = read_drop(item, subvol, error);
	if (ret)
		return ret;
	subvol->created = item->key.offset;
	/* A kernel that knows no uuids writes another generation than that of the newer part. */
	if (item->bytes < sizeof(*disk) ||
	    format_le64(&disk->generation) != format_le64(&disk->generation_v2))
		return 0;
	memcpy(subvol->uuid, disk->uuid, sizeof(subvol->uuid));
	memcpy(subvol->parent_uuid, disk->parent_uuid, sizeof(subvol->parent_uuid));
	subvol->created = format_le64(&disk->otransid);
	return 0;
}

/* Root back references come right behind the root item, so the subvolume is the last of the list. */
static int read_name(struct listing *listing, const struct tree_item *item, struct rs_error *error)
{
	const struct btrfs_root_ref *disk = (const struct btrfs_root_ref *)item->data;
	struct subvol_list *list = listing->list;
	struct subvol *subvol = list->count ? &list->subvols[list->count - 1] : NULL;
	uint16_t bytes;

	if (!subvol || subvol->root.id != item->key.objectid || subvol->name)
		return 0;
	if (item->bytes < sizeof(*disk))
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "name of tree %" PRIu64 " is cut off", item->key.objectid);
	bytes = format_le16(&disk->name_len);
	if (bytes > item->bytes - sizeof(*disk))
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "name of tree %" PRIu64 " is cut off", item->key.objectid);
	if (!subvol_name_valid(disk + 1, bytes))
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "name of tree %" PRIu64 " is no file name", item->key.objectid);
	subvol->name = alloc_zeroed(bytes + 1U, 1);
	if (!subvol->name)
		return error_no_memory(error, "the names of subvolumes");
	memcpy(subvol->name, disk + 1, bytes);
	subvol->parent = item->key.offset;
	subvol->directory = format_le64(&disk->dirid);
	return 0;
}

static int read_item(void *argument, const struct tree_item *item, struct rs_error *error)
{
	struct listing *listing = argument;
	uint64_t id = item->key.objectid;

	if (item->key.type == BTRFS_ROOT_BACKREF_KEY)
		return read_name(listing, item, error);
	if (item->key.type != BTRFS_ROOT_ITEM_KEY)
		return 0;
	if (format_is_subvolume(id))
		return read_subvol(listing, item, error);
	if (id == BTRFS_QUOTA_TREE_OBJECTID)
		return read_tree_root(listing->image, item, &listing->list->quota, error);
	if (id == BTRFS_EXTENT_TREE_OBJECTID)
		return read_tree_root(listing->image, item, &listing->list->extents, error);
	return 0;
}

/* Numbers the lineage, so that a run of it is a range of integers. */
static int number_positions(struct subvol_list *list, struct rs_error *error)
{
	const struct lineage *lineage = &list->lineage;
	uint32_t element;

	list->elements = alloc_array(lineage->count + 1U, sizeof(*list->elements));
	if (!list->elements)
		return error_no_memory(error, "the lineage");
	for (element = lineage_next(lineage, LINEAGE_NONE); element;
	     element = lineage_next(lineage, element)) {
		uint64_t id = lineage_root(lineage, element);

		if (id != LINEAGE_END)
			subvol_list_find(list, id)->position = list->positions;
		list->elements[list->positions++] = element;
	}
	return 0;
}

int subvol_list_read(struct rs_image *image, struct subvol_list *list, struct rs_error *error)
{
	const struct format_super *super = &image->devices.super;
	struct listing listing = { image, list };
	struct tree_root root = {
		.id = BTRFS_ROOT_TREE_OBJECTID,
		.bytenr = format_le64(&super->root),
		.generation = format_le64(&super->generation),
		.level = super->root_level,
	};
	int ret;

	*list = (struct subvol_list){ 0 };
	ret = lineage_init(&list->lineage);
	if (ret)
		return error_no_memory(error, "the lineage");
	ret = tree_walk(image, &root, NULL, NULL, read_item, &listing, error);
	if (!ret)
		ret = ancestry_build(list, error);
	if (!ret)
		ret = number_positions(list, error);
	if (ret)
		subvol_list_destroy(list);
	return ret;
}

void subvol_list_destroy(struct subvol_list *list)
{
	size_t at;

	for (at = 0; at < list->count; at++) {
		alloc_free(list->subvols[at].name);
		alloc_free(list->subvols[at].path);
	}
	alloc_free(list->subvols);
	alloc_free(list->elements);
	lineage_destroy(&list->lineage);
	*list = (struct subvol_list){ 0 };
}
