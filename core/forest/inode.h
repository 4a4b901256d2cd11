/* SPDX-License-Identifier: MIT */
/*
 * Inodes of a subvolume tree, and the names of its root directory, as btrfs keeps them: an
 * INODE_ITEM, an INODE_REF for the name, and in the directory a DIR_ITEM by the hash of the name
 * and a DIR_INDEX by a number.
 *
 * Who may call: the holder of the root's lock; changes inside a transaction, with INODE_BLOCKS
 * tree blocks reserved. Errors: as btree.h.
 */
#ifndef REFSTORM_FOREST_INODE_H
#define REFSTORM_FOREST_INODE_H

#include "core/forest/btree.h"

/* The root directory of each subvolume. */
#define INODE_ROOT BTRFS_FIRST_FREE_OBJECTID
#define INODE_NAME_BYTES_MAX 255U

/* Tree blocks that one change here may need: a file has four items, and the directory changes. */
#define INODE_BLOCKS (6U * BTREE_BLOCKS)

/* What of an inode item is read and changed. */
struct inode {
	uint64_t size;
	uint64_t nbytes; /* of its file extent items */
	uint32_t links;
	uint32_t mode;
};

/* btrfs's hash of names: crc32c from ~1 on, not inverted at the end. */
uint32_t inode_name_hash(const char *name, size_t bytes);

/* 1 to 255 bytes, no slash, neither "." nor "..". */
bool inode_name_valid(const char *name);

/* The root directory of a tree that is empty; its next inode is the first of files. */
int inode_root_create(struct rs_writer *writer, struct rs_subvol *root)
	__attribute__((warn_unused_result));

/* The file of that name. 0, -ENOENT, -EISDIR, -EINVAL for what is neither file nor directory. */
int inode_find(struct rs_subvol *root, const char *name, uint64_t *number)
	__attribute__((warn_unused_result));

/* An empty file of a name that is not there. */
int inode_create(struct rs_writer *writer, struct rs_subvol *root, const char *name,
		 uint64_t *number) __attribute__((warn_unused_result));

/* 0 or -ENOENT. */
int inode_read(struct rs_subvol *root, uint64_t number, struct inode *inode)
	__attribute__((warn_unused_result));

/* All but the mode. Needs BTREE_BLOCKS only. */
int inode_write(struct rs_writer *writer, struct rs_subvol *root, uint64_t number,
		const struct inode *inode) __attribute__((warn_unused_result));

/* Takes the name out of the directory, and out of the inode's references. */
int inode_name_remove(struct rs_writer *writer, struct rs_subvol *root, const char *name,
		      uint64_t number) __attribute__((warn_unused_result));

/*
 * Up to a leaf's items of the inode that has no file extent items any more. 1: there are more; 0:
 * none is left.
 */
int inode_items_remove(struct rs_writer *writer, struct rs_subvol *root, uint64_t number)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_FOREST_INODE_H */
