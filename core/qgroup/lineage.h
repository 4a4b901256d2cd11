/* SPDX-License-Identifier: MIT */
/*
 * The lineage: the one list in which all roots stand, a snapshot right behind
 * its source, each family with an end element of its own. Root sets are runs of
 * this list.
 *
 * Elements carry labels that ascend along the list, so two of them compare in
 * O(1). An insertion that finds no label between its neighbours spreads the
 * labels of a range around it (Bender and others, "Two simplified algorithms for
 * maintaining order in a list", 2002): O(log n) amortized.
 *
 * Who may call: lineage_before, lineage_next, lineage_root from any number of
 * threads, as long as nobody changes the list; changes by one thread alone (they
 * are a stage of their own, never beside the interning of sets).
 */
#ifndef REFSTORM_QGROUP_LINEAGE_H
#define REFSTORM_QGROUP_LINEAGE_H

#include <stdbool.h>
#include <stdint.h>

#define LINEAGE_NONE 0 /* no element */
#define LINEAGE_END 0  /* root id of an element that ends a family */

struct lineage_element {
	uint64_t label;
	uint64_t root; /* id of the subvolume, or LINEAGE_END */
	uint32_t previous;
	uint32_t next;
};

struct lineage {
	struct lineage_element *elements; /* by number; number 0 is the list's own head */
	uint32_t count;                   /* in the list */
	uint32_t used;                    /* numbers ever given, with number 0 */
	uint32_t capacity;
	uint32_t unused; /* first of the numbers given back, linked by `next` */
};

/* 0 or -ENOMEM. */
int lineage_init(struct lineage *lineage) __attribute__((warn_unused_result));
void lineage_destroy(struct lineage *lineage);

/*
 * A fresh subvolume at the end of the list, with the end element of its family
 * behind it. The number of its element in `*element`. 0, -ENOMEM, or -E2BIG past
 * 2^31 elements; on failure nothing is changed.
 */
int lineage_add_family(struct lineage *lineage, uint64_t root, uint32_t *element)
	__attribute__((warn_unused_result));

/* A snapshot right behind its source, which is in the list. Returns as above. */
int lineage_add_snapshot(struct lineage *lineage, uint32_t source, uint64_t root, uint32_t *element)
	__attribute__((warn_unused_result));

/* Takes an element out. Its number is used again by a later one. */
void lineage_remove(struct lineage *lineage, uint32_t element);

/* Whether `a` stands before `b`. */
static inline bool lineage_before(const struct lineage *lineage, uint32_t a, uint32_t b)
{
	return lineage->elements[a].label < lineage->elements[b].label;
}

/* LINEAGE_NONE behind the last; lineage_next(lineage, LINEAGE_NONE) is the first. */
static inline uint32_t lineage_next(const struct lineage *lineage, uint32_t element)
{
	return lineage->elements[element].next;
}

static inline uint64_t lineage_root(const struct lineage *lineage, uint32_t element)
{
	return lineage->elements[element].root;
}

#endif /* REFSTORM_QGROUP_LINEAGE_H */
