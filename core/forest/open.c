// SPDX-License-Identifier: MIT
#include "core/forest/open.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/forest/forest.h"
#include "core/forest/root.h"

#define CAPACITY_DEFAULT (UINT64_C(1) << 40)
#define NAME_BYTES 32

/* What can be read of such file systems is not what their next commit would go on from, or more. */
static int refuse_super(const struct rs_image *image, struct rs_error *error)
{
	const struct format_super *super = &image->devices.super;

	if (format_le64(&super->incompat_flags) & FORMAT_INCOMPAT_SIMPLE_QUOTA)
		return error_set(error, -EOPNOTSUPP,
				 "simple quotas: such a file system cannot be changed");
	if (format_le64(&super->log_root))
		return error_set(error, -EOPNOTSUPP,
				 "a log tree waits to be replayed: mount the file system once");
	if (image->rules.sector_bytes != SPACE_UNIT)
		return error_set(error, -EOPNOTSUPP,
				 "sectors of %" PRIu32 " bytes: only those of %u can be changed",
				 image->rules.sector_bytes, SPACE_UNIT);
	if (image->rules.generation_max >= INT64_MAX)
		return error_set(error, -EUCLEAN, "generation %" PRIu64 " leaves no next one",
				 image->rules.generation_max);
	return 0;
}

static int make_forest(struct open_work *work, const struct rs_forest_options *options,
		       struct rs_error *error)
{
	struct rs_forest_options own = { 0 };
	struct rs_image *image = work->image;
	uint64_t chunks;
	int ret = open_chunks_sum(image, &chunks, error);

	if (ret)
		return ret;
	if (options)
		own = *options;
	if (!own.capacity)
		own.capacity = CAPACITY_DEFAULT;
	if (__builtin_add_overflow(own.capacity, chunks, &own.capacity))
		own.capacity = UINT64_MAX;
	ret = forest_make(&own, image->rules.node_bytes, image->rules.fsid, &work->forest, error);
	if (ret)
		return ret;
	/* Relaxed: nobody else knows the forest yet. */
	order_store_relaxed(&work->forest->generation, image->rules.generation_max + 1);
	return 0;
}

static int compare_uuids(const void *a, const void *b)
{
	const struct open_root *left = *(const struct open_root *const *)a;
	const struct open_root *right = *(const struct open_root *const *)b;

	return memcmp(left->uuid, right->uuid, sizeof(left->uuid));
}

/* The subvolume that `root` is a snapshot of, if that is there. */
static uint64_t source_of(const struct open_root *root, const struct open_root **by_uuid,
			  size_t count)
{
	static const uint8_t none[BTRFS_UUID_SIZE];
	struct open_root wanted;
	const struct open_root *key = &wanted;
	const struct open_root **found;

	if (!memcmp(root->parent_uuid, none, sizeof(none)))
		return 0;
	memcpy(wanted.uuid, root->parent_uuid, sizeof(wanted.uuid));
	found = bsearch(&key, by_uuid, count, sizeof(*by_uuid), compare_uuids);
	return found && *found != root ? (*found)->tree.id : 0;
}

/* The top level has no name, as in an empty forest; a deleted tree has none any more. */
static int add_root(struct open_work *work, const struct open_root *root, struct rs_subvol **out,
		    struct rs_error *error)
{
	char number[NAME_BYTES];
	const char *name = root->path;
	int ret = -EEXIST;

	snprintf(number, sizeof(number), "id:%" PRIu64, root->tree.id);
	if (root->deleted || root->tree.id == BTRFS_FS_TREE_OBJECTID)
		ret = root_add(work->forest, root->tree.id, NULL, out);
	else if (name)
		ret = root_add(work->forest, root->tree.id, name, out);
	/* Without a path, or in an image in which two have the same. */
	if (ret == -EEXIST)
		ret = root_add(work->forest, root->tree.id, number, out);
	if (ret == -ENOMEM)
		return error_no_memory(error, "the subvolumes");
	if (ret)
		return error_set(error, ret, "subvolume %" PRIu64 " cannot be added",
				 root->tree.id);
	return 0;
}

/* The next inode's number: behind all that have items. */
static int find_next_inode(const struct open_work *work, struct rs_subvol *subvol,
			   struct rs_error *error)
{
	uint64_t highest = open_names_last(work, subvol->node, BTRFS_LAST_FREE_OBJECTID);

	if (highest >= (uint64_t)BTRFS_LAST_FREE_OBJECTID)
		return error_set_at(error, -EUCLEAN, subvol->node->bytenr,
				    "tree %" PRIu64 " has no inode number left", subvol->id);
	if (highest > BTRFS_FIRST_FREE_OBJECTID)
		subvol->next_inode = highest + 1;
	return 0;
}

/* As a commit that deleted it would have left it. */
static void add_drop(struct rs_forest *forest, struct rs_subvol *subvol)
{
	/* Relaxed, all three: nobody else knows the forest yet. */
	order_store_relaxed(&subvol->state, ROOT_DELETED);
	order_fetch_sub_relaxed(&forest->live_count, 1);
	order_fetch_add_relaxed(&forest->dropping, 1);
	subvol->drop_known = true;
	subvol->drop_next = forest->drops;
	forest->drops = subvol;
}

static int plant_root(struct open_work *work, const struct open_root *root, uint64_t source,
		      struct rs_error *error)
{
	struct rs_forest *forest = work->forest;
	struct root_commit *commit = alloc_zeroed(1, sizeof(*commit));
	struct rs_subvol *subvol;
	int ret = commit ? add_root(work, root, &subvol, error) :
			   error_no_memory(error, "the subvolumes");

	if (ret) {
		alloc_free(commit);
		return ret;
	}
	subvol->created = root->created;
	subvol->parent = source;
	subvol->read_only = root->read_only;
	subvol->last_snapshot = root->last_snapshot;
	subvol->clones = 1; /* what its files share is not known */
	subvol->drop_progress = root->drop_progress;
	subvol->drop_level = root->drop_level;
	subvol->node = buffer_find(&forest->buffers, root->tree.bytenr);
	commit->node = subvol->node;
	commit->generation = root->tree.generation;
	commit->dropping = root->deleted;
	commit->drop_level = root->drop_level;
	commit->drop_progress = root->drop_progress;
	/* ROOT.commit: the tree, and where its deletion has got to. */
	rcu_pointer_publish(&subvol->commit, commit);
	if (root->deleted) {
		add_drop(forest, subvol);
		return 0;
	}
	return find_next_inode(work, subvol, error);
}

static int plant_roots(struct open_work *work, struct rs_error *error)
{
	const struct open_root **by_uuid =
		alloc_array(work->root_count, sizeof(struct open_root *));
	size_t at;
	int ret = 0;

	if (!by_uuid)
		return error_no_memory(error, "the subvolumes");
	for (at = 0; at < work->root_count; at++)
		by_uuid[at] = &work->roots[at];
	qsort(by_uuid, work->root_count, sizeof(*by_uuid), compare_uuids);
	for (at = 0; !ret && at < work->root_count; at++)
		ret = plant_root(work, &work->roots[at],
				 source_of(&work->roots[at], by_uuid, work->root_count), error);
	/* Nobody else knows the forest yet. */
	if (work->forest->next_id <= work->id_max)
		work->forest->next_id = work->id_max + 1;
	alloc_free(by_uuid);
	return ret;
}

static int open_image(struct open_work *work, const struct rs_forest_options *options,
		      struct rs_error *error)
{
	int ret = refuse_super(work->image, error);

	if (!ret)
		ret = open_roots_read(work, error);
	if (!ret)
		ret = open_groups_read(work, error);
	if (!ret)
		ret = make_forest(work, options, error);
	if (!ret)
		ret = open_chunks_add(work, error);
	if (!ret)
		ret = open_blocks_read(work, error);
	if (!ret)
		ret = open_links_count(work, error);
	if (!ret)
		ret = open_extents_load(work, error);
	if (!ret)
		ret = open_extents_check(work, error);
	if (!ret)
		ret = open_names_build(work, error);
	if (!ret)
		ret = plant_roots(work, error);
	if (!ret)
		ret = forest_start(work->forest, error);
	if (!ret) {
		work->forest->groups = work->groups;
		work->groups = (struct forest_groups){ 0 };
	}
	return ret;
}

int rs_forest_open(struct rs_image *image, const struct rs_forest_options *options,
		   struct rs_forest **out, struct rs_error *error)
{
	struct open_work work = { .image = image };
	int ret;

	*out = NULL;
	rcu_thread_adopt();
	ret = open_image(&work, options, error);
	open_roots_free(&work);
	alloc_free(work.groups.links);
	alloc_free(work.gaps);
	if (ret) {
		rs_forest_destroy(work.forest);
		error_add_place(error, "%s", image->name);
		return ret;
	}
	*out = work.forest;
	return 0;
}
