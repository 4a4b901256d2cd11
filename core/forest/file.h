/* SPDX-License-Identifier: MIT */
/*
 * File extent items: reading them, and the changes that the operations on files are made of.
 *
 * Who may call: the holder of the root's lock; changes between file_begin and file_end. Each change
 * leaves the items, the references and the inode's bytes in agreement, also where it stops early.
 */
#ifndef REFSTORM_FOREST_FILE_H
#define REFSTORM_FOREST_FILE_H

#include "core/forest/inode.h"

#define FILE_BLOCK 4096U
/* Behind every offset that a file has: offsets are signed in system calls. */
#define FILE_END (UINT64_C(1) << 63)

/*
 * A file extent item. Of an inline one only offset, length (whole blocks), ram_bytes and type are
 * set.
 */
struct file_extent {
	uint64_t offset; /* in the file */
	uint64_t length; /* there */
	uint64_t inside; /* where in the extent that begins */
	uint64_t bytenr; /* of the extent; 0: an explicit hole */
	uint64_t bytes;  /* of the extent, on disk */
	uint64_t ram_bytes;
	uint64_t generation;
	uint8_t type; /* BTRFS_FILE_EXTENT_* */
	uint8_t compression;
	uint8_t encryption;
	uint16_t encoding;
};

static inline uint64_t file_extent_end(const struct file_extent *extent)
{
	return extent->offset + extent->length;
}

/*
 * The offset of its back reference's key, which is the same however the item is cut; it may wrap.
 */
static inline uint64_t file_extent_key_offset(const struct file_extent *extent)
{
	return extent->offset - extent->inside;
}

/* Explicit holes and inline items have no extent. */
static inline bool file_extent_is_real(const struct file_extent *extent)
{
	return extent->type != BTRFS_FILE_EXTENT_INLINE && extent->bytenr != 0;
}

/* Stored as it is: neither compressed, nor encrypted, nor otherwise encoded. */
static inline bool file_extent_is_plain(const struct file_extent *extent)
{
	return !extent->compression && !extent->encryption && !extent->encoding;
}

/* Item `slot` of the leaf; false if it is no file extent of the inode. */
bool file_extent_read(const uint8_t *leaf, uint32_t slot, uint64_t inode,
		      struct file_extent *extent);
/* Into an item of FILE_ITEM_BYTES; its key is the caller's. */
#define FILE_ITEM_BYTES ((uint32_t)sizeof(struct btrfs_file_extent_item))
void file_extent_write(uint8_t *item, const struct file_extent *extent);

/* Leaves of it what is in `start` to `end`, where something is. */
void file_extent_cut(struct file_extent *extent, uint64_t start, uint64_t end);

/* The first item that ends behind `at`, and the path to it. False: there is none. */
bool file_extent_find(struct rs_subvol *root, uint64_t inode, uint64_t at, struct btree_path *path,
		      struct file_extent *extent);

/*
 * Up to `capacity` items that have something in `start` to `end`, as they are. How many;
 * `*next` is how far they tell all there is: up to `end`, or to the end of the last.
 */
size_t file_extents_read(struct rs_subvol *root, uint64_t inode, uint64_t start, uint64_t end,
			 struct file_extent *extents, size_t capacity, uint64_t *next);

/* One operation on one file. */
struct file {
	struct rs_writer *writer;
	struct rs_subvol *root;
	uint64_t number;
	struct inode inode;  /* as it is to be */
	struct inode before; /* as it is in the tree */
};

/*
 * Joins the transaction and locks the root: may be changed, and not deleted. 0, -ENOENT,
 * -EROFS, -EISDIR and what trans_join returns; then nothing is locked.
 */
int file_begin(struct file *file, struct rs_writer *writer, struct rs_subvol *root, uint64_t number)
	__attribute__((warn_unused_result));
/* Writes what of the inode changed, unlocks, and leaves. `ret`, or why that failed. */
int file_end(struct file *file, int ret) __attribute__((warn_unused_result));

/* What both of that are made of: by the holder of the lock, inside the transaction. */
int file_check(struct rs_subvol *root, bool change) __attribute__((warn_unused_result));
int file_open(struct file *file, struct rs_writer *writer, struct rs_subvol *root, uint64_t number)
	__attribute__((warn_unused_result));
int file_close(struct file *file, int ret) __attribute__((warn_unused_result));

/* Room for one more change, and for the inode after it. */
int file_reserve(struct file *file) __attribute__((warn_unused_result));

/*
 * Before a range is dropped that something else takes the place of: with this room only memory can be
 * missing in between. If it is, the transaction is aborted: returns `ret`.
 */
int file_replace_begin(struct file *file) __attribute__((warn_unused_result));
int file_replace_failed(struct file *file, int ret);

/*
 * The file gained or lost this item: the back reference, and the account. 0, or the transaction is
 * aborted.
 */
int file_reference(struct file *file, enum rs_ref_kind kind, const struct file_extent *extent)
	__attribute__((warn_unused_result));

/*
 * A new item where there is none. RS_REF_ALLOCATE if its extent is new. An error with nothing
 * changed, or aborted.
 */
int file_insert(struct file *file, enum rs_ref_kind kind, const struct file_extent *extent)
	__attribute__((warn_unused_result));

/* The path to the item that begins at `offset`, to be changed. */
int file_extent_change(struct file *file, uint64_t offset, struct btree_path *path)
	__attribute__((warn_unused_result));

/*
 * Drops the range, from its start on: items that lie in it go, those at its ends are cut, one
 * that goes over both becomes two of the same extent. An error: what was dropped by then is.
 */
int file_drop(struct file *file, uint64_t start, uint64_t end) __attribute__((warn_unused_result));

/* At least this, at the end. */
static inline void file_grow(struct file *file, uint64_t size)
{
	if (size > file->inode.size)
		file->inode.size = size;
}

static inline bool file_is_aligned(uint64_t bytes)
{
	return bytes % FILE_BLOCK == 0;
}

static inline uint64_t file_round_up(uint64_t bytes)
{
	return (bytes + FILE_BLOCK - 1) & ~(uint64_t)(FILE_BLOCK - 1);
}

/* 0; -EINVAL not aligned; -EFBIG past what a file has. */
int file_range_check(uint64_t offset, uint64_t length) __attribute__((warn_unused_result));

#endif /* REFSTORM_FOREST_FILE_H */
