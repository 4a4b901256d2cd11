/* SPDX-License-Identifier: MIT */
/*
 * Whether preallocation is used by others: the rules of btrfs's can_nocow_extent and
 * btrfs_cross_ref_exist.
 *
 * Only a clone, which holds the root's lock, or a snapshot can make an extent shared that was
 * not. So a root that was in no clone needs no look at back references, and what such a look
 * finds holds until the next clone; who has gone meanwhile is found by the next look, as in
 * btrfs, where a reference stays until a commit has run it.
 */
#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/forest/file_impl.h"

/* An extent that is used by so many is shared. */
#define SHARE_ENTRIES 8U

static const struct file_share *share_find(const struct file_shares *shares, uint64_t bytenr,
					   uint64_t key_offset)
{
	size_t at;

	for (at = 0; at < shares->count; at++)
		if (shares->share[at].bytenr == bytenr &&
		    shares->share[at].key_offset == key_offset)
			return &shares->share[at];
	return NULL;
}

static enum file_sharing share_ask(struct file_shares *shares, uint64_t bytenr, uint64_t key_offset)
{
	struct file_share *grown;

	if (share_find(shares, bytenr, key_offset))
		return FILE_UNKNOWN;
	grown = array_grow(shares->share, shares->count, 1, &shares->capacity, sizeof(*grown));
	if (!grown)
		return FILE_NO_MEMORY;
	shares->share = grown;
	grown[shares->count++] = (struct file_share){ bytenr, key_offset, true };
	return FILE_UNKNOWN;
}

enum file_sharing file_shares_of(const struct rs_subvol *root, struct file_shares *shares,
				 const struct file_extent *extent)
{
	const struct file_share *share;
	uint64_t key_offset = file_extent_key_offset(extent);

	if (extent->generation <= root->last_snapshot)
		return FILE_SHARED;
	if (!root->clones)
		return FILE_ALONE;
	if (shares->answered && shares->clones == root->clones) {
		share = share_find(shares, extent->bytenr, key_offset);
		if (share)
			return share->shared ? FILE_SHARED : FILE_ALONE;
	}
	if (shares->answered) {
		shares->answered = false;
		shares->count = 0;
	}
	shares->clones = root->clones;
	return share_ask(shares, extent->bytenr, key_offset);
}

/* What is committed. The index changes under the commit lock only, which the caller holds. */
static bool committed_others(struct rs_forest *forest, uint64_t root, uint64_t inode,
			     const struct file_share *share)
{
	struct extent extent;
	uint32_t at;

	if (!extent_index_find(forest->extents, share->bytenr, &extent))
		return false;
	for (at = 0; at < extent_ref_count(&extent); at++) {
		const struct extent_ref ref = extent_ref_at(&extent, at);

		if (ref.type != RS_DELTA_EXTENT_DATA_REF || ref.root_or_parent != root ||
		    ref.owner != inode || ref.offset != share->key_offset)
			return true;
	}
	return false;
}

/* What is not. Like btrfs, it takes a reference of others for one also where it is about to go. */
static bool pending_others(struct rs_forest *forest, uint64_t root, uint64_t inode,
			   const struct file_share *share)
{
	struct rs_delta entries[SHARE_ENTRIES];
	struct rs_head_pending pending;
	size_t at;

	if (rs_head_lookup(forest->record, share->bytenr, UINT64_MAX, &pending, entries,
			   SHARE_ENTRIES) ||
	    pending.running)
		return true;
	for (at = 0; at < pending.entries && at < SHARE_ENTRIES; at++) {
		const struct rs_delta *entry = &entries[at];

		if (rs_delta_type(entry) == RS_DELTA_ROOT || !entry->count)
			continue;
		if (rs_delta_type(entry) != RS_DELTA_EXTENT_DATA_REF || entry->root != root ||
		    entry->owner != inode || entry->offset != share->key_offset)
			return true;
	}
	return false;
}

int file_shares_answer(struct rs_forest *forest, uint64_t root, uint64_t inode,
		       struct file_shares *shares)
{
	size_t at;
	int ret;

	lock_acquire(&forest->commit_lock);
	ret = rs_record_settle(forest->record);
	for (at = 0; !ret && at < shares->count; at++) {
		struct file_share *share = &shares->share[at];

		share->shared = committed_others(forest, root, inode, share) ||
				pending_others(forest, root, inode, share);
	}
	lock_release(&forest->commit_lock);
	shares->answered = !ret;
	return ret;
}

void file_shares_destroy(struct file_shares *shares)
{
	alloc_free(shares->share);
}
