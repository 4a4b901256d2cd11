/* SPDX-License-Identifier: MIT */
/*
 * What exactly is wrong with extents whose two sides differ: all their references
 * are gathered from both sides, sorted, and laid against each other.
 *
 * Who may call: backref_detail_add each worker on its own list; the rest one thread, when no worker runs.
 */
#ifndef REFSTORM_ORACLE_BACKREF_DETAIL_H
#define REFSTORM_ORACLE_BACKREF_DETAIL_H

#include "stress/oracle/extent_map.h"
#include "stress/oracle/findings.h"
#include "stress/oracle/reference.h"

/* One reference, as often as each side has it. */
struct detailed_reference {
	struct reference reference;
	uint64_t stored;  /* in the extent tree */
	uint64_t implied; /* by trees */
};

struct detail_list {
	struct detailed_reference *references;
	size_t count;
	size_t capacity;
} __attribute__((aligned(ORDER_LINE)));

/* 0 or -ENOMEM. */
int backref_detail_add(struct detail_list *list, const struct reference *reference, uint64_t stored,
		       uint64_t implied) __attribute__((warn_unused_result));

/* Says what differs, and for which extents the item's sum is wrong. Frees the lists. 0 or -ENOMEM. */
int backref_detail_report(struct detail_list *lists, unsigned count, const struct extent_map *map,
			  struct findings *findings) __attribute__((warn_unused_result));

#endif /* REFSTORM_ORACLE_BACKREF_DETAIL_H */
