/* SPDX-License-Identifier: MIT */
/*
 * One back reference, as an extent item has it or as a tree implies it, and the
 * number that stands for it in the balance of its extent.
 *
 * Callers: any thread.
 */
#ifndef REFSTORM_ORACLE_REFERENCE_H
#define REFSTORM_ORACLE_REFERENCE_H

#include "core/disk/format.h"

struct reference {
	uint64_t bytenr;   /* of the extent */
	uint64_t from;     /* root id of a keyed reference, address of the parent of a shared one */
	uint64_t objectid; /* inode, of a keyed data reference; else 0 */
	uint64_t offset;   /* in the file, where the extent would begin; likewise */
	uint8_t type;      /* BTRFS_TREE_BLOCK_REF_KEY and its kind */
};

/*
 * Odd, so that no number of references below 2^64 but none at all adds up to
 * zero; and keyed by `seed`, which is drawn anew in each run, so that nobody can
 * make an image whose wrong references cancel.
 */
uint64_t reference_hash(const struct reference *reference, uint64_t seed);

/* By all fields, as in qsort. */
int reference_compare(const struct reference *a, const struct reference *b);

/* "tree block of tree 5", "file extent of tree 257, inode 300, offset 4096"; into `text`. */
#define REFERENCE_TEXT_BYTES 160
const char *reference_text(const struct reference *reference, char *text);

#endif /* REFSTORM_ORACLE_REFERENCE_H */
