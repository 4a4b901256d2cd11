/* SPDX-License-Identifier: MIT */
#include "core/forest/cow.h"

#include <assert.h>
#include <errno.h>

#include "core/base/plant.h"
#include "core/disk/put.h"
#include "core/forest/refs.h"
#include "core/forest/trans.h"

/* Version of back references in the flags of headers: mixed, as all file systems since 2009. */
#define COW_BACKREF_REVISION (UINT64_C(1) << 56)
/* Children whose words are fetched ahead. */
#define COW_AHEAD 8U

static void cow_header(struct buffer *buffer, const struct rs_forest *forest, uint64_t owner)
{
	struct format_header *header = (struct format_header *)buffer->data;

	memset(header->csum, 0, sizeof(header->csum));
	memcpy(header->fsid, forest->fsid, sizeof(header->fsid));
	put_le64(&header->bytenr, buffer->bytenr);
	put_le64(&header->flags, COW_BACKREF_REVISION);
	put_le64(&header->generation, buffer->generation);
	put_le64(&header->owner, owner);
	header->level = buffer->level;
}

static uint64_t cow_owner(const struct buffer *buffer)
{
	return format_le64(&node_header(buffer->data)->owner);
}

/* The root's reference to a block of its tree, as a node of its own has it. */
static struct rs_ref_action cow_action(const struct rs_writer *writer, enum rs_ref_kind kind,
				       const struct buffer *buffer, uint64_t root)
{
	return (struct rs_ref_action){
		.kind = kind,
		.metadata = true,
		.bytenr = buffer->bytenr,
		.bytes = writer->forest->node_bytes,
		.root = root,
		.owner = buffer->level,
		.real_root = root,
	};
}

/* A block of the root with the contents of `from`, or empty; and the root has it. */
static int cow_block_make(struct rs_writer *writer, struct rs_subvol *root, uint8_t level,
			  const struct buffer *from, struct buffer **out)
{
	struct rs_forest *forest = writer->forest;
	struct space_window *window = &writer->windows[SPACE_METADATA];
	uint64_t bytenr = space_block_take(window);
	struct buffer *buffer =
		buffer_create(&forest->buffers, &writer->blocks, bytenr, writer->generation, level);
	struct rs_ref_action action;
	int result = -ENOMEM;

	if (!buffer)
		goto give_back;
	if (from)
		memcpy(buffer->data, from->data, forest->node_bytes);
	else
		memset(buffer->data, 0, forest->node_bytes);
	cow_header(buffer, forest, root->id);
	result = buffer_publish(buffer);
	if (result)
		goto discard;
	action = cow_action(writer, RS_REF_ALLOCATE, buffer, root->id);
	result = refs_change(writer, &action);
	if (!result)
		result = refs_account(writer, root->id, bytenr, forest->node_bytes, 1, 0);
	*out = buffer;
	return result;

discard:
	buffer_discard(buffer);
give_back:
	space_give_back(window, bytenr, forest->node_bytes);
	return result;
}

int cow_block_new(struct rs_writer *writer, struct rs_subvol *root, uint8_t level,
		  struct buffer **out)
{
	return cow_block_make(writer, root, level, NULL, out);
}

int cow_block_drop(struct rs_writer *writer, struct rs_subvol *root, struct buffer *buffer)
{
	struct rs_ref_action action = cow_action(writer, RS_REF_DROP, buffer, root->id);
	uint64_t bytenr = buffer->bytenr;
	int result;

	assert(buffer->generation == writer->generation);
	assert(buffer_refs(buffer_word_approx(buffer)) == 1);
	result = refs_change(writer, &action);
	if (!result)
		result = refs_account(writer, root->id, bytenr, writer->forest->node_bytes, -1, 0);
	if (result)
		return result;
	/* No commit has seen it, and its deltas have cancelled each other. */
	buffer_remove(buffer);
	space_give_back(&writer->windows[SPACE_METADATA], bytenr, writer->forest->node_bytes);
	return 0;
}

static int cow_child_data(struct rs_writer *writer, const struct buffer *buffer, uint32_t slot,
			  struct rs_ref_action *action)
{
	const struct btrfs_file_extent_item *item =
		(const void *)node_item_data(buffer->data, slot);
	struct format_key key = node_key(buffer->data, slot);

	if (key.type != BTRFS_EXTENT_DATA_KEY || item->type == BTRFS_FILE_EXTENT_INLINE)
		return 0;
	action->bytenr = format_le64(&item->disk_bytenr);
	if (!action->bytenr)
		return 0;
	action->bytes = format_le64(&item->disk_num_bytes);
	action->owner = key.objectid;
	action->offset = key.offset - format_le64(&item->offset);
	return refs_change(writer, action);
}

int cow_children(struct rs_writer *writer, const struct buffer *buffer, uint64_t real_root,
		 bool full, int count)
{
	struct rs_ref_action action = {
		.kind = count < 0 ? RS_REF_DROP : RS_REF_ADD,
		.metadata = buffer->level != 0,
		.parent = full ? buffer->bytenr : 0,
		.root = full ? 0 : cow_owner(buffer),
		.real_root = real_root,
	};
	uint32_t items = node_count(buffer->data);
	uint32_t slot = plant_armed("cow.child-skipped");
	int result = 0;

	if (action.metadata) {
		action.owner = buffer->level - 1U;
		action.bytes = writer->forest->node_bytes;
	}
	for (; slot < items && !result; slot++) {
		if (buffer->level) {
			action.bytenr = format_le64(&node_pointer(buffer->data, slot)->blockptr);
			result = refs_change(writer, &action);
		} else {
			result = cow_child_data(writer, buffer, slot, &action);
		}
	}
	return result;
}

static struct buffer *cow_child(const struct rs_forest *forest, const struct buffer *buffer,
				uint32_t slot)
{
	return buffer_find(&forest->buffers,
			   format_le64(&node_pointer(buffer->data, slot)->blockptr));
}

/* One more node points to all that this one points to. */
static void cow_children_ref(const struct rs_forest *forest, const struct buffer *buffer)
{
	uint32_t items = buffer->level ? node_count(buffer->data) : 0;
	uint32_t slot;

	for (slot = 0; slot < items; slot++) {
		struct buffer *child = cow_child(forest, buffer, slot);

		if (slot + COW_AHEAD < items)
			__builtin_prefetch(cow_child(forest, buffer, slot + COW_AHEAD), 1);
		assert(child);
		buffer_ref(child);
	}
}

/*
 * The references of a block that is copied, under its lock. As long as others have the block, its
 * children have one reference more: the tree that it was made for takes its keyed ones along and leaves
 * full ones behind; another tree adds its own. The last one takes everything along.
 */
static int cow_references(struct rs_writer *writer, struct rs_subvol *root, struct buffer *buffer,
			  const struct buffer *copy)
{
	uint64_t word = buffer_lock(buffer);
	bool full = (word & BUFFER_FULL) != 0;
	bool set_full = false;
	int result = 0;

	if (plant_armed("cow.flag-unread"))
		full = false;
	window_pass("cow.locked");
	if (buffer_refs(word) > 1) {
		set_full = cow_owner(buffer) == root->id && !full;
		result = cow_children(writer, set_full ? buffer : copy, root->id, set_full, 1);
		/* Before the lock is given back: whoever finds one reference owns what is below. */
		cow_children_ref(writer->forest, buffer);
		if (plant_armed("cow.full-lost"))
			set_full = false;
	} else if (full) {
		result = cow_children(writer, copy, root->id, false, 1);
		if (!result)
			result = cow_children(writer, buffer, root->id, true, -1);
	}
	buffer_unlock(buffer, -1, set_full);
	return result;
}

/* What led to the buffer leads to the copy. */
static void cow_point(struct rs_subvol *root, struct buffer *copy, struct buffer *parent,
		      uint32_t slot)
{
	struct format_key_ptr *pointer;

	trans_dirty(root);
	if (!parent) {
		root->node = copy;
		return;
	}
	pointer = (struct format_key_ptr *)(parent->data + sizeof(struct format_header)) + slot;
	put_le64(&pointer->blockptr, copy->bytenr);
	put_le64(&pointer->generation, copy->generation);
}

/* A planted bug: copying a leaf changes nobody's items. */
static int cow_account_items(struct rs_writer *writer, const struct rs_subvol *root,
			     const struct buffer *leaf)
{
	uint32_t items = node_count(leaf->data);
	uint32_t slot;
	int result = 0;

	for (slot = 0; slot < items && !result; slot++) {
		const struct btrfs_file_extent_item *item =
			(const void *)node_item_data(leaf->data, slot);

		if (node_key(leaf->data, slot).type == BTRFS_EXTENT_DATA_KEY &&
		    item->type != BTRFS_FILE_EXTENT_INLINE && item->disk_bytenr)
			result = refs_account(writer, root->id, format_le64(&item->disk_bytenr),
					      format_le64(&item->disk_num_bytes), 1, 0);
	}
	return result;
}

int cow_copy(struct rs_writer *writer, struct rs_subvol *root, struct buffer *buffer,
	     struct buffer *parent, uint32_t slot, struct buffer **out)
{
	struct rs_ref_action action;
	struct buffer *copy;
	int result;

	if (buffer->generation == writer->generation) {
		*out = buffer;
		return 0;
	}
	result = cow_block_make(writer, root, buffer->level, buffer, &copy);
	if (result)
		return result;
	result = cow_references(writer, root, buffer, copy);
	if (result)
		return result;
	action = cow_action(writer, RS_REF_DROP, buffer, root->id);
	result = refs_change(writer, &action);
	if (!result)
		result = refs_account(writer, root->id, buffer->bytenr, writer->forest->node_bytes,
				      -1, 0);
	if (result)
		return result;
	if (plant_armed("cow.items-accounted") && !buffer->level &&
	    cow_account_items(writer, root, buffer))
		return -EIO;
	if (plant_armed("cow.reused-early") && !buffer_refs(buffer_word_approx(buffer))) {
		buffer_remove(buffer);
		space_give_back(&writer->windows[SPACE_METADATA], buffer->bytenr,
				writer->forest->node_bytes);
	}
	cow_point(root, copy, parent, slot);
	writer->blocks_copied++;
	*out = copy;
	return 0;
}

int cow_snapshot(struct rs_writer *writer, struct rs_subvol *source, struct rs_subvol *snapshot)
{
	struct buffer *node;
	int result = cow_block_make(writer, snapshot, source->node->level, source->node, &node);

	if (!result)
		result = cow_children(writer, node, snapshot->id, false, 1);
	/* What the accounts let it inherit, but it has a root node of its own. */
	if (!result)
		result = refs_account(writer, snapshot->id, source->node->bytenr,
				      writer->forest->node_bytes, -1, 0);
	if (result)
		return result;
	cow_children_ref(writer->forest, node);
	snapshot->node = node;
	snapshot->next_inode = source->next_inode;
	source->last_snapshot = writer->generation;
	snapshot->last_snapshot = writer->generation;
	trans_dirty(source);
	trans_dirty(snapshot);
	return 0;
}
