// SPDX-License-Identifier: MIT
/* Paths of subvolumes: names from root back references, directories from inode references in the buffers. */
#include <errno.h>
#include <inttypes.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/forest/open.h"

/* Longer paths cannot be made through the kernel's interface in one piece, and are left out. */
#define PATH_BYTES_MAX 65536U
#define PATH_DEPTH_MAX 4096U

/*
 * What all paths together may cost, so that no image can ask for hours or for all memory: bytes, and
 * directories looked up. Far above what real images need.
 */
#define BYTES_LEAST (UINT64_C(1) << 20)
#define BYTES_EACH 512U
#define LOOK_UPS_LEAST 4096U
#define LOOK_UPS_EACH 16U

/* A path that is built from its end to its beginning. */
struct path_text {
	char *text; /* PATH_BYTES_MAX */
	size_t begin;
	uint64_t bytes_left; /* of all paths */
	uint64_t look_ups_left;
};

/* The last pointer whose key is not above `key`; 0 if there is none. */
static uint32_t slot_of(const uint8_t *node, const struct format_key *key)
{
	uint32_t slot = node_lower_bound(node, key);
	struct format_key at;

	if (!slot)
		return 0;
	if (slot == node_count(node))
		return slot - 1;
	at = node_key(node, slot);
	return format_key_compare(&at, key) ? slot - 1 : slot;
}

static const struct buffer *child_of(const struct open_work *work, const struct buffer *node,
				     uint32_t slot)
{
	return buffer_find(&work->forest->buffers,
			   format_le64(&node_pointer(node->data, slot)->blockptr));
}

/* The first item that is not below `key`; false if there is none. */
static bool find_item(const struct open_work *work, const struct buffer *node,
		      const struct format_key *key, const uint8_t **leaf, uint32_t *slot)
{
	const struct buffer *right = NULL; /* where the next leaf lies, if this one has it not */

	/* Ends: the links are checked, so that each child is there, one level below. */
	while (node->level) {
		uint32_t at = slot_of(node->data, key);

		if (at + 1 < node_count(node->data))
			right = child_of(work, node, at + 1);
		node = child_of(work, node, at);
	}
	*leaf = node->data;
	*slot = node_lower_bound(node->data, key);
	if (*slot < node_count(node->data))
		return true;
	while (right && right->level)
		right = child_of(work, right, 0);
	if (!right)
		return false;
	*leaf = right->data;
	*slot = 0;
	return true;
}

uint64_t open_names_last(const struct open_work *work, const struct buffer *node, uint64_t most)
{
	struct format_key key = { .objectid = most, .type = UINT8_MAX, .offset = UINT64_MAX };
	uint32_t count;

	/* Ends: one level down each time. */
	while (node->level)
		node = child_of(work, node, slot_of(node->data, &key));
	count = node_lower_bound(node->data, &key);
	return count ? node_key(node->data, count - 1).objectid : 0;
}

/* "part/" in front of what is there. */
static bool prepend(struct path_text *path, const void *part, size_t bytes)
{
	if (path->bytes_left <= bytes)
		path->bytes_left = 0;
	if (!path->bytes_left || path->begin <= bytes)
		return false;
	path->bytes_left -= bytes + 1;
	path->text[--path->begin] = '/';
	path->begin -= bytes;
	memcpy(path->text + path->begin, part, bytes);
	return true;
}

/* The name of a directory in front, and the one that it stands in. Its items are checked. */
static bool prepend_directory(const struct open_work *work, const struct buffer *node,
			      uint64_t *directory, struct path_text *path)
{
	struct format_key key = { .objectid = *directory, .type = BTRFS_INODE_REF_KEY };
	const struct btrfs_inode_ref *disk;
	const uint8_t *leaf;
	const char *name;
	uint32_t slot;
	size_t bytes;

	if (!path->look_ups_left || !find_item(work, node, &key, &leaf, &slot))
		return false;
	path->look_ups_left--;
	key = node_key(leaf, slot);
	if (key.objectid != *directory || key.type != BTRFS_INODE_REF_KEY)
		return false;
	disk = (const struct btrfs_inode_ref *)node_item_data(leaf, slot);
	name = (const char *)(disk + 1);
	bytes = format_le16(&disk->name_len);
	*directory = key.offset;
	return bytes && !memchr(name, 0, bytes) && !memchr(name, '/', bytes) &&
	       prepend(path, name, bytes);
}

/* False if there is no path, or it is too long. */
static bool build_path(const struct open_work *work, const struct open_root *root,
		       struct path_text *path)
{
	size_t depth;

	/* Bounded: a chain of parents that is longer than the list goes in a circle. */
	for (depth = 0; root->tree.id != BTRFS_FS_TREE_OBJECTID; depth++) {
		const struct open_root *place = open_roots_find(work, root->place);
		uint64_t directory = root->directory;
		const struct buffer *node;
		unsigned deep;

		if (!root->name || !place || place->deleted || depth == work->root_count ||
		    !prepend(path, root->name, strlen(root->name)))
			return false;
		node = buffer_find(&work->forest->buffers, place->tree.bytenr);
		for (deep = 0; directory != BTRFS_FIRST_FREE_OBJECTID; deep++)
			if (deep == PATH_DEPTH_MAX ||
			    !prepend_directory(work, node, &directory, path))
				return false;
		root = place;
	}
	return true;
}

int open_names_build(struct open_work *work, struct rs_error *error)
{
	struct path_text path = {
		.text = alloc_array(PATH_BYTES_MAX, 1),
		.bytes_left = BYTES_LEAST + BYTES_EACH * (uint64_t)work->root_count,
		.look_ups_left = LOOK_UPS_LEAST + LOOK_UPS_EACH * (uint64_t)work->root_count,
	};
	size_t at;
	int ret = 0;

	if (!path.text)
		return error_no_memory(error, "the paths of subvolumes");
	for (at = 0; !ret && at < work->root_count; at++) {
		struct open_root *root = &work->roots[at];

		path.begin = PATH_BYTES_MAX;
		if (root->deleted || root->tree.id == BTRFS_FS_TREE_OBJECTID ||
		    !build_path(work, root, &path))
			continue;
		path.text[PATH_BYTES_MAX - 1] = 0; /* the last slash */
		root->path = alloc_string(path.text + path.begin);
		if (!root->path)
			ret = error_no_memory(error, "the paths of subvolumes");
	}
	if (!path.bytes_left || !path.look_ups_left)
		image_warn(work->image,
			   "some subvolumes lie so deep that their paths are left out");
	alloc_free(path.text);
	return ret;
}
