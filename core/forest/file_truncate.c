/* SPDX-License-Identifier: MIT */
/* Names of files, and what takes extents away: truncate, punch, unlink. */
#include <errno.h>

#include "core/forest/file_impl.h"
#include "core/forest/trans.h"

static int find_locked(struct rs_subvol *root, const char *name, uint64_t *inode)
{
	int ret = file_check(root, false);

	return ret ? ret : inode_find(root, name, inode);
}

static int create_locked(struct rs_writer *writer, struct rs_subvol *root, const char *name,
			 uint64_t *inode)
{
	int ret = find_locked(root, name, inode);

	if (ret == -ENOENT)
		ret = file_check(root, true);
	else
		return ret;
	if (!ret)
		ret = trans_reserve(writer, INODE_BLOCKS);
	if (ret)
		return ret;
	trans_dirty(root);
	return inode_create(writer, root, name, inode);
}

int rs_file_find(struct rs_writer *writer, struct rs_subvol *subvol, const char *name, bool create,
		 uint64_t *inode)
{
	int ret;

	if (!inode_name_valid(name))
		return -EINVAL;
	lock_acquire(&subvol->lock);
	ret = find_locked(subvol, name, inode);
	lock_release(&subvol->lock);
	if (ret != -ENOENT || !create)
		return ret;
	ret = trans_join(writer, BTREE_BLOCKS);
	if (ret)
		return ret;
	lock_acquire(&subvol->lock);
	ret = create_locked(writer, subvol, name, inode);
	lock_release(&subvol->lock);
	trans_end(writer);
	return ret;
}

int rs_file_truncate(struct rs_writer *writer, struct rs_subvol *subvol, uint64_t inode,
		     uint64_t size)
{
	struct file file;
	int ret = file_range_check(size, 0);

	if (!ret)
		ret = file_begin(&file, writer, subvol, inode);
	if (ret)
		return ret;
	if (size < file.inode.size)
		ret = file_drop(&file, size, FILE_END);
	/* Where the drop stopped early the file keeps its size, with a hole in it. */
	if (!ret)
		file.inode.size = size;
	return file_end(&file, ret);
}

int rs_file_punch(struct rs_writer *writer, struct rs_subvol *subvol, uint64_t inode,
		  uint64_t offset, uint64_t length)
{
	struct file file;
	int ret = file_range_check(offset, length);

	if (ret || !length)
		return ret;
	ret = file_begin(&file, writer, subvol, inode);
	if (ret)
		return ret;
	return file_end(&file, file_drop(&file, offset, offset + length));
}

/* All that is left of the inode. With its extents and its name gone there is no way back. */
static int remove_inode(struct file *file)
{
	int ret;

	/* Ends: each step takes items of a finite inode away. */
	do {
		ret = trans_reserve(file->writer, BTREE_BLOCKS);
		if (!ret)
			ret = inode_items_remove(file->writer, file->root, file->number);
	} while (ret > 0);
	/* Nothing is there to be written by file_close. */
	file->inode = file->before;
	return ret ? trans_abort(file->writer->forest, ret, "inode %llu is half removed",
				 (unsigned long long)file->number) :
		     0;
}

/* The extents first: where that stops early the file is still there, with holes. */
static int unlink_locked(struct file *file, const char *name)
{
	int ret = 0;

	if (file->inode.links <= 1)
		ret = file_drop(file, 0, FILE_END);
	if (!ret)
		ret = trans_reserve(file->writer, INODE_BLOCKS);
	if (!ret)
		ret = inode_name_remove(file->writer, file->root, name, file->number);
	if (ret)
		return ret;
	if (file->inode.links <= 1)
		return remove_inode(file);
	file->inode.links--;
	return 0;
}

int rs_file_unlink(struct rs_writer *writer, struct rs_subvol *subvol, const char *name)
{
	struct file file;
	uint64_t inode = 0;
	int ret;

	if (!inode_name_valid(name))
		return -EINVAL;
	ret = trans_join(writer, BTREE_BLOCKS);
	if (ret)
		return ret;
	lock_acquire(&subvol->lock);
	ret = find_locked(subvol, name, &inode);
	if (!ret)
		ret = file_open(&file, writer, subvol, inode);
	if (!ret)
		ret = file_close(&file, unlink_locked(&file, name));
	lock_release(&subvol->lock);
	trans_end(writer);
	return ret;
}
