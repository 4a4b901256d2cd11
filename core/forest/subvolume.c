/* SPDX-License-Identifier: MIT */
/* Subvolumes come and go. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/probe.h"
#include "core/forest/btree.h"
#include "core/forest/commit.h"
#include "core/forest/inode.h"
#include "core/forest/root.h"
#include "core/forest/subvolume.h"
#include "core/forest/trans.h"

static bool subvolume_name_valid(const char *name)
{
	return name[0] && strlen(name) <= ROOT_NAME_MAX;
}

/* It is deleted, and its name can be given again. */
static void subvolume_hide(struct rs_subvol *root)
{
	root_forget_name(root);
	/* Relaxed: a sum. */
	order_fetch_sub_relaxed(&root->forest->live_count, 1);
}

int subvolume_tree_make(struct rs_writer *writer, struct rs_subvol *root)
{
	int result = trans_join(writer, INODE_BLOCKS);

	if (result)
		return result;
	lock_acquire(&root->lock);
	result = btree_create(writer, root);
	if (!result)
		result = inode_root_create(writer, root);
	lock_release(&root->lock);
	trans_end(writer);
	return result;
}

/*
 * The commit that was to show or to hide the root has failed: what `from` stands for is undone, as
 * if it had not been. 0: the commit of another thread has done it meanwhile.
 */
static int subvolume_undo(struct rs_writer *writer, struct rs_subvol *root, enum root_state from,
			  int result)
{
	if (rs_forest_aborted(writer->forest, NULL))
		return result;
	if (trans_join(writer, 0))
		return trans_abort(writer->forest, result,
				   "what is begun with subvolume %" PRIu64 " cannot be undone",
				   root->id);
	lock_acquire(&root->lock);
	/* Relaxed, all of them: by the root's lock, or by a commit, which waits for us. */
	if (order_load_relaxed(&root->state) != from || root->drop_known)
		result = 0;
	else
		order_store_relaxed(&root->state, from == ROOT_NEW ? ROOT_DELETED : ROOT_LIVE);
	lock_release(&root->lock);
	trans_end(writer);
	return result;
}

int rs_subvol_create(struct rs_writer *writer, const char *name, struct rs_subvol **out)
{
	struct rs_subvol *root;
	int result;

	if (!subvolume_name_valid(name))
		return -EINVAL;
	result = root_add_new(writer->forest, name, &root);
	if (result)
		return result;
	result = subvolume_tree_make(writer, root);
	if (result && !root->node) {
		root_give_up(root);
		return result;
	}
	if (!result)
		result = trans_commit(writer);
	if (result)
		result = subvolume_undo(writer, root, ROOT_NEW, result);
	if (result)
		subvolume_hide(root);
	*out = root;
	return result;
}

/* The groups that a snapshot will be a member of. */
static int subvolume_inherit(struct rs_subvol *root, const uint64_t *groups, size_t count)
{
	if (!count)
		return 0;
	root->inherit = alloc_array(count, sizeof(*groups));
	if (!root->inherit)
		return -ENOMEM;
	memcpy(root->inherit, groups, count * sizeof(*groups));
	root->inherit_count = count;
	return 0;
}

int subvolume_snapshot(struct rs_writer *writer, struct rs_subvol *source, const char *name,
		       bool read_only, const uint64_t *groups, size_t count, struct rs_subvol **out)
{
	struct rs_subvol *root;
	int result;

	if (!subvolume_name_valid(name))
		return -EINVAL;
	/* ROOT.state: sees the tree. The commit looks again. */
	if (order_load_acquire(&source->state) != ROOT_LIVE)
		return -ENOENT;
	result = root_add_new(writer->forest, name, &root);
	if (result)
		return result;
	root->source = source;
	root->parent = source->id;
	root->read_only = read_only;
	result = subvolume_inherit(root, groups, count);
	if (!result)
		result = commit_with(writer, root);
	PROBE3(snapshot, source->id, root->id, result);
	if (result && !root->node)
		root_give_up(root);
	*out = root;
	return result;
}

int rs_subvol_snapshot(struct rs_writer *writer, struct rs_subvol *source, const char *name,
		       bool read_only, struct rs_subvol **out)
{
	return subvolume_snapshot(writer, source, name, read_only, NULL, 0, out);
}

int rs_subvol_delete(struct rs_writer *writer, struct rs_subvol *subvol)
{
	int result;

	if (subvol->id == BTRFS_FS_TREE_OBJECTID)
		return -EPERM;
	result = trans_join(writer, 0);
	if (result)
		return result;
	lock_acquire(&subvol->lock);
	/* Relaxed, both: changed under the root's lock, or by a commit, which waits for us. */
	if (order_load_relaxed(&subvol->state) == ROOT_LIVE)
		order_store_relaxed(&subvol->state, ROOT_DELETED);
	else
		result = -ENOENT;
	if (!result)
		trans_dirty(subvol);
	lock_release(&subvol->lock);
	trans_end(writer);
	if (result)
		return result;
	result = trans_commit(writer);
	if (result)
		result = subvolume_undo(writer, subvol, ROOT_DELETED, result);
	/* Not before: the name must be free for it if it comes back. */
	if (!result)
		subvolume_hide(subvol);
	return result;
}
