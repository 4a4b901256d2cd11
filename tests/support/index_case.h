/* SPDX-License-Identifier: MIT */
/* One extent index, and heads for it. Extents are 16 KiB, data of inode 257 or tree blocks. */
#ifndef REFSTORM_TEST_INDEX_CASE_H
#define REFSTORM_TEST_INDEX_CASE_H

#include "core/forest/extent_index.h"

#define BLOCK RS_DELTA_TREE_BLOCK_REF
#define DATA RS_DELTA_EXTENT_DATA_REF
#define FULL_BLOCK RS_DELTA_SHARED_BLOCK_REF
#define FULL_DATA RS_DELTA_SHARED_DATA_REF

#define UNIT UINT64_C(4096)
#define PAGE (UINT64_C(64) << 20) /* what the index keeps together */
#define TOP UINT64_C(0xfffffffffffff000)
#define HERE (UINT64_C(1) << 30)

extern struct extent_index *extents;

/* Of the last head. */
extern enum extent_outcome outcome;
extern uint64_t bytes;
extern struct rs_error error;

void index_begin(void);
struct rs_delta delta_at(uint64_t bytenr, unsigned type, uint64_t key, int count);

/* What extent_index_apply returns. */
int apply(uint64_t bytenr, const struct rs_delta *refs, size_t ref_count,
	  const struct rs_delta *roots, size_t root_count);
int apply_one(uint64_t bytenr, unsigned type, uint64_t key, int count);

void make_one(uint64_t bytenr);
void free_one(uint64_t bytenr);

/* The addresses of all extents; asserts that there are as many as are counted. */
uint64_t walk_sum(void);

#endif /* REFSTORM_TEST_INDEX_CASE_H */
