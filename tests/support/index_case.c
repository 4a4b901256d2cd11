/* SPDX-License-Identifier: MIT */
#include "tests/support/index_case.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

struct extent_index *extents;
enum extent_outcome outcome;
uint64_t bytes;
struct rs_error error;

void index_begin(void)
{
	assert_int_equal(extent_index_create(&extents), 0);
}

struct rs_delta delta_at(uint64_t bytenr, unsigned type, uint64_t key, int count)
{
	return (struct rs_delta){
		.bytenr = bytenr,
		.root = key,
		.owner = type == DATA ? 257 : 0,
		.count = count,
		.length_4k = 4,
		.seq_type = 77 << 8 | type,
	};
}

int apply(uint64_t bytenr, const struct rs_delta *refs, size_t ref_count,
	  const struct rs_delta *roots, size_t root_count)
{
	const struct rs_head head = {
		.transaction = 1,
		.bytenr = bytenr,
		.refs = refs,
		.ref_count = ref_count,
		.roots = roots,
		.root_count = root_count,
	};

	struct extent_result result;
	int ret;

	error = (struct rs_error)RS_ERROR_INIT;
	ret = extent_index_apply(extents, &head, &result, &error);
	outcome = result.outcome;
	bytes = result.bytes;
	return ret;
}

int apply_one(uint64_t bytenr, unsigned type, uint64_t key, int count)
{
	struct rs_delta delta = delta_at(bytenr, type, key, count);

	return apply(bytenr, &delta, 1, NULL, 0);
}

void make_one(uint64_t bytenr)
{
	assert_int_equal(apply_one(bytenr, DATA, 256, 1), 0);
	assert_int_equal(outcome, EXTENT_MADE);
}

void free_one(uint64_t bytenr)
{
	assert_int_equal(apply_one(bytenr, DATA, 256, -1), 0);
	assert_int_equal(outcome, EXTENT_FREED);
}

struct walk_total {
	uint64_t count;
	uint64_t sum;
};

static int walk_add(void *argument, const struct extent *extent)
{
	struct walk_total *total = argument;

	total->count++;
	total->sum += extent->bytenr;
	return 0;
}

uint64_t walk_sum(void)
{
	struct walk_total total = { 0 };

	assert_int_equal(extent_index_each(extents, walk_add, &total), 0);
	assert_int_equal(total.count, extent_index_count(extents));
	return total.sum;
}
