/* SPDX-License-Identifier: MIT */
/* What the parts of recount share. One thread. */
#ifndef REFSTORM_ORACLE_RECOUNT_IMPL_H
#define REFSTORM_ORACLE_RECOUNT_IMPL_H

#include "core/forest/forest_impl.h"
#include "stress/oracle/recount.h"

/* A tree block that something points to. */
struct recount_block {
	uint64_t bytenr;
	struct buffer *buffer; /* NULL: the slot is free, or there is none */
	uint64_t pointers;     /* to it, of walked nodes and of roots */
	bool used;
	bool walked;
	bool sound; /* may be read on */
};

struct recount_blocks {
	struct recount_block *slots; /* hashed by address */
	size_t mask;
	size_t count;
};

/* A back reference, implied by trees or of the index. */
struct recount_ref {
	uint64_t bytenr;
	uint64_t bytes; /* of the extent, as the one who points to it has it */
	uint64_t from;  /* root or parent */
	uint64_t owner;
	uint64_t offset;
	uint32_t count;
	uint8_t type; /* enum rs_delta_type */
};

struct recount_refs {
	struct recount_ref *refs;
	size_t count;
	size_t capacity;
};

/* That a root has so many items, or tree blocks, of an extent. */
struct recount_holding {
	uint64_t root;
	uint64_t bytenr;
	uint64_t bytes;
	uint64_t count;
	bool metadata;
};

struct recount {
	struct rs_forest *forest;
	struct recount_options options;
	struct recount_report report;
	struct recount_blocks blocks;
	struct recount_refs refs;         /* of the trees; sorted by recount_finish */
	struct recount_holding *holdings; /* sorted by root, then address */
	size_t holding_count;
	size_t holding_capacity;
	struct recount_root *roots;
	size_t root_count;
	size_t root_capacity;
	struct recount_size *sizes;
	size_t size_count;
};

/* What leads to a block says of it. */
struct recount_expect {
	uint64_t bytenr;
	uint64_t generation;
	struct format_key first; /* of a child: its first key */
	struct format_key bound; /* all its keys are below; if there is one */
	bool has_bound;
	bool is_root;
	uint8_t level;
};

/* A tree that is being taken apart, on the path that it stands at. */
struct recount_drop {
	struct format_key progress;
	uint8_t level;
};

/* recount.c */
void recount_find(struct recount *recount, enum recount_kind kind, uint64_t bytenr,
		  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* recount_tables.c. NULL: no memory; the entry at the next call may be elsewhere. */
struct recount_block *recount_blocks_get(struct recount_blocks *blocks, uint64_t bytenr);
struct recount_block *recount_blocks_find(const struct recount_blocks *blocks, uint64_t bytenr);
int recount_refs_add(struct recount_refs *refs, const struct recount_ref *ref)
	__attribute__((warn_unused_result));
/* Sorts, and makes one of those that differ in their count alone. */
void recount_refs_merge(struct recount_refs *refs);
/* By all but length and count. */
int recount_refs_compare(const struct recount_ref *a, const struct recount_ref *b);

/* recount_node.c */
/* The contents of a block. True: its items and pointers can be read. */
bool recount_node_check(struct recount *recount, const struct buffer *buffer);
/* What leads to it agrees with what it is. */
bool recount_node_expected(struct recount *recount, const struct buffer *buffer,
			   const struct recount_expect *expect);
/* What pointer `slot` says of the child; `expect` is of the node itself. */
struct recount_expect recount_node_child(const uint8_t *node, uint32_t slot,
					 const struct recount_expect *expect);
/* The extent of an item; false: the item is none, holds its data itself, or is a hole. */
bool recount_node_extent(const uint8_t *leaf, uint32_t slot, uint64_t *bytenr, uint64_t *bytes);

/* recount_walk.c */
int recount_walk_root(struct recount *recount, const struct rs_subvol *root,
		      const struct root_commit *commit) __attribute__((warn_unused_result));

/* recount_compare.c */
int recount_compare_index(struct recount *recount) __attribute__((warn_unused_result));
int recount_compare_buffers(struct recount *recount) __attribute__((warn_unused_result));

/* recount_holdings.c */
/* Reads the whole tree of a root that is not deleted. */
int recount_holdings_read(struct recount *recount, uint64_t root, const struct buffer *node)
	__attribute__((warn_unused_result));
/* Sorts, adds up, and fills in the roots and the sizes. */
int recount_holdings_finish(struct recount *recount) __attribute__((warn_unused_result));

#endif /* REFSTORM_ORACLE_RECOUNT_IMPL_H */
