/* SPDX-License-Identifier: MIT */
#include "core/forest/file.h"

#include <errno.h>
#include <sys/stat.h>

#include "core/disk/put.h"
#include "core/forest/refs.h"
#include "core/forest/trans.h"

bool file_extent_read(const uint8_t *leaf, uint32_t slot, uint64_t inode,
		      struct file_extent *extent)
{
	const struct btrfs_file_extent_item *item = (const void *)node_item_data(leaf, slot);
	struct format_key key = node_key(leaf, slot);

	if (key.objectid != inode || key.type != BTRFS_EXTENT_DATA_KEY)
		return false;
	memset(extent, 0, sizeof(*extent));
	extent->offset = key.offset;
	extent->generation = format_le64(&item->generation);
	extent->ram_bytes = format_le64(&item->ram_bytes);
	extent->compression = item->compression;
	extent->encryption = item->encryption;
	extent->encoding = format_le16(&item->other_encoding);
	extent->type = item->type;
	if (item->type == BTRFS_FILE_EXTENT_INLINE) {
		extent->length = file_round_up(extent->ram_bytes ? extent->ram_bytes : 1);
		return true;
	}
	extent->bytenr = format_le64(&item->disk_bytenr);
	extent->bytes = format_le64(&item->disk_num_bytes);
	extent->inside = format_le64(&item->offset);
	extent->length = format_le64(&item->num_bytes);
	return true;
}

void file_extent_write(uint8_t *at, const struct file_extent *extent)
{
	struct btrfs_file_extent_item *item = (void *)at;

	put_le64(&item->generation, extent->generation);
	put_le64(&item->ram_bytes, extent->ram_bytes);
	item->compression = extent->compression;
	item->encryption = extent->encryption;
	put_le16(&item->other_encoding, extent->encoding);
	item->type = extent->type;
	put_le64(&item->disk_bytenr, extent->bytenr);
	put_le64(&item->disk_num_bytes, extent->bytes);
	put_le64(&item->offset, extent->inside);
	put_le64(&item->num_bytes, extent->length);
}

void file_extent_cut(struct file_extent *extent, uint64_t start, uint64_t end)
{
	uint64_t last = file_extent_end(extent);

	if (extent->offset < start) {
		extent->inside += start - extent->offset;
		extent->offset = start;
	}
	extent->length = (last < end ? last : end) - extent->offset;
	/* Explicit holes have no offset in anything. */
	if (!extent->bytenr)
		extent->inside = 0;
}

bool file_extent_find(struct rs_subvol *root, uint64_t inode, uint64_t at, struct btree_path *path,
		      struct file_extent *extent)
{
	const struct format_key key = {
		.objectid = inode,
		.type = BTRFS_EXTENT_DATA_KEY,
		.offset = at,
	};

	if (!btree_find(root, &key, path)) {
		struct btree_path before = *path;

		if (btree_previous(root, &before) &&
		    file_extent_read(btree_leaf(&before), before.slots[0], inode, extent) &&
		    file_extent_end(extent) > at) {
			*path = before;
			return true;
		}
		if (!btree_settle(root, path))
			return false;
	}
	return file_extent_read(btree_leaf(path), path->slots[0], inode, extent);
}

size_t file_extents_read(struct rs_subvol *root, uint64_t inode, uint64_t start, uint64_t end,
			 struct file_extent *extents, size_t capacity, uint64_t *next)
{
	struct btree_path path;
	size_t count = 0;
	bool more = file_extent_find(root, inode, start, &path, &extents[0]);

	while (more && extents[count].offset < end) {
		count++;
		if (count == capacity) {
			*next = file_extent_end(&extents[count - 1]);
			if (*next > end)
				*next = end;
			return count;
		}
		more = btree_next(root, &path) &&
		       file_extent_read(btree_leaf(&path), path.slots[0], inode, &extents[count]);
	}
	*next = end;
	return count;
}

int file_range_check(uint64_t offset, uint64_t length)
{
	if (!file_is_aligned(offset) || !file_is_aligned(length))
		return -EINVAL;
	return offset >= FILE_END || length >= FILE_END - offset ? -EFBIG : 0;
}

int file_check(struct rs_subvol *root, bool change)
{
	/* Relaxed: it is set under the root's lock, which the caller holds. */
	if (order_load_relaxed(&root->state) != ROOT_LIVE)
		return -ENOENT;
	return change && root->read_only ? -EROFS : 0;
}

int file_open(struct file *file, struct rs_writer *writer, struct rs_subvol *root, uint64_t number)
{
	int ret = file_check(root, true);

	if (!ret)
		ret = inode_read(root, number, &file->inode);
	if (!ret && !S_ISREG(file->inode.mode))
		ret = S_ISDIR(file->inode.mode) ? -EISDIR : -EINVAL;
	if (ret)
		return ret;
	file->writer = writer;
	file->root = root;
	file->number = number;
	file->before = file->inode;
	trans_dirty(root);
	return 0;
}

/*
 * What the operation has done to the items cannot be left without the inode: the transaction goes
 * down with it.
 */
int file_close(struct file *file, int ret)
{
	int failed;

	if (file->inode.size == file->before.size && file->inode.nbytes == file->before.nbytes &&
	    file->inode.links == file->before.links)
		return ret;
	failed = inode_write(file->writer, file->root, file->number, &file->inode);
	if (!failed)
		return ret;
	return trans_abort(file->writer->forest, failed, "inode %llu cannot be written",
			   (unsigned long long)file->number);
}

int file_begin(struct file *file, struct rs_writer *writer, struct rs_subvol *root, uint64_t number)
{
	int ret = trans_join(writer, BTREE_BLOCKS);

	if (ret)
		return ret;
	lock_acquire(&root->lock);
	ret = file_open(file, writer, root, number);
	if (ret) {
		lock_release(&root->lock);
		trans_end(writer);
	}
	return ret;
}

int file_end(struct file *file, int ret)
{
	ret = file_close(file, ret);
	lock_release(&file->root->lock);
	trans_end(file->writer);
	return ret;
}

int file_reserve(struct file *file)
{
	return trans_reserve(file->writer, 3 * BTREE_BLOCKS);
}

int file_replace_begin(struct file *file)
{
	return trans_reserve(file->writer, 6 * BTREE_BLOCKS);
}

int file_replace_failed(struct file *file, int ret)
{
	return trans_abort(file->writer->forest, ret, "a range of inode %llu is half replaced",
			   (unsigned long long)file->number);
}

int file_reference(struct file *file, enum rs_ref_kind kind, const struct file_extent *extent)
{
	const struct rs_ref_action action = {
		.kind = kind,
		.bytenr = extent->bytenr,
		.bytes = extent->bytes,
		.root = file->root->id,
		.owner = file->number,
		.offset = file_extent_key_offset(extent),
		.real_root = file->root->id,
	};
	int ret;

	if (!file_extent_is_real(extent))
		return 0;
	ret = refs_change(file->writer, &action);
	if (ret)
		return ret;
	return refs_account(file->writer, file->root->id, extent->bytenr, extent->bytes,
			    kind == RS_REF_DROP ? -1 : 1,
			    kind == RS_REF_ALLOCATE ? extent->bytes : 0);
}

int file_insert(struct file *file, enum rs_ref_kind kind, const struct file_extent *extent)
{
	const struct format_key key = {
		.objectid = file->number,
		.type = BTRFS_EXTENT_DATA_KEY,
		.offset = extent->offset,
	};
	struct btree_path path;
	int ret = file_reserve(file);

	if (!ret)
		ret = btree_insert(file->writer, file->root, &key, FILE_ITEM_BYTES, &path);
	if (ret)
		return ret;
	file_extent_write(btree_item(&path), extent);
	if (file_extent_is_real(extent))
		file->inode.nbytes += extent->length;
	return file_reference(file, kind, extent);
}

int file_extent_change(struct file *file, uint64_t offset, struct btree_path *path)
{
	const struct format_key key = {
		.objectid = file->number,
		.type = BTRFS_EXTENT_DATA_KEY,
		.offset = offset,
	};
	int ret = btree_change(file->writer, file->root, &key, path);

	if (ret < 0)
		return ret;
	return ret ? 0 : -EUCLEAN;
}
