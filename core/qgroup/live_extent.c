/* SPDX-License-Identifier: MIT */
/* What a transaction changes, and what its commit makes of that. */
#include "core/qgroup/live_extent.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"
#include "core/forest/root.h"
#include "core/qgroup/live_extent_impl.h"

int live_extent_create(struct rs_forest *forest, struct live_groups *groups,
		       struct live_extent **out)
{
	struct live_extent *engine = alloc_zeroed(1, sizeof(*engine));
	int ret;

	*out = NULL;
	if (!engine)
		return -ENOMEM;
	engine->forest = forest;
	engine->groups = groups;
	engine->known = UINT64_MAX;
	ret = live_walk_create(forest, &engine->walk);
	if (ret) {
		alloc_free(engine);
		return ret;
	}
	lock_init(&engine->lock, LOCK_RANK_QGROUP_DIRTY, "qgroup.dirty");
	*out = engine;
	return 0;
}

void live_extent_destroy(struct live_extent *engine)
{
	if (!engine)
		return;
	live_extent_finish(engine);
	while (engine->walks) {
		struct live_extent_walk *spare = engine->walks;

		engine->walks = spare->next;
		live_walk_destroy(spare->walk);
		alloc_free(spare);
	}
	live_walk_destroy(engine->walk);
	lock_destroy(&engine->lock);
	alloc_free(engine->buckets);
	alloc_free(engine->refs);
	alloc_free(engine->touched);
	alloc_free(engine->gone);
	alloc_free(engine->some[0]);
	alloc_free(engine->some[1]);
	alloc_free(engine);
}

/* The first one is kept: the others follow from it. */
void live_extent_lose(struct live_extent *engine, int code, const struct rs_error *error)
{
	lock_acquire(&engine->lock);
	if (!engine->lost) {
		engine->lost = code;
		engine->lost_error = *error;
	}
	lock_release(&engine->lock);
}

/* A walk for this thread. NULL: no memory. */
static struct live_extent_walk *extent_walk_take(struct live_extent *engine)
{
	struct live_extent_walk *spare;

	lock_acquire(&engine->lock);
	spare = engine->walks;
	if (spare)
		engine->walks = spare->next;
	lock_release(&engine->lock);
	if (spare)
		return spare;
	spare = alloc_zeroed(1, sizeof(*spare));
	if (spare && live_walk_create(engine->forest, &spare->walk)) {
		alloc_free(spare);
		return NULL;
	}
	return spare;
}

static void extent_walk_give(struct live_extent *engine, struct live_extent_walk *spare)
{
	lock_acquire(&engine->lock);
	spare->next = engine->walks;
	engine->walks = spare;
	lock_release(&engine->lock);
}

/* 0 or -ENOMEM; `*kept` may be NULL: there are none. */
static int extent_roots_keep(const struct live_extent_roots *roots, uint64_t **kept,
			     size_t *kept_count)
{
	if (!roots->count)
		return 0;
	*kept = alloc_array(roots->count, sizeof(**kept));
	if (!*kept)
		return -ENOMEM;
	memcpy(*kept, roots->roots, roots->count * sizeof(**kept));
	*kept_count = roots->count;
	return 0;
}

static int extent_old_roots(struct live_extent *engine, struct live_extent_record *record,
			    struct rs_error *error)
{
	struct live_extent_walk *spare = extent_walk_take(engine);
	struct live_extent_roots roots;
	int ret;

	if (!spare)
		return error_no_memory(error, "a walk along back references");
	rcu_section_enter();
	ret = live_walk_roots(spare->walk, LIVE_WALK_COMMITTED, record->bytenr, &roots.roots,
			      &roots.count, error);
	rcu_section_exit();
	if (!ret && extent_roots_keep(&roots, &record->old, &record->old_count))
		ret = error_no_memory(error, "the roots of an extent");
	extent_walk_give(engine, spare);
	return ret;
}

void live_extent_know(struct live_extent *engine, uint64_t known)
{
	engine->known = known;
}

void live_extent_trace(struct live_extent *engine, uint64_t bytenr, uint64_t bytes, bool metadata)
{
	struct rs_error error = RS_ERROR_INIT;
	struct live_extent_record *record;
	bool fresh;
	int ret = 0;

	record = live_extent_record_add(engine, bytenr, bytes, metadata, &fresh);
	if (!record)
		ret = error_no_memory(&error, "a changed extent");
	else if (fresh)
		ret = extent_old_roots(engine, record, &error);
	if (ret)
		live_extent_lose(engine, ret, &error);
}

static struct live_extent_roots roots_of_old(const struct live_extent_record *record)
{
	return (struct live_extent_roots){ record->old, record->old_count };
}

static int extent_new_roots(struct live_extent *engine, uint64_t bytenr,
			    struct live_extent_roots *roots, struct rs_error *error)
{
	return live_walk_roots(engine->walk, LIVE_WALK_LEAVING, bytenr, &roots->roots,
			       &roots->count, error);
}

static int extent_account_one(struct live_extent *engine, struct live_extent_record *record,
			      uint64_t snapshot, struct rs_error *error)
{
	const struct live_extent_roots only = { &snapshot, 1 };
	struct live_extent_roots old = roots_of_old(record);
	struct live_extent_roots new;
	struct extent extent;
	int ret = extent_new_roots(engine, record->bytenr, &new, error);

	if (ret)
		return ret;
	if (snapshot && (extent_roots_keep(&new, &record->now, &record->now_count) ||
			 live_extent_roots_without(engine, 0, &new, &only, &new)))
		return error_no_memory(error, "the roots of an extent");
	/*
	 * What was noted of its length may be of an extent that came and went within the transaction, with
	 * this one in its place.
	 */
	if (extent_index_find(engine->forest->extents, record->bytenr, &extent) && !old.count) {
		record->bytes = extent.bytes;
		record->metadata = extent.metadata;
	}
	if ((old.count || new.count) && record->bytenr < engine->known)
		live_extent_update(engine, &old, &new, record->bytes, record->metadata);
	return 0;
}

int live_extent_account(struct live_extent *engine, uint64_t snapshot, struct rs_error *error)
{
	struct live_extent_record *record;
	int ret = engine->lost;

	if (ret) {
		if (error)
			*error = engine->lost_error;
		return ret;
	}
	if (live_extent_groups_fit(engine))
		return error_no_memory(error, "quota groups");
	for (record = engine->records; record && !ret; record = record->next)
		ret = extent_account_one(engine, record, snapshot, error);
	return ret;
}

/* Nothing has changed of the source's root node, but the snapshot has one of its own. */
static int extent_note_root_node(struct live_extent *engine, uint64_t source,
				 struct rs_error *error)
{
	const struct rs_subvol *subvol = root_find_id(engine->forest, source);
	struct live_extent_record *record;
	struct live_extent_roots new;
	bool fresh;
	int ret;

	if (!subvol || !subvol->node)
		return 0;
	record = live_extent_record_add(engine, subvol->node->bytenr, engine->forest->node_bytes,
					true, &fresh);
	if (!record)
		return error_no_memory(error, "a root node");
	if (!fresh)
		return 0;
	ret = extent_new_roots(engine, record->bytenr, &new, error);
	if (!ret && extent_roots_keep(&new, &record->now, &record->now_count))
		ret = error_no_memory(error, "the roots of an extent");
	return ret;
}

int live_extent_account_snapshot(struct live_extent *engine, uint64_t source, uint64_t snapshot,
				 struct rs_error *error)
{
	const struct live_extent_roots only = { &snapshot, 1 };
	struct live_extent_record *record;
	int ret = extent_note_root_node(engine, source, error);

	if (ret)
		return ret;
	if (live_extent_groups_fit(engine))
		return error_no_memory(error, "quota groups");
	for (record = engine->records; record; record = record->next) {
		const struct live_extent_roots new = { record->now, record->now_count };
		struct live_extent_roots old;

		ret = live_extent_roots_without(engine, 0, &new, &only, &old);
		if (!ret && live_extent_roots_have(&old, source))
			ret = live_extent_roots_with(engine, 1, &old, snapshot, &old);
		if (ret)
			return error_no_memory(error, "the roots of an extent");
		if (record->bytenr < engine->known)
			live_extent_update(engine, &old, &new, record->bytes, record->metadata);
	}
	return 0;
}

static int extent_drop_one(struct live_extent *engine, uint64_t root, uint64_t bytenr,
			   uint64_t bytes, bool metadata, struct rs_error *error)
{
	const struct live_extent_roots gone = { engine->gone, engine->gone_count };
	const struct live_extent_roots only = { &root, 1 };
	struct live_extent_record *record;
	struct live_extent_roots old;
	struct live_extent_roots new;
	bool fresh;
	int ret;

	record = live_extent_record_add(engine, bytenr, bytes, metadata, &fresh);
	if (!record)
		return error_no_memory(error, "an extent of a deleted root");
	if (record->dropped == root)
		return 0;
	record->dropped = root;
	ret = extent_new_roots(engine, bytenr, &old, error);
	if (ret)
		return ret;
	if (!live_extent_roots_have(&old, root))
		return error_set_at(error, -EUCLEAN, bytenr,
				    "root %" PRIu64 ", which is deleted, has an extent whose back "
				    "references do not lead to it",
				    root);
	if (live_extent_roots_without(engine, 0, &old, &gone, &old) ||
	    live_extent_roots_without(engine, 1, &old, &only, &new))
		return error_no_memory(error, "the roots of an extent");
	if (bytenr < engine->known)
		live_extent_update(engine, &old, &new, bytes, metadata);
	return 0;
}

/* Recursion ends: each child is one level lower. */
static int extent_drop_block(struct live_extent *engine, uint64_t root, const struct buffer *block,
			     struct rs_error *error)
{
	struct rs_forest *forest = engine->forest;
	int ret = extent_drop_one(engine, root, block->bytenr, forest->node_bytes, true, error);
	uint32_t slot;

	for (slot = 0; !ret && slot < node_count(block->data); slot++) {
		const struct btrfs_file_extent_item *item;

		if (block->level) {
			ret = extent_drop_block(
				engine, root,
				buffer_find(&forest->buffers,
					    format_le64(&node_pointer(block->data, slot)->blockptr)),
				error);
			continue;
		}
		if (node_key(block->data, slot).type != BTRFS_EXTENT_DATA_KEY)
			continue;
		item = (const struct btrfs_file_extent_item *)node_item_data(block->data, slot);
		if (item->type != BTRFS_FILE_EXTENT_INLINE && item->disk_bytenr)
			ret = extent_drop_one(engine, root, format_le64(&item->disk_bytenr),
					      format_le64(&item->disk_num_bytes), false, error);
	}
	return ret;
}

int live_extent_drop(struct live_extent *engine, uint64_t root, struct rs_error *error)
{
	struct rs_subvol *subvol = root_find_id(engine->forest, root);
	uint64_t *grown = array_grow(engine->gone, engine->gone_count, 1, &engine->gone_capacity,
				     sizeof(*grown));
	int ret = 0;

	if (!grown)
		return error_no_memory(error, "a deleted root");
	engine->gone = grown;
	if (live_extent_groups_fit(engine))
		return error_no_memory(error, "quota groups");
	if (subvol && subvol->node)
		ret = extent_drop_block(engine, root, subvol->node, error);
	engine->gone[engine->gone_count++] = root;
	return ret;
}

int live_extent_count(struct live_extent *engine, uint64_t bytenr, struct rs_error *error)
{
	const struct live_extent_roots none = { NULL, 0 };
	struct live_extent_roots new;
	struct extent extent;
	int ret;

	if (live_extent_groups_fit(engine))
		return error_no_memory(error, "quota groups");
	rcu_section_enter();
	ret = live_walk_roots(engine->walk, LIVE_WALK_COMMITTED, bytenr, &new.roots, &new.count,
			      error);
	rcu_section_exit();
	if (!ret && extent_index_find(engine->forest->extents, bytenr, &extent))
		live_extent_update(engine, &none, &new, extent.bytes, extent.metadata);
	return ret;
}
