// SPDX-License-Identifier: MIT
/* Paths of subvolumes: names from root back references, directories from inode references. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/qgroup/subvol.h"

/* Longer paths cannot be made through the kernel's interface in one piece, and are left out. */
#define PATH_BYTES_MAX 65536U
#define PATH_DEPTH_MAX 4096U

/*
 * What all paths together may cost, so that no image can ask for hours or for all
 * memory: bytes, and directories looked up. Far above what real images need.
 */
#define BYTES_LEAST (UINT64_C(1) << 20)
#define BYTES_EACH 512U
#define LOOK_UPS_LEAST 4096U
#define LOOK_UPS_EACH 16U

/* A path that is built from its end to its beginning. */
struct path_buffer {
	char *text; /* PATH_BYTES_MAX */
	size_t begin;
	uint64_t bytes_left; /* of all paths; what is left of them when 0 is left out */
	uint64_t look_ups_left;
};

/* The directory looked at last: snapshots mostly stand in one. */
struct path_cache {
	uint64_t subvol;
	uint64_t directory;
	char *path; /* with a slash at the end, and no zero behind it */
	size_t bytes;
};

struct inode_name {
	uint64_t parent; /* inode; 0 if there was no reference */
	struct path_buffer *buffer;
	bool too_long;
};

bool subvol_name_valid(const void *name, size_t bytes)
{
	return bytes && !memchr(name, 0, bytes) && !memchr(name, '/', bytes);
}

/* "part/" in front of what is there. */
static bool prepend(struct path_buffer *buffer, const void *part, size_t bytes)
{
	if (buffer->bytes_left <= bytes) {
		buffer->bytes_left = 0;
		return false;
	}
	buffer->bytes_left -= bytes + 1;
	if (buffer->begin <= bytes)
		return false;
	buffer->text[--buffer->begin] = '/';
	buffer->begin -= bytes;
	memcpy(buffer->text + buffer->begin, part, bytes);
	return true;
}

static int take_name(void *argument, const struct tree_item *item, struct rs_error *error)
{
	const struct btrfs_inode_ref *disk = (const struct btrfs_inode_ref *)item->data;
	struct inode_name *name = argument;
	uint16_t bytes;

	if (item->bytes < sizeof(*disk))
		return error_set_at(error, -EUCLEAN, item->leaf, "inode reference is cut off");
	bytes = format_le16(&disk->name_len);
	if (bytes > item->bytes - sizeof(*disk))
		return error_set_at(error, -EUCLEAN, item->leaf, "inode reference is cut off");
	if (!subvol_name_valid(disk + 1, bytes))
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "name of inode %" PRIu64 " is no file name",
				    item->key.objectid);
	name->parent = item->key.offset;
	name->too_long = !prepend(name->buffer, disk + 1, bytes);
	return TREE_STOP;
}

/* Puts the path of `directory` in front. -ENOENT if it is not to be had. */
static int prepend_directory(struct rs_image *image, const struct subvol *subvol,
			     uint64_t directory, struct path_buffer *buffer, struct rs_error *error)
{
	unsigned depth;

	for (depth = 0; directory != BTRFS_FIRST_FREE_OBJECTID; depth++) {
		struct format_key from = { .objectid = directory, .type = BTRFS_INODE_REF_KEY };
		struct format_key to = from;
		struct inode_name name = { .buffer = buffer };
		int ret;

		if (!buffer->look_ups_left)
			return -ENOENT;
		buffer->look_ups_left--;
		to.offset = UINT64_MAX;
		ret = tree_walk(image, &subvol->root, &from, &to, take_name, &name, error);
		if (ret)
			return ret;
		if (!name.parent || name.too_long || depth == PATH_DEPTH_MAX)
			return -ENOENT;
		directory = name.parent;
	}
	return 0;
}

/* Puts the directory of `subvol` in front, from the cache if it is there. */
static int prepend_place(struct rs_image *image, const struct subvol *parent,
			 const struct subvol *subvol, struct path_cache *cache,
			 struct path_buffer *buffer, struct rs_error *error)
{
	size_t end = buffer->begin;
	int ret;

	if (subvol->directory == BTRFS_FIRST_FREE_OBJECTID)
		return 0;
	if (cache->path && cache->subvol == parent->root.id &&
	    cache->directory == subvol->directory)
		return prepend(buffer, cache->path, cache->bytes - 1) ? 0 : -ENOENT;
	if (parent->dropping)
		return -ENOENT;
	ret = prepend_directory(image, parent, subvol->directory, buffer, error);
	if (ret)
		return ret;
	alloc_free(cache->path);
	cache->bytes = end - buffer->begin;
	cache->path = alloc_array(cache->bytes, 1);
	if (!cache->path)
		return error_no_memory(error, "the paths of subvolumes");
	memcpy(cache->path, buffer->text + buffer->begin, cache->bytes);
	cache->subvol = parent->root.id;
	cache->directory = subvol->directory;
	return 0;
}

static int build_path(struct rs_image *image, const struct subvol_list *list,
		      const struct subvol *subvol, struct path_cache *cache,
		      struct path_buffer *buffer, struct rs_error *error)
{
	size_t depth;

	/* Bounded: a chain of parents that is longer than the list goes in a circle. */
	for (depth = 0; subvol->root.id != BTRFS_FS_TREE_OBJECTID; depth++) {
		const struct subvol *parent = subvol_list_find(list, subvol->parent);
		int ret;

		if (!subvol->name || !parent || depth == list->count ||
		    !prepend(buffer, subvol->name, strlen(subvol->name)))
			return -ENOENT;
		ret = prepend_place(image, parent, subvol, cache, buffer, error);
		if (ret)
			return ret;
		subvol = parent;
	}
	return 0;
}

static int read_path(struct rs_image *image, struct subvol_list *list, struct subvol *subvol,
		     struct path_cache *cache, struct path_buffer *buffer, struct rs_error *error)
{
	int ret;

	if (subvol->root.id == BTRFS_FS_TREE_OBJECTID) {
		subvol->path = alloc_string("/");
		return subvol->path ? 0 : error_no_memory(error, "the paths of subvolumes");
	}
	buffer->begin = PATH_BYTES_MAX - 1;
	ret = build_path(image, list, subvol, cache, buffer, error);
	if (ret == -ENOENT)
		return 0;
	if (ret)
		return ret;
	buffer->text[PATH_BYTES_MAX - 2] = 0; /* the last slash */
	subvol->path = alloc_string(buffer->text + buffer->begin);
	return subvol->path ? 0 : error_no_memory(error, "the paths of subvolumes");
}

int subvol_list_read_paths(struct rs_image *image, struct subvol_list *list, struct rs_error *error)
{
	struct path_buffer buffer = {
		.text = alloc_array(PATH_BYTES_MAX, 1),
		.bytes_left = BYTES_LEAST + BYTES_EACH * (uint64_t)list->count,
		.look_ups_left = LOOK_UPS_LEAST + LOOK_UPS_EACH * (uint64_t)list->count,
	};
	struct path_cache cache = { 0 };
	size_t at;
	int ret = 0;

	if (!buffer.text)
		return error_no_memory(error, "the paths of subvolumes");
	for (at = 0; !ret && at < list->count; at++)
		ret = read_path(image, list, &list->subvols[at], &cache, &buffer, error);
	if (!buffer.bytes_left || !buffer.look_ups_left)
		image_warn(image, "some subvolumes lie so deep that their paths were left out");
	alloc_free(cache.path);
	alloc_free(buffer.text);
	return ret;
}
