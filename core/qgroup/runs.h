/* SPDX-License-Identifier: MIT */
/*
 * A union of runs under construction: which roots reach a block or an extent,
 * collected from all its parents by many workers at once.
 *
 * A run is a half-open range of positions in the lineage. Nearly every union is
 * one run, which is held in the word itself; one of several is a list that the
 * word points to.
 *
 * Who may call: runs_add from any thread on any union, together. runs_read and
 * runs_clear when nobody adds. Progress: runs_add is lock-free while the union
 * is one run, and takes the list's bit lock after that (held for one insertion).
 * Shared lines written: the one that holds the word, and none where the union
 * has the run already.
 */
#ifndef REFSTORM_QGROUP_RUNS_H
#define REFSTORM_QGROUP_RUNS_H

#include <stddef.h>

#include "core/base/order.h"

#define RUNS_POSITION_MAX 0x7fffffffU

struct run {
	uint32_t begin;
	uint32_t end; /* above begin, at most RUNS_POSITION_MAX */
};

/* Zero is the empty union. */
struct runs {
	order_u64 word;
};

/* Adds one run. 0 or -ENOMEM; the union is then as it was. */
int runs_add(struct runs *runs, struct run run) __attribute__((warn_unused_result));

/*
 * The runs in ascending order, with a gap between each two. Returns their number
 * and where they stand: `*single`, or the list, valid until the union changes.
 */
size_t runs_read(const struct runs *runs, struct run *single, const struct run **out);

/* Empties the union and frees its list. */
void runs_clear(struct runs *runs);

#endif /* REFSTORM_QGROUP_RUNS_H */
