/* SPDX-License-Identifier: MIT */
/*
 * Counts everything again from the raw nodes of a forest's committed trees, with none of core's
 * algorithms: node by node, into tables of its own, all of which are compared with what the forest
 * keeps.
 *
 * What is found wrong is no failure of a call: it stands in the report.
 *
 * Who may call: one thread, enrolled with RCU, all of it. With `references`: at rest, that is, all
 * writers have ended and a commit has followed, and in no RCU section; the index, the counts of
 * buffers and the space are read, and grace periods are waited for. Without: at rest or beside
 * writers, inside one RCU section from recount_create to its end: the trees that were committed are
 * read, and what belongs to roots is counted; waits for nobody.
 * Memory: 48 bytes a back reference, 64 to 128 a tree block; with `holdings` 40 to 80 for each
 * extent of each root.
 */
#ifndef REFSTORM_ORACLE_RECOUNT_H
#define REFSTORM_ORACLE_RECOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rs_forest;
struct rs_subvol;

enum recount_kind {
	RECOUNT_NODE,    /* a tree block, or the pointer to it, is not as it must be */
	RECOUNT_MISSING, /* trees imply a back reference, and the index does not have it */
	RECOUNT_EXTRA,   /* the index has one that no tree implies */
	RECOUNT_COUNT,   /* both have it, another number of times */
	RECOUNT_LENGTH,  /* an extent has another length, or is of another sort */
	RECOUNT_OVERLAP, /* two extents share bytes */
	RECOUNT_WORD,    /* a buffer counts other references than there are */
	RECOUNT_LOST,    /* a buffer that no tree leads to */
	RECOUNT_SPACE,   /* an extent where space is free */
	RECOUNT_ACCOUNT, /* the deltas of a root do not add up to what it has */
	RECOUNT_GROUP,   /* a group has other numbers than its members, or one is missing */
	RECOUNT_KINDS,
};

#define RECOUNT_TEXT_BYTES 240
#define RECOUNT_FINDINGS_MAX 20

struct recount_finding {
	enum recount_kind kind;
	uint64_t bytenr; /* of the extent or tree block; the id of a group */
	char text[RECOUNT_TEXT_BYTES];
};

struct recount_report {
	uint64_t roots;      /* not deleted */
	uint64_t dropping;   /* deleted, and not taken apart yet */
	uint64_t blocks;     /* each once, however many roots share it */
	uint64_t items;      /* in leaves, likewise */
	uint64_t references; /* that the trees imply */
	uint64_t extents;    /* in the index */
	uint64_t foreign;    /* of them, of trees that a forest does not hold: of an image */
	uint64_t finding_count;
	uint64_t counts[RECOUNT_KINDS];
	struct recount_finding findings[RECOUNT_FINDINGS_MAX]; /* the first */
};

struct recount_options {
	bool references; /* back references, buffers and space are compared */
	bool holdings; /* what each root has is counted: each root's whole tree is read for itself */
};

struct recount;

/* Reads all trees and compares. 0 whatever is found; or -ENOMEM, and `*out` is NULL. */
int recount_create(struct rs_forest *forest, const struct recount_options *options,
		   struct recount **out) __attribute__((warn_unused_result));
void recount_destroy(struct recount *recount);
const struct recount_report *recount_report(const struct recount *recount);
const char *recount_kind_name(enum recount_kind kind);

/* The same in steps: an empty one; each root, or all; then the comparing. 0 or -ENOMEM. */
int recount_begin(struct rs_forest *forest, const struct recount_options *options,
		  struct recount **out) __attribute__((warn_unused_result));
int recount_root_add(struct recount *recount, struct rs_subvol *root)
	__attribute__((warn_unused_result));
int recount_finish(struct recount *recount) __attribute__((warn_unused_result));

/* With `holdings`: each root that is not deleted, ascending by id. Bytes of extents, each once. */
struct recount_root {
	uint64_t root;
	uint64_t rfer; /* of what it reaches, tree blocks too */
	uint64_t excl; /* of what no other root reaches, of those that are not deleted */
	uint64_t data_rfer;
	uint64_t data_excl;
};
const struct recount_root *recount_roots(const struct recount *recount, size_t *count);

/* With `holdings`: how many data extents of each size these roots reach, ascending by size. */
struct recount_size {
	uint64_t bytes;
	uint64_t count;
};
const struct recount_size *recount_sizes(const struct recount *recount, size_t *count);

#endif /* REFSTORM_ORACLE_RECOUNT_H */
