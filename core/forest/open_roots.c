// SPDX-License-Identifier: MIT
/* The root tree of an image: its subvolumes, and what cannot be changed while it is there. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/forest/open.h"

/* Root items from before 2011 end here, without uuids and creation generations. */
#define OLD_ROOT_ITEM_BYTES offsetof(struct btrfs_root_item, generation_v2)

static int compare_ids(const void *a, const void *b)
{
	uint64_t left = ((const struct open_root *)a)->tree.id;
	uint64_t right = ((const struct open_root *)b)->tree.id;

	return left < right ? -1 : left > right;
}

const struct open_root *open_roots_find(const struct open_work *work, uint64_t id)
{
	struct open_root wanted = { .tree.id = id };

	if (!work->root_count)
		return NULL;
	return bsearch(&wanted, work->roots, work->root_count, sizeof(wanted), compare_ids);
}

static int read_tree(const struct open_work *work, const struct tree_item *item,
		     struct tree_root *tree, struct rs_error *error)
{
	const struct btrfs_root_item *disk = (const struct btrfs_root_item *)item->data;

	if (item->bytes < OLD_ROOT_ITEM_BYTES)
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "root item of tree %" PRId64 " has %u bytes, needs %zu",
				    (int64_t)item->key.objectid, item->bytes, OLD_ROOT_ITEM_BYTES);
	tree->id = item->key.objectid;
	tree->bytenr = format_le64(&disk->bytenr);
	tree->generation = format_le64(&disk->generation);
	tree->level = disk->level;
	if (!tree->bytenr || tree->bytenr % work->image->rules.sector_bytes ||
	    tree->level >= FORMAT_LEVELS || tree->generation > work->image->rules.generation_max)
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "root item of tree %" PRId64 " makes no sense: block %" PRIu64
				    ", level %u, generation %" PRIu64,
				    (int64_t)tree->id, tree->bytenr, tree->level, tree->generation);
	return 0;
}

static int read_drop(const struct tree_item *item, struct open_root *root, struct rs_error *error)
{
	const struct btrfs_root_item *disk = (const struct btrfs_root_item *)item->data;

	root->deleted = !format_le32(&disk->refs);
	if (root->deleted && root->tree.id == BTRFS_FS_TREE_OBJECTID)
		return error_set_at(error, -EUCLEAN, item->leaf, "the top level is deleted");
	if (!root->deleted || !format_le64(&disk->drop_progress.objectid))
		return 0;
	root->dropping = true;
	root->drop_level = disk->drop_level;
	root->drop_progress = format_key_read(&disk->drop_progress);
	if (!root->drop_level || root->drop_level > root->tree.level)
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "tree %" PRIu64 " has %u as the level where its deletion has "
				    "got to, and is of level %u",
				    root->tree.id, root->drop_level, root->tree.level);
	return 0;
}

static int read_subvolume(struct open_work *work, const struct tree_item *item,
			  struct rs_error *error)
{
	const struct btrfs_root_item *disk = (const struct btrfs_root_item *)item->data;
	struct open_root *roots =
		array_grow(work->roots, work->root_count, 1, &work->root_capacity, sizeof(*roots));
	struct open_root *root;
	int ret;

	if (!roots)
		return error_no_memory(error, "the list of subvolumes");
	work->roots = roots;
	if (work->root_count && roots[work->root_count - 1].tree.id == item->key.objectid)
		return error_set_at(error, -EUCLEAN, item->leaf, "two root items for tree %" PRIu64,
				    item->key.objectid);
	root = &roots[work->root_count++];
	*root = (struct open_root){ 0 };
	ret = read_tree(work, item, &root->tree, error);
	if (!ret)
		ret = read_drop(item, root, error);
	if (ret)
		return ret;
	root->read_only = format_le64(&disk->flags) & BTRFS_ROOT_SUBVOL_RDONLY;
	root->last_snapshot = format_le64(&disk->last_snapshot);
	root->created = item->key.offset;
	/* A kernel that knows no uuids writes another generation than that of the newer part. */
	if (item->bytes < sizeof(*disk) ||
	    format_le64(&disk->generation) != format_le64(&disk->generation_v2))
		return 0;
	memcpy(root->uuid, disk->uuid, sizeof(root->uuid));
	memcpy(root->parent_uuid, disk->parent_uuid, sizeof(root->parent_uuid));
	root->created = format_le64(&disk->otransid);
	return 0;
}

/* Root back references come right behind the root item, so the subvolume is the last of the list. */
static int read_name(struct open_work *work, const struct tree_item *item, struct rs_error *error)
{
	const struct btrfs_root_ref *disk = (const struct btrfs_root_ref *)item->data;
	struct open_root *root = work->root_count ? &work->roots[work->root_count - 1] : NULL;
	const char *name = (const char *)(disk + 1);
	uint16_t bytes;

	if (!root || root->tree.id != item->key.objectid || root->name)
		return 0;
	if (item->bytes < sizeof(*disk) ||
	    format_le16(&disk->name_len) > item->bytes - sizeof(*disk))
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "name of tree %" PRIu64 " is cut off", item->key.objectid);
	bytes = format_le16(&disk->name_len);
	if (!bytes || memchr(name, 0, bytes) || memchr(name, '/', bytes))
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "name of tree %" PRIu64 " is no file name", item->key.objectid);
	root->name = alloc_zeroed(bytes + 1U, 1);
	if (!root->name)
		return error_no_memory(error, "the names of subvolumes");
	memcpy(root->name, name, bytes);
	root->place = item->key.offset;
	root->directory = format_le64(&disk->dirid);
	return 0;
}

static int refuse_balance(struct rs_error *error)
{
	return error_set(error, -EOPNOTSUPP,
			 "a balance is under way or paused: such a file system cannot be changed");
}

static int read_root(struct open_work *work, const struct tree_item *item, struct rs_error *error)
{
	uint64_t id = item->key.objectid;

	if (format_is_subvolume(id))
		return read_subvolume(work, item, error);
	if (id == BTRFS_EXTENT_TREE_OBJECTID)
		return read_tree(work, item, &work->extents, error);
	if (id == BTRFS_QUOTA_TREE_OBJECTID)
		return read_tree(work, item, &work->quota_tree, error);
	if (id == (uint64_t)BTRFS_TREE_RELOC_OBJECTID)
		return refuse_balance(error);
	if (id >= BTRFS_FIRST_FREE_OBJECTID && id <= (uint64_t)BTRFS_LAST_FREE_OBJECTID)
		return error_set_at(error, -EOPNOTSUPP, item->leaf,
				    "subvolume id %" PRIu64 " is above what quota groups allow",
				    id);
	return 0;
}

static int read_item(void *argument, const struct tree_item *item, struct rs_error *error)
{
	struct open_work *work = argument;

	/* As the kernel does: version 1 space caches, too, take ids. */
	if (format_is_subvolume(item->key.objectid) && item->key.objectid > work->id_max)
		work->id_max = item->key.objectid;
	if (item->key.objectid == (uint64_t)BTRFS_BALANCE_OBJECTID &&
	    item->key.type == BTRFS_TEMPORARY_ITEM_KEY)
		return refuse_balance(error);
	if (item->key.type == BTRFS_ROOT_ITEM_KEY)
		return read_root(work, item, error);
	if (item->key.type == BTRFS_ROOT_BACKREF_KEY)
		return read_name(work, item, error);
	return 0;
}

int open_roots_read(struct open_work *work, struct rs_error *error)
{
	const struct format_super *super = &work->image->devices.super;
	struct tree_root root = {
		.id = BTRFS_ROOT_TREE_OBJECTID,
		.bytenr = format_le64(&super->root),
		.generation = format_le64(&super->generation),
		.level = super->root_level,
	};
	int ret = tree_walk(work->image, &root, NULL, NULL, read_item, work, error);

	if (ret)
		return ret;
	if (!open_roots_find(work, BTRFS_FS_TREE_OBJECTID))
		return error_set_at(error, -EUCLEAN, root.bytenr, "there is no top level (tree 5)");
	if (!work->extents.bytenr)
		return error_set_at(error, -EUCLEAN, root.bytenr, "there is no extent tree");
	return 0;
}

void open_roots_free(struct open_work *work)
{
	size_t at;

	for (at = 0; at < work->root_count; at++) {
		alloc_free(work->roots[at].name);
		alloc_free(work->roots[at].path);
	}
	alloc_free(work->roots);
	work->roots = NULL;
	work->root_count = 0;
}
