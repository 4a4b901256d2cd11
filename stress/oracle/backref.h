/* SPDX-License-Identifier: MIT */
/*
 * The check of back references: for each extent, the references that the extent
 * tree has, inline and keyed, against those that all trees imply, not only
 * subvolumes. Built without the code that computes root sets: it reads raw nodes
 * and keeps tables of its own.
 *
 * A tree block that a node points to is referenced by that node; a data extent by
 * each file extent item. Where the node or leaf is marked to have full back references, they
 * are by its address, else by the tree that owns it. Subvolumes in the course of
 * being dropped reference what is not gone yet.
 *
 * Two passes over all blocks at the most: the first finds the extents whose two sides differ,
 * the second, if there are any, what differs.
 */
#ifndef REFSTORM_ORACLE_BACKREF_H
#define REFSTORM_ORACLE_BACKREF_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/pool.h"
#include "refstorm/error.h"
#include "refstorm/image.h"

enum backref_kind {
	BACKREF_MISSING, /* a tree implies it, the extent tree does not have it */
	BACKREF_EXTRA,   /* the extent tree has it, no tree implies it */
	BACKREF_COUNT,   /* both have it, another number of times; or the item's sum is wrong */
	BACKREF_LENGTH,  /* the extent is of another length than what points to it says */
	BACKREF_OVERLAP, /* two extents share bytes */
	BACKREF_OWNER,   /* it is there, with another root, inode, offset, parent or level */
};

#define BACKREF_DETAIL_BYTES 400

struct backref_error {
	enum backref_kind kind;
	uint64_t bytenr;
	char detail[BACKREF_DETAIL_BYTES];
};

/* Errors kept; all are counted. */
#define BACKREF_ERRORS_MAX 10000

struct backref_report {
	uint64_t extents;     /* in the extent tree, tree blocks too */
	uint64_t tree_blocks; /* of all trees */
	uint64_t backrefs;    /* in the extent tree, inline and keyed */
	uint64_t error_count;
	struct backref_error *errors; /* ascending by address; at most BACKREF_ERRORS_MAX */
	size_t errors_kept;
	double seconds;
};

struct backref_options {
	unsigned threads; /* 0: one for each CPU allowed */
	bool (*progress)(void *argument, uint64_t blocks,
			 uint64_t known); /* as in rs_verify; may be NULL */
	void *argument;
};

const char *backref_kind_name(enum backref_kind kind);

/*
 * Checks the whole image. Returns 0 and the report, also if there are errors in
 * it; -EUCLEAN for damage that keeps trees from being read, -EIO, -ENOMEM,
 * -ECANCELED.
 */
int backref_check(struct rs_image *image, const struct backref_options *options,
		  struct backref_report *report, struct rs_error *error)
	__attribute__((warn_unused_result));
void backref_report_destroy(struct backref_report *report);

#endif /* REFSTORM_ORACLE_BACKREF_H */
