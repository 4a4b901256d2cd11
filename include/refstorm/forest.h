/* SPDX-License-Identifier: MIT */
/*
 * The live forest: copy-on-write subvolume trees in memory, in the btrfs on-disk layout, started
 * empty or opened from an image, changed by many threads. Each change of a reference goes through
 * the record path, and is applied to the extents by a commit.
 *
 * Who may call: a writer is used by the thread that joined it; all else by any thread, unless it
 * says otherwise. Progress: operations block while a commit stops writers, and on the lock of
 * the subvolume that they change; reading what is committed blocks nobody and waits for nobody.
 * Guarantee: an operation is part of one commit, or of none. One that fails has changed nothing;
 * but one on many extents that runs out of space or memory on the way stops where the file is whole, with the
 * first part of its range done, as the kernel's do. Where there is no such place the transaction is
 * aborted: then what counts is the last commit, and all later changes are refused with -EROFS.
 * The contents of files are not kept: only where they are.
 *
 * Errors of all operations, besides their own: -EROFS aborted, or a read-only snapshot; -ENOSPC;
 * -ENOMEM; -ENOENT the subvolume is deleted.
 */
#ifndef REFSTORM_FOREST_H
#define REFSTORM_FOREST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refstorm/error.h"
#include "refstorm/export.h"
#include "refstorm/record.h"

#ifdef __cplusplus
extern "C" {
#endif

struct rs_image;
struct rs_forest;
struct rs_writer;
struct rs_subvol;

enum rs_ref_kind {
	RS_REF_ALLOCATE, /* the extent comes to be, with this as its first reference */
	RS_REF_ADD,
	RS_REF_DROP,
};

/* One change of one reference, as it happens. */
struct rs_ref_action {
	enum rs_ref_kind kind;
	bool metadata;      /* a tree block; else data */
	uint64_t bytenr;    /* of the extent */
	uint64_t bytes;     /* of the extent */
	uint64_t parent;    /* of a full back reference: the tree block that refers to it; else 0 */
	uint64_t root;      /* of a keyed one: the tree; else 0 */
	uint64_t owner;     /* of a keyed one of data: the inode; of a tree block: its level */
	uint64_t offset;    /* of a keyed one of data: in the file, less that in the extent */
	uint64_t real_root; /* the tree that is being changed */
};

/*
 * Who watches the forest. Each function may be NULL. `ref` is called by writers, together, before
 * others can see the change where it adds, and before the space can be used again where it drops;
 * the others by whoever commits. Not 0, a negative errno: the transaction is aborted with it.
 */
struct rs_observer {
	void *argument;
	int (*ref)(void *argument, const struct rs_ref_action *action);
	/* Of a commit, as its heads are run, by ascending bytenr. */
	int (*head)(void *argument, const struct rs_head *head);
	/* Behind the heads of the commit; a snapshot has what its source has but for the two root nodes. */
	int (*snapshot)(void *argument, uint64_t source, uint64_t root);
	int (*deleted)(void *argument, uint64_t root);
};

/* 0 in any number stands for its default. */
struct rs_forest_options {
	uint32_t node_bytes; /* 4096 to 65536, a power of two: 16384; of an image: its own */
	uint64_t capacity;   /* bytes that can be allocated: 1 TiB; of an image: at least its own */
	enum rs_record_path record;
	enum rs_record_queue queue;
	bool no_drop_thread; /* deleted trees are taken apart by rs_forest_drop_step only */
	const struct rs_observer *observer; /* outlives the forest; NULL: none */
};

/* Makes an empty forest. `options` may be NULL. 0, -EINVAL, -ENOMEM, -EAGAIN (no thread to be had). */
RS_API int rs_forest_create(const struct rs_forest_options *options, struct rs_forest **out,
			    struct rs_error *error) __attribute__((warn_unused_result));

/*
 * Makes one of what is in the image, all of whose subvolume trees are read; the image may be closed then.
 * Besides: what reading returns; -EOPNOTSUPP for what the forest cannot change, by name.
 */
RS_API int rs_forest_open(struct rs_image *image, const struct rs_forest_options *options,
			  struct rs_forest **out, struct rs_error *error)
	__attribute__((warn_unused_result));

/* All writers have left. What is not committed is lost. NULL is allowed. */
RS_API void rs_forest_destroy(struct rs_forest *forest);

/* Makes the calling thread a writer. 0 or -ENOMEM. */
RS_API int rs_writer_join(struct rs_forest *forest, struct rs_writer **out)
	__attribute__((warn_unused_result));
RS_API void rs_writer_leave(struct rs_writer *writer);

/*
 * Subvolumes. A handle stays valid until the forest is destroyed, also of one that is deleted.
 * Names are unique among those that are not. Creating, snapshots and deleting end with a commit,
 * as the kernel's do. -EEXIST; -EINVAL for no name; -ENFILE too many roots.
 */
RS_API int rs_subvol_create(struct rs_writer *writer, const char *name, struct rs_subvol **out)
	__attribute__((warn_unused_result));
RS_API int rs_subvol_snapshot(struct rs_writer *writer, struct rs_subvol *source, const char *name,
			      bool read_only, struct rs_subvol **out)
	__attribute__((warn_unused_result));
/* Out of sight at once; taken apart in the background. The top level (id 5): -EPERM. */
RS_API int rs_subvol_delete(struct rs_writer *writer, struct rs_subvol *subvol)
	__attribute__((warn_unused_result));
/* By name (of an image: the path from the top level), or by id. NULL if there is none. */
RS_API struct rs_subvol *rs_subvol_find(struct rs_forest *forest, const char *name);
RS_API struct rs_subvol *rs_subvol_find_id(struct rs_forest *forest, uint64_t id);
RS_API uint64_t rs_subvol_id(const struct rs_subvol *subvol);
RS_API const char *rs_subvol_name(const struct rs_subvol *subvol);

/*
 * Files are in the root directory of their subvolume. Offsets, lengths and sizes are multiples of
 * 4096 bytes, else -EINVAL. 0 as a length does nothing.
 */

/* The inode of the file; with `create` it is made where there is none. -ENOENT; -EISDIR. */
RS_API int rs_file_find(struct rs_writer *writer, struct rs_subvol *subvol, const char *name,
			bool create, uint64_t *inode) __attribute__((warn_unused_result));

/*
 * Writes: what lies on unshared preallocation becomes written in place, all else gets one new extent
 * for each piece, or several where there is no room in one. -EFBIG: over 128 MiB.
 */
RS_API int rs_file_write(struct rs_writer *writer, struct rs_subvol *subvol, uint64_t inode,
			 uint64_t offset, uint64_t length) __attribute__((warn_unused_result));

struct rs_file_range {
	struct rs_subvol *subvol;
	uint64_t inode;
	uint64_t offset;
};

/*
 * Makes the target's range share the extents of the source's. -EINVAL: past the source's end, or
 * the ranges overlap in one file. A dedupe besides: past the target's end.
 */
RS_API int rs_file_clone(struct rs_writer *writer, const struct rs_file_range *source,
			 uint64_t length, const struct rs_file_range *target)
	__attribute__((warn_unused_result));
RS_API int rs_file_dedupe(struct rs_writer *writer, const struct rs_file_range *source,
			  uint64_t length, const struct rs_file_range *target)
	__attribute__((warn_unused_result));

RS_API int rs_file_truncate(struct rs_writer *writer, struct rs_subvol *subvol, uint64_t inode,
			    uint64_t size) __attribute__((warn_unused_result));
RS_API int rs_file_punch(struct rs_writer *writer, struct rs_subvol *subvol, uint64_t inode,
			 uint64_t offset, uint64_t length) __attribute__((warn_unused_result));
/* Preallocates what is not there. */
RS_API int rs_file_fallocate(struct rs_writer *writer, struct rs_subvol *subvol, uint64_t inode,
			     uint64_t offset, uint64_t length) __attribute__((warn_unused_result));
RS_API int rs_file_unlink(struct rs_writer *writer, struct rs_subvol *subvol, const char *name)
	__attribute__((warn_unused_result));
/* Neighbouring extents below 256 KiB get new places together. */
RS_API int rs_file_defrag(struct rs_writer *writer, struct rs_subvol *subvol, uint64_t inode)
	__attribute__((warn_unused_result));

/*
 * Ends the running transaction: what it changed is committed. -ENOMEM: it goes on, or it is committed and
 * the extents trail until the next commit, which begins with what is missing.
 */
RS_API int rs_forest_commit(struct rs_writer *writer) __attribute__((warn_unused_result));

/*
 * Takes apart up to about `blocks` blocks of deleted trees. 1: there is more; 0: nothing is left; or
 * a negative errno.
 */
RS_API int rs_forest_drop_step(struct rs_writer *writer, unsigned blocks)
	__attribute__((warn_unused_result));
/* Until all deleted trees are taken apart and that is committed. */
RS_API int rs_forest_drop_wait(struct rs_writer *writer) __attribute__((warn_unused_result));

/* 0, or why the forest was aborted. */
RS_API int rs_forest_aborted(struct rs_forest *forest, struct rs_error *error);

/* Each number is true of some moment. */
struct rs_forest_statistics {
	uint64_t generation; /* of the running transaction */
	uint64_t commits;
	uint64_t heads;      /* that commits have run */
	uint64_t subvols;    /* not deleted */
	uint64_t dropping;   /* deleted, and not taken apart yet */
	uint64_t extents;    /* committed, tree blocks too */
	uint64_t data_bytes; /* allocated */
	uint64_t metadata_bytes;
	uint64_t blocks_copied; /* tree blocks, for writing */
	uint64_t join_waits; /* operations that waited, before they began, for a commit that stopped writers */
	uint64_t join_wait_ns_max; /* the longest of these */
};
RS_API void rs_forest_statistics_read(struct rs_forest *forest,
				      struct rs_forest_statistics *statistics);

#ifdef __cplusplus
}
#endif

#endif /* REFSTORM_FOREST_H */
