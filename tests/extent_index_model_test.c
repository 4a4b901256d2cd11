/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/forest/extent_index.h"
#include "tests/support/threads.h"

#define BLOCK RS_DELTA_TREE_BLOCK_REF
#define DATA RS_DELTA_EXTENT_DATA_REF
#define FULL_BLOCK RS_DELTA_SHARED_BLOCK_REF
#define FULL_DATA RS_DELTA_SHARED_DATA_REF

#define UNIT UINT64_C(4096)
#define PAGE (UINT64_C(64) << 20) /* what the index keeps together */
#define HERE (UINT64_C(1) << 30)

/* An array of extents with an array of references each, in no order. */
#define MODEL_EXTENTS 96U
#define MODEL_REFS 32U
#define MODEL_DELTAS 10U

struct model_extent {
	uint64_t bytenr;
	uint32_t length_4k;
	bool metadata;
	unsigned count;
	struct extent_ref refs[MODEL_REFS];
};

static struct extent_index *extents;

static struct {
	struct random_state random;
	struct model_extent extents[MODEL_EXTENTS];
	struct rs_delta refs[MODEL_DELTAS]; /* of the head */
	size_t ref_count;
	struct rs_delta roots[2];
	size_t root_count;
	unsigned outcomes[EXTENT_ABSENT + 1];
	unsigned refused;
	unsigned without_memory;
} model;

static uint64_t below(uint64_t bound)
{
	return random_state_below(&model.random, bound);
}

/* But for the count. */
static bool same_ref(struct extent_ref a, const struct extent_ref *b)
{
	return a.type == b->type && a.root_or_parent == b->root_or_parent && a.owner == b->owner &&
	       a.offset == b->offset;
}

static bool same_key(const struct extent_ref *ref, const struct rs_delta *delta)
{
	bool full = ref->type == FULL_BLOCK || ref->type == FULL_DATA;

	return ref->type == rs_delta_type(delta) && ref->root_or_parent == delta->root &&
	       (full || (ref->owner == delta->owner && ref->offset == delta->offset));
}

/* What is there without the change; -EUCLEAN if it cannot be made. */
static int model_change(struct model_extent *extent, const struct rs_delta *delta)
{
	unsigned type = rs_delta_type(delta);
	int64_t count = delta->count;
	unsigned at = 0;

	if (delta->length_4k != extent->length_4k)
		return -EUCLEAN;
	if ((type == BLOCK || type == FULL_BLOCK) != extent->metadata)
		return -EUCLEAN;
	while (at < extent->count && !same_key(&extent->refs[at], delta))
		at++;
	if (at < extent->count) {
		count += extent->refs[at].count;
		extent->refs[at] = extent->refs[--extent->count];
	}
	if (count < 0 || (count > 1 && extent->metadata))
		return -EUCLEAN;
	if (count)
		extent->refs[extent->count++] = (struct extent_ref){
			.root_or_parent = delta->root,
			.owner = delta->owner,
			.offset = delta->offset,
			.count = (uint32_t)count,
			.type = (uint8_t)type,
		};
	return 0;
}

/* A reference that is there, or any: of its kind, nearly always. */
static struct rs_delta model_delta(const struct model_extent *extent, bool metadata)
{
	struct rs_delta delta = {
		.bytenr = extent->bytenr,
		.length_4k = extent->length_4k + !below(400),
	};

	if (extent->count && below(5) < 3) {
		const struct extent_ref *ref = &extent->refs[below(extent->count)];

		delta.seq_type = ref->type;
		delta.root = ref->root_or_parent;
		delta.owner = ref->owner;
		delta.offset = ref->offset;
		delta.count = below(3) ? -(int32_t)ref->count : -1;
		return delta;
	}
	if (!below(400))
		metadata = !metadata;
	delta.seq_type = metadata ? (below(2) ? BLOCK : FULL_BLOCK) : (below(2) ? DATA : FULL_DATA);
	delta.root = 1 + below(4);
	if (delta.seq_type == FULL_BLOCK || delta.seq_type == FULL_DATA)
		delta.root *= UNIT;
	if (delta.seq_type == DATA) {
		delta.owner = below(2);
		delta.offset = below(2) * UNIT;
	}
	delta.count = metadata ? 1 : 1 + (int32_t)below(3);
	if (!below(100))
		delta.count = -delta.count;
	return delta;
}

static int by_order(const void *left, const void *right)
{
	const struct rs_delta *a = left;
	const struct rs_delta *b = right;
	const uint64_t keys[2][5] = {
		{ a->count < 0, rs_delta_type(a), a->root, a->owner, a->offset },
		{ b->count < 0, rs_delta_type(b), b->root, b->owner, b->offset },
	};
	unsigned at = 0;

	while (at < 5 && keys[0][at] == keys[1][at])
		at++;
	return at == 5 ? 0 : keys[0][at] < keys[1][at] ? -1 : 1;
}

/* A head as the record path makes them: each key once, additions first. */
static void model_head(const struct model_extent *extent)
{
	bool metadata = extent->count ? extent->metadata : below(2);
	size_t wanted = below(4) ? below(3) : below(MODEL_DELTAS + 1);
	size_t at;

	model.ref_count = 0;
	while (wanted--) {
		struct rs_delta delta = model_delta(extent, metadata);

		for (at = 0; at < model.ref_count; at++)
			if (delta.seq_type == model.refs[at].seq_type &&
			    delta.root == model.refs[at].root &&
			    delta.owner == model.refs[at].owner &&
			    delta.offset == model.refs[at].offset)
				break;
		if (at == model.ref_count)
			model.refs[model.ref_count++] = delta;
	}
	qsort(model.refs, model.ref_count, sizeof(*model.refs), by_order);
	model.root_count = below(3);
	for (at = 0; at < model.root_count; at++) {
		model.roots[at] = (struct rs_delta){
			.bytenr = extent->bytenr,
			.root = at,
			.reserved = below(2),
			.count = 1,
			.length_4k = extent->length_4k + !below(400),
			.seq_type = RS_DELTA_ROOT,
		};
	}
}

/* What the head must do; `after` becomes what there is then. */
static int model_expect(struct model_extent *after, enum extent_outcome *expected)
{
	bool was = after->count;
	bool reserved = false;
	size_t at;
	int ret = 0;

	if (!was && model.ref_count)
		after->metadata = rs_delta_type(model.refs) == BLOCK ||
				  rs_delta_type(model.refs) == FULL_BLOCK;
	if (!was && model.ref_count + model.root_count)
		after->length_4k = (model.ref_count ? model.refs : model.roots)->length_4k;
	for (at = 0; at < model.ref_count && !ret; at++)
		ret = model_change(after, &model.refs[at]);
	for (at = 0; at < model.root_count; at++) {
		reserved |= model.roots[at].reserved > 0;
		if (model.roots[at].length_4k != after->length_4k)
			ret = -EUCLEAN;
	}
	*expected = after->count ? (was ? EXTENT_KEPT : EXTENT_MADE) :
				   (was || reserved ? EXTENT_FREED : EXTENT_ABSENT);
	return ret;
}

static void model_assert(const struct model_extent *extent)
{
	struct extent found;
	uint64_t refs = 0;
	unsigned at;
	unsigned match;

	assert_int_equal(extent_index_find(extents, extent->bytenr, &found), extent->count > 0);
	if (!extent->count)
		return;
	assert_int_equal(found.bytenr, extent->bytenr);
	assert_int_equal(found.bytes, extent->length_4k * UNIT);
	assert_int_equal(found.metadata, extent->metadata);
	assert_int_equal(extent_ref_count(&found), extent->count);
	for (at = 0; at < extent->count; at++) {
		const struct extent_ref *ref = &extent->refs[at];

		for (match = 0; match < extent_ref_count(&found); match++)
			if (same_ref(extent_ref_at(&found, match), ref))
				break;
		assert_true(match < extent_ref_count(&found));
		assert_int_equal(extent_ref_at(&found, match).count, ref->count);
		refs += ref->count;
	}
	assert_int_equal(found.refs, refs);
}

static void model_step(void)
{
	struct model_extent *extent = &model.extents[below(MODEL_EXTENTS)];
	struct model_extent after = *extent;
	struct rs_head head;
	enum extent_outcome expected;
	struct extent_result result;
	struct rs_error error = RS_ERROR_INIT;
	bool refused;
	int ret;

	model_head(extent);
	refused = model_expect(&after, &expected);
	head = (struct rs_head){
		.bytenr = extent->bytenr,
		.refs = model.refs,
		.ref_count = model.ref_count,
		.roots = model.roots,
		.root_count = model.root_count,
	};
	if (!below(3))
		alloc_fail_arm(1 + below(3), (int)below(2));
	ret = extent_index_apply(extents, &head, &result, &error);
	if (ret == -ENOMEM) {
		assert_true(alloc_fail_count() > 0);
		model.without_memory++;
	} else if (refused) {
		assert_int_equal(ret, -EUCLEAN);
		model.refused++;
	} else {
		assert_int_equal(ret, 0);
		assert_int_equal(result.outcome, expected);
		if (model.ref_count + model.root_count)
			assert_int_equal(result.bytes, after.length_4k * UNIT);
		model.outcomes[result.outcome]++;
		*extent = after;
	}
	alloc_fail_arm(0, 0);
	model_assert(extent);
}

static int walk_one(void *argument, const struct extent *extent)
{
	*(uint64_t *)argument += extent->bytenr;
	return 0;
}

static void histories_are_as_the_model_says(void **state)
{
	unsigned present = 0;
	uint64_t sum = 0;
	uint64_t walked = 0;
	unsigned step;
	unsigned at;

	(void)state;
	assert_int_equal(extent_index_create(&extents), 0);
	memset(&model, 0, sizeof(model));
	random_state_seed(&model.random, threads_data_seed("extent_index_model_test"), 0);
	for (at = 0; at < MODEL_EXTENTS; at++) {
		model.extents[at].bytenr = at < 70 ? HERE + at * UNIT :
					   at < 80 ? 2 * PAGE + (at - 75) * UNIT :
						     at * PAGE;
		model.extents[at].length_4k = 1 + at % 7;
	}
	for (step = 0; step < 200000; step++)
		model_step();
	for (at = 0; at < MODEL_EXTENTS; at++) {
		model_assert(&model.extents[at]);
		present += model.extents[at].count > 0;
		sum += model.extents[at].count ? model.extents[at].bytenr : 0;
	}
	assert_int_equal(extent_index_count(extents), present);
	assert_int_equal(extent_index_each(extents, walk_one, &walked), 0);
	assert_int_equal(walked, sum);
	for (at = EXTENT_KEPT; at <= EXTENT_ABSENT; at++)
		assert_true(model.outcomes[at] > 1000);
	assert_true(model.refused > 1000);
	assert_true(model.without_memory > 50);
	extent_index_destroy(extents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(histories_are_as_the_model_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
