/* SPDX-License-Identifier: MIT */
/*
 * The extents of the forest by address, with their back references, as of the last commit. Changed
 * by running heads alone.
 *
 * Who may call: extent_index_apply and extent_index_load one thread at a time (the record path's
 * runner; at rest); look-ups by whoever keeps that from happening: the one who commits, or anybody at
 * rest. Memory: about 70 bytes an extent with one keyed back reference or up to four full ones; with more
 * of them 32 for each keyed and 8 for each full one, and up to half as much again. What extents took is
 * kept for later ones.
 */
#ifndef REFSTORM_FOREST_EXTENT_INDEX_H
#define REFSTORM_FOREST_EXTENT_INDEX_H

#include "refstorm/error.h"
#include "refstorm/record.h"

/*
 * One back reference. Keyed: root, owner, offset; full: parent, a multiple of 4096, the others 0, and a
 * count below 4096, since no tree block has as many items.
 */
struct extent_ref {
	uint64_t root_or_parent;
	uint64_t owner; /* inode of data, level of a tree block */
	uint64_t offset;
	uint32_t count;
	uint8_t type; /* enum rs_delta_type */
};

struct extent {
	uint64_t bytenr;
	uint64_t bytes;
	uint64_t refs; /* sum of the counts */
	uint32_t account;
	bool metadata;
	uint32_t keyed_count;
	uint32_t full_count;
	const struct extent_ref *keyed; /* sorted by type, root, owner, offset */
	const uint64_t *full; /* sorted: a parent's address, and the count in the bits below 4096 */
};

struct extent_index;

int extent_index_create(struct extent_index **out) __attribute__((warn_unused_result));
void extent_index_destroy(struct extent_index *index);

/* Adds `count` references to what is there, making the extent where it is not: from an image. 0, -ENOMEM, -EUCLEAN. */
int extent_index_load(struct extent_index *index, uint64_t bytenr, uint64_t bytes, bool metadata,
		      const struct extent_ref *ref) __attribute__((warn_unused_result));

enum extent_outcome {
	EXTENT_KEPT,  /* it is there, as before or changed */
	EXTENT_MADE,  /* it is new */
	EXTENT_FREED, /* its last reference has gone; or it was made and freed in one transaction */
	EXTENT_ABSENT, /* it is not there and was not: root deltas alone that come to nothing */
};

/* What a head has done. */
struct extent_result {
	enum extent_outcome outcome;
	uint32_t account; /* of the extent, before; 0 of one that was not there */
	uint64_t bytes;   /* its length; 0 where nothing says it */
	bool metadata;
};

/*
 * Applies the back references of a head. An extent that comes to be has the length of its deltas. All
 * of the head or none of it: 0 and `*result`; -ENOMEM; -EUCLEAN, with
 * what and where, if it drops what is not there, adds a second reference of one key to a tree block,
 * mixes data and tree blocks, or has another length.
 * A root delta with a reservation says that the extent was allocated in this transaction.
 */
int extent_index_apply(struct extent_index *index, const struct rs_head *head,
		       struct extent_result *result, struct rs_error *error)
	__attribute__((warn_unused_result));

/*
 * The word that the accounts keep with an extent, 0 at first, which means nothing here. False: there
 * is no such extent. Of different extents by several threads at once, while nothing else is changed.
 */
bool extent_index_account_set(struct extent_index *index, uint64_t bytenr, uint32_t account);
/* Of all extents: 0. */
void extent_index_accounts_clear(struct extent_index *index);

/*
 * The heads of these extents will be applied soon (struct rs_head, ahead): what is needed of them is fetched
 * in as many steps. 0 is no extent.
 */
void extent_index_prefetch(const struct extent_index *index, const uint64_t ahead[RS_HEAD_AHEAD]);

/* How many back references it has; and one of them, in the order of their types. */
static inline uint32_t extent_ref_count(const struct extent *extent)
{
	return extent->keyed_count + extent->full_count;
}
struct extent_ref extent_ref_at(const struct extent *extent, uint32_t at);

/* The extent that begins at `bytenr`; false if there is none. Its references are valid until the next change. */
bool extent_index_find(const struct extent_index *index, uint64_t bytenr, struct extent *extent);

/* Ascending by address, from `from` on, until `fn` returns something else than 0; returns that. */
int extent_index_each_from(const struct extent_index *index, uint64_t from,
			   int (*fn)(void *argument, const struct extent *extent), void *argument);
int extent_index_each(const struct extent_index *index,
		      int (*fn)(void *argument, const struct extent *extent), void *argument);

/* Any thread: it is true of some moment. */
uint64_t extent_index_count(const struct extent_index *index);
/* Memory in bytes. */
uint64_t extent_index_memory(const struct extent_index *index);

#endif /* REFSTORM_FOREST_EXTENT_INDEX_H */
