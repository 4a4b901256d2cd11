// SPDX-License-Identifier: MIT
/*
 * Whether the blocks of an image's subvolumes are trees. A shared block is read once, as one of those
 * that point to it expects it: here all that point to it are heard, and counted.
 */
#include <errno.h>
#include <inttypes.h>

#include "core/base/error.h"
#include "core/forest/open.h"

struct links {
	struct open_work *work;
	struct rs_error *error;
};

/* The highest key in the tree below. False: there is none. */
static bool last_key(const struct open_work *work, const struct buffer *buffer,
		     struct format_key *key)
{
	/* Ends: one level down each time. Nodes have pointers, of which a deletion leaves the last. */
	while (buffer && buffer->level) {
		const struct format_key_ptr *pointer =
			node_pointer(buffer->data, node_count(buffer->data) - 1);
		const struct buffer *child =
			buffer_find(&work->forest->buffers, format_le64(&pointer->blockptr));

		buffer = child && child->level < buffer->level ? child : NULL;
	}
	if (!buffer || !node_count(buffer->data))
		return false;
	*key = node_key(buffer->data, node_count(buffer->data) - 1);
	return true;
}

static void count_link(struct buffer *buffer)
{
	/* Relaxed: nobody else knows the forest yet. */
	order_store_relaxed(&buffer->word, order_load_relaxed(&buffer->word) + 1);
}

static int check_link(struct links *links, const struct buffer *parent, uint32_t slot)
{
	struct node_expect expect = node_child(parent->data, slot, NODE_OWNER_SUBVOLUME);
	struct buffer *child = buffer_find(&links->work->forest->buffers, expect.bytenr);
	struct format_key key;

	if (!child || child->level != expect.level || child->generation != expect.generation ||
	    !node_count(child->data))
		return error_set_at(links->error, -EUCLEAN, parent->bytenr,
				    "pointer %u leads to the block at %" PRIu64
				    ", which is not the one it describes",
				    slot, expect.bytenr);
	key = node_key(child->data, 0);
	if (format_key_compare(&key, &expect.first_key))
		return error_set_at(links->error, -EUCLEAN, expect.bytenr,
				    "first key (%" PRIu64 " %u %" PRIu64
				    ") is not the one that the block at %" PRIu64 " gives",
				    key.objectid, key.type, key.offset, parent->bytenr);
	count_link(child);
	if (slot + 1 == node_count(parent->data))
		return 0;
	expect.first_key = node_key(parent->data, slot + 1);
	if (last_key(links->work, child, &key) && format_key_compare(&key, &expect.first_key) < 0)
		return 0;
	return error_set_at(links->error, -EUCLEAN, expect.bytenr,
			    "last key (%" PRIu64 " %u %" PRIu64 ") is above the next block's first",
			    key.objectid, key.type, key.offset);
}

static int check_buffer(void *argument, struct buffer *buffer)
{
	struct links *links = argument;
	uint32_t slot;
	int ret = 0;

	if (!buffer->level)
		return 0;
	for (slot = open_blocks_first(links->work, buffer); !ret && slot < node_count(buffer->data);
	     slot++)
		ret = check_link(links, buffer, slot);
	return ret;
}

static int check_root(struct links *links, const struct open_root *root)
{
	struct buffer *buffer = buffer_find(&links->work->forest->buffers, root->tree.bytenr);
	uint64_t word;

	if (!buffer || buffer->level != root->tree.level ||
	    buffer->generation != root->tree.generation)
		return error_set_at(links->error, -EUCLEAN, root->tree.bytenr,
				    "block is not the one that the root item of tree %" PRIu64
				    " describes",
				    root->tree.id);
	count_link(buffer);
	/* Relaxed: nobody else knows the forest yet. */
	word = order_load_relaxed(&buffer->word);
	if (buffer_refs(word) == 1)
		return 0;
	/* A snapshot begins with a copy of its source's root node. */
	return error_set_at(links->error, -EUCLEAN, root->tree.bytenr,
			    "root node of tree %" PRIu64 " is part of another tree too",
			    root->tree.id);
}

int open_links_count(struct open_work *work, struct rs_error *error)
{
	struct links links = { work, error };
	int ret = buffer_map_each(&work->forest->buffers, check_buffer, &links);
	size_t at;

	for (at = 0; !ret && at < work->root_count; at++)
		ret = check_root(&links, &work->roots[at]);
	return ret;
}
