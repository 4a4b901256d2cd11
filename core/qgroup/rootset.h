/* SPDX-License-Identifier: MIT */
/*
 * Root sets, interned: equal sets have one id.
 *
 * A set is a canonical tuple of boundaries (begin, end, begin, end, ...),
 * half-open runs of the lineage in its order, no two of which touch. Boundaries
 * are numbers of lineage elements, not positions: taking a snapshot changes no set.
 *
 * Who may call: rootset_intern and the look-ups from any number of enrolled
 * threads together; not beside a change of the lineage. Progress: an intern that
 * hits is wait-free and writes no shared line; one that misses takes the lock of
 * one table shard of 64 and allocates.
 */
#ifndef REFSTORM_QGROUP_ROOTSET_H
#define REFSTORM_QGROUP_ROOTSET_H

#include "core/base/idtable.h"
#include "core/base/segments.h"

#define ROOTSET_EMPTY 0
#define ROOTSET_MAX (1U << 30)

struct rootset {
	uint32_t count; /* boundaries: twice the runs */
	uint32_t boundaries[];
};

struct rootset_table {
	struct idtable ids;
	struct segments sets; /* id -> order_ptr to its struct rootset */
};

/* 0 or -ENOMEM. The empty set is there from the start. */
int rootset_table_init(struct rootset_table *table) __attribute__((warn_unused_result));
void rootset_table_destroy(struct rootset_table *table);

/* The id of the set with these boundaries, in canonical form. 0, -ENOMEM, or -E2BIG past ROOTSET_MAX. */
int rootset_intern(struct rootset_table *table, const uint32_t *boundaries, uint32_t count,
		   uint32_t *id) __attribute__((warn_unused_result));

/* Valid as long as the table. `id` comes from rootset_intern. */
const struct rootset *rootset_at(const struct rootset_table *table, uint32_t id);

/* Ids are below this: one more than the sets that are not empty. Exact at rest. */
uint32_t rootset_limit(const struct rootset_table *table);

#endif /* REFSTORM_QGROUP_ROOTSET_H */
