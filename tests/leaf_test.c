/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/disk/csum.h"
#include "core/disk/put.h"
#include "core/forest/inner.h"
#include "core/forest/leaf.h"
#include "tests/support/threads.h"

#define BYTENR (UINT64_C(1) << 20)
#define TREE 256U
#define ITEMS_MAX (FORMAT_NODE_BYTES_MAX / sizeof(struct format_item))
#define STEPS 2000U
#define NUMBERS 1000000U /* of each side of a pair */

static const uint32_t sizes[] = { 4096, 8192, 16384, 32768, 65536 };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

/* What a leaf should hold: keys by number, data that follow from the number. */
struct model {
	uint32_t numbers[ITEMS_MAX];
	uint32_t bytes[ITEMS_MAX];
	uint32_t count;
};

struct pair {
	uint8_t blocks[2][FORMAT_NODE_BYTES_MAX];
	struct model models[2];
	uint32_t node_bytes;
};

static struct pair pair;

static struct format_key key_of(uint32_t number)
{
	return (struct format_key){ .objectid = number / 64, .type = 84, .offset = number % 64 };
}

static uint8_t byte_of(uint32_t number, uint32_t at)
{
	return (uint8_t)(number * 31 + at * 7 + 1);
}

static void block_begin(uint8_t *block, uint8_t level)
{
	struct format_header *header = (struct format_header *)block;

	/* What an earlier block left must not matter. */
	memset(block, 0xa5, pair.node_bytes);
	memset(header, 0, sizeof(*header));
	put_le64(&header->bytenr, BYTENR);
	put_le64(&header->generation, 1);
	put_le64(&header->owner, TREE);
	header->level = level;
}

static void pair_begin(uint32_t node_bytes, uint8_t level)
{
	pair.node_bytes = node_bytes;
	for (unsigned side = 0; side < 2; side++) {
		block_begin(pair.blocks[side], level);
		pair.models[side].count = 0;
	}
}

static void block_check(uint8_t *block, uint32_t node_bytes, uint8_t level)
{
	struct node_rules rules = { .node_bytes = node_bytes,
				    .sector_bytes = 4096,
				    .generation_max = 1 };
	struct node_expect expect = {
		.bytenr = BYTENR, .generation = 1, .owner = TREE, .level = level, .is_root = true
	};
	struct rs_error error = RS_ERROR_INIT;

	csum_block_write(rules.csum_type, block, node_bytes);
	if (node_check(&rules, &expect, block, &error))
		fail_msg("%s", error.what);
}

static uint32_t model_used(const struct model *model)
{
	uint32_t used = 0;

	for (uint32_t slot = 0; slot < model->count; slot++)
		used += model->bytes[slot] + LEAF_ITEM_BYTES;
	return used;
}

static void leaf_check(unsigned side)
{
	const struct model *model = &pair.models[side];
	uint8_t *leaf = pair.blocks[side];

	block_check(leaf, pair.node_bytes, 0);
	assert_int_equal(node_count(leaf), model->count);
	assert_int_equal(leaf_free_bytes(leaf, pair.node_bytes),
			 leaf_capacity(pair.node_bytes) - model_used(model));
	for (uint32_t slot = 0; slot < model->count; slot++) {
		struct format_key expected = key_of(model->numbers[slot]);
		struct format_key key = node_key(leaf, slot);
		const uint8_t *data = node_item_data(leaf, slot);

		assert_int_equal(format_key_compare(&key, &expected), 0);
		assert_int_equal(node_item_bytes(leaf, slot), model->bytes[slot]);
		for (uint32_t at = 0; at < model->bytes[slot]; at++)
			if (data[at] != byte_of(model->numbers[slot], at))
				fail_msg("item %u, byte %u of %u: %u", slot, at, model->bytes[slot],
					 data[at]);
	}
}

static void both_check(void)
{
	leaf_check(0);
	leaf_check(1);
}

/* From `begin` on what has come to be is zero; gets what belongs there. */
static void data_fill(unsigned side, uint32_t slot, uint32_t begin)
{
	uint8_t *leaf = pair.blocks[side];
	uint8_t *data = leaf + (node_item_data(leaf, slot) - leaf);

	for (uint32_t at = begin; at < pair.models[side].bytes[slot]; at++) {
		assert_int_equal(data[at], 0);
		data[at] = byte_of(pair.models[side].numbers[slot], at);
	}
}

/* `count` elements from `from` on in `a` before the one at `to` of `b`. */
static void model_move(struct model *a, uint32_t from, struct model *b, uint32_t to, uint32_t count)
{
	memmove(b->numbers + to + count, b->numbers + to, (b->count - to) * sizeof(uint32_t));
	memmove(b->bytes + to + count, b->bytes + to, (b->count - to) * sizeof(uint32_t));
	memcpy(b->numbers + to, a->numbers + from, count * sizeof(uint32_t));
	memcpy(b->bytes + to, a->bytes + from, count * sizeof(uint32_t));
	b->count += count;
	a->count -= count;
	memmove(a->numbers + from, a->numbers + from + count, (a->count - from) * sizeof(uint32_t));
	memmove(a->bytes + from, a->bytes + from + count, (a->count - from) * sizeof(uint32_t));
}

static void insert(unsigned side, uint32_t slot, uint32_t number, uint32_t bytes)
{
	struct model one = { .numbers = { number }, .bytes = { bytes }, .count = 1 };
	struct format_key key = key_of(number);

	leaf_item_insert(pair.blocks[side], pair.node_bytes, slot, &key, bytes);
	model_move(&one, 0, &pair.models[side], slot, 1);
	data_fill(side, slot, 0);
}

static void discard(unsigned side, uint32_t slot, uint32_t count)
{
	static struct model nowhere;

	nowhere.count = 0;
	leaf_items_remove(pair.blocks[side], pair.node_bytes, slot, count);
	model_move(&pair.models[side], slot, &nowhere, 0, count);
}

static void resize(unsigned side, uint32_t slot, uint32_t bytes)
{
	uint32_t old = pair.models[side].bytes[slot];

	leaf_item_resize(pair.blocks[side], pair.node_bytes, slot, bytes);
	pair.models[side].bytes[slot] = bytes;
	data_fill(side, slot, old);
}

static void move(bool right, uint32_t count)
{
	struct model *left = &pair.models[0];

	if (right) {
		leaf_move_right(pair.blocks[0], pair.blocks[1], pair.node_bytes, count);
		model_move(left, left->count - count, &pair.models[1], 0, count);
	} else {
		leaf_move_left(pair.blocks[0], pair.blocks[1], pair.node_bytes, count);
		model_move(&pair.models[1], 0, left, left->count, count);
	}
}

/* Whether `count` items, the first of the right or the last of the left, fit into the other leaf. */
static bool move_fits(bool right, uint32_t count)
{
	const struct model *from = &pair.models[!right];
	uint32_t first = right ? from->count - count : 0;
	uint32_t bytes = 0;

	for (uint32_t slot = first; slot < first + count; slot++)
		bytes += from->bytes[slot] + LEAF_ITEM_BYTES;
	return bytes + model_used(&pair.models[right]) <= leaf_capacity(pair.node_bytes);
}

static void items_come_and_go(void **state)
{
	(void)state;
	for (unsigned at = 0; at < SIZES; at++) {
		uint32_t most = leaf_capacity(sizes[at]) - LEAF_ITEM_BYTES;

		pair_begin(sizes[at], 0);
		both_check();
		insert(0, 0, 50, most);
		leaf_check(0);
		assert_int_equal(leaf_free_bytes(pair.blocks[0], sizes[at]), 0);
		resize(0, 0, 0);
		leaf_check(0);
		insert(0, 0, 20, 0);
		insert(0, 2, 90, 100);
		insert(0, 1, 30, 1);
		insert(0, 4, 99, most - 101 - 4 * LEAF_ITEM_BYTES);
		leaf_check(0);
		assert_int_equal(leaf_free_bytes(pair.blocks[0], sizes[at]), 0);
		resize(0, 3, 0);
		resize(0, 1, 101);
		resize(0, 4, 7);
		leaf_check(0);
		discard(0, 1, 2);
		leaf_check(0);
		discard(0, 1, 0);
		discard(0, 0, 1);
		leaf_check(0);
		discard(0, 0, 2);
		leaf_check(0);
	}
}

static void items_fill_a_leaf(void **state)
{
	(void)state;
	for (unsigned at = 0; at < SIZES; at++) {
		uint32_t count = leaf_capacity(sizes[at]) / LEAF_ITEM_BYTES;

		pair_begin(sizes[at], 0);
		for (uint32_t number = 0; number < count; number++)
			insert(0, number, number, 0);
		leaf_check(0);
		assert_true(leaf_free_bytes(pair.blocks[0], sizes[at]) < LEAF_ITEM_BYTES);
		discard(0, 0, count);
		leaf_check(0);
	}
}

static void items_move_between_leaves(void **state)
{
	(void)state;
	for (unsigned at = 0; at < SIZES; at++)
		for (uint32_t count = 0; count <= 6; count++) {
			pair_begin(sizes[at], 0);
			for (uint32_t slot = 0; slot < 6; slot++) {
				insert(0, slot, slot, slot * 100);
				insert(1, slot, 100 + slot, slot * 50);
			}
			move(false, count);
			both_check();
			move(true, count + 6 < 9 ? count + 6 : 9);
			both_check();
			move(false, pair.models[1].count);
			both_check();
			move(true, 12);
			both_check();
		}
}

static void keys_change(void **state)
{
	struct format_key key = key_of(7);

	(void)state;
	pair_begin(4096, 0);
	insert(0, 0, 5, 10);
	insert(0, 1, 9, 10);
	leaf_item_rekey(pair.blocks[0], 1, &key);
	assert_int_equal(node_key(pair.blocks[0], 1).offset, 7);
	assert_int_equal(node_key(pair.blocks[0], 0).offset, 5);
	block_check(pair.blocks[0], 4096, 0);
}

/* Bytes of the fuller part, or UINT32_MAX if the cut is not one, or a part is too full. */
static uint32_t cut_bytes(const struct leaf_split *split, const struct leaf_need *need)
{
	const struct model *model = &pair.models[0];
	uint32_t parts[2] = { 0, 0 };
	uint32_t items[2] = { 0, 0 };
	uint32_t slot;

	for (slot = 0; slot < model->count; slot++) {
		parts[slot >= split->left] += model->bytes[slot] + LEAF_ITEM_BYTES;
		items[slot >= split->left]++;
	}
	if (need->grow && (need->slot >= split->left) != split->right)
		return UINT32_MAX;
	if (!need->grow && (split->right ? need->slot < split->left : need->slot > split->left))
		return UINT32_MAX;
	items[split->right] += !need->grow;
	parts[split->right] += need->bytes + (need->grow ? 0 : LEAF_ITEM_BYTES);
	if (!items[0] || !items[1] || parts[0] > leaf_capacity(pair.node_bytes) ||
	    parts[1] > leaf_capacity(pair.node_bytes))
		return UINT32_MAX;
	return parts[0] > parts[1] ? parts[0] : parts[1];
}

static uint32_t best_bytes(const struct leaf_need *need)
{
	uint32_t best = UINT32_MAX;

	for (uint32_t left = 0; left <= pair.models[0].count; left++)
		for (unsigned right = 0; right < 2; right++) {
			struct leaf_split split = { .left = left, .right = right };
			uint32_t bytes = cut_bytes(&split, need);

			best = bytes < best ? bytes : best;
		}
	return best;
}

/* As even as can be; or behind the new item, and then neither part too full. */
static void split_even_check(const struct leaf_split *split, const struct leaf_need *need)
{
	struct leaf_split behind = { .left = need->slot };
	uint32_t most = leaf_capacity(pair.node_bytes) / 4 * 3;

	if (!need->grow && cut_bytes(&behind, need) <= most) {
		assert_int_equal(split->left, need->slot);
		assert_false(split->right);
	} else {
		assert_int_equal(cut_bytes(split, need), best_bytes(need));
	}
}

/* Cuts for a need until there is room: once, or twice. */
static void split_check(struct leaf_need need)
{
	uint32_t best = best_bytes(&need);
	struct leaf_split split = leaf_split_find(pair.blocks[0], pair.node_bytes, &need);

	if (best < UINT32_MAX) {
		split_even_check(&split, &need);
		return;
	}
	/* The part where it belongs becomes the leaf. */
	assert_in_range(split.left, 1, pair.models[0].count - 1);
	move(true, pair.models[0].count - split.left);
	if (split.right) {
		discard(0, 0, split.left);
		move(false, pair.models[1].count);
		need.slot -= split.left;
	}
	assert_in_range(need.slot, 0, pair.models[0].count - need.grow);
	assert_true(best_bytes(&need) < UINT32_MAX);
	split = leaf_split_find(pair.blocks[0], pair.node_bytes, &need);
	split_even_check(&split, &need);
}

static void splits_are_even(void **state)
{
	struct random_state random;
	unsigned twice = 0;

	(void)state;
	random_state_seed(&random, threads_data_seed("leaf_test"), 0);
	for (unsigned round = 0; round < STEPS; round++) {
		uint32_t most;
		struct leaf_need need;

		pair_begin(sizes[round % SIZES], 0);
		most = leaf_capacity(pair.node_bytes) /
		       (1 + (uint32_t)random_state_below(&random, 9));
		for (;;) {
			uint32_t count = pair.models[0].count;
			uint32_t bytes =
				(uint32_t)random_state_below(&random, most - LEAF_ITEM_BYTES + 1);

			if (leaf_free_bytes(pair.blocks[0], pair.node_bytes) <
			    bytes + LEAF_ITEM_BYTES)
				break;
			insert(0, count, 2 * count, bytes);
		}
		need.grow = random_state_chance(&random, 1, 2) && pair.models[0].count > 1;
		need.slot =
			(uint32_t)random_state_below(&random, pair.models[0].count + !need.grow);
		most = leaf_capacity(pair.node_bytes) - LEAF_ITEM_BYTES;
		most -= need.grow ? pair.models[0].bytes[need.slot] : 0;
		need.bytes = most - (uint32_t)random_state_below(&random, most / 2 + 1);
		twice += best_bytes(&need) == UINT32_MAX;
		split_check(need);
	}
	assert_true(twice > STEPS / 100);
}

/* A number between those of its neighbours; false: there is none. */
static bool number_find(struct random_state *random, unsigned side, uint32_t slot, uint32_t *number)
{
	const struct model *model = &pair.models[side];
	uint32_t low = slot ? model->numbers[slot - 1] + 1 : side * NUMBERS;
	uint32_t end = slot < model->count ? model->numbers[slot] : (side + 1) * NUMBERS;

	if (low == end)
		return false;
	*number = low + (uint32_t)random_state_below(random, end - low);
	return true;
}

static void random_insert(struct random_state *random, unsigned side)
{
	uint32_t room = leaf_free_bytes(pair.blocks[side], pair.node_bytes);
	uint32_t slot = (uint32_t)random_state_below(random, pair.models[side].count + 1);
	uint32_t most = random_state_chance(random, 1, 20) ? UINT32_MAX : 200;
	uint32_t number;

	if (room < LEAF_ITEM_BYTES || !number_find(random, side, slot, &number))
		return;
	room -= LEAF_ITEM_BYTES;
	insert(side, slot, number,
	       (uint32_t)random_state_below(random, 1 + (uint64_t)(room < most ? room : most)));
}

/* Items go to the other leaf and come back: numbers stay on their side. */
static void random_exchange(struct random_state *random, bool right)
{
	uint32_t count = (uint32_t)random_state_below(random, pair.models[!right].count + 1);

	if (!move_fits(right, count))
		return;
	move(right, count);
	both_check();
	move(!right, count);
}

static void random_step(struct random_state *random)
{
	unsigned side = (unsigned)random_state_below(random, 2);
	struct model *model = &pair.models[side];
	uint32_t room = leaf_free_bytes(pair.blocks[side], pair.node_bytes);
	uint32_t slot = (uint32_t)random_state_below(random, model->count);
	uint32_t rest = model->count - slot;

	switch (random_state_below(random, 8)) {
	case 0:
		random_exchange(random, side);
		break;
	case 1:
		discard(side, slot, (uint32_t)random_state_below(random, rest < 8 ? rest + 1 : 8));
		break;
	case 2:
	case 3:
		if (model->count)
			resize(side, slot,
			       (uint32_t)random_state_below(random, 1 + model->bytes[slot] + room));
		break;
	default:
		random_insert(random, side);
	}
}

static void random_changes_are_as_the_model_says(void **state)
{
	struct random_state random;

	(void)state;
	random_state_seed(&random, threads_data_seed("leaf_test"), 1);
	for (unsigned at = 0; at < SIZES; at++) {
		pair_begin(sizes[at], 0);
		for (unsigned step = 0; step < STEPS; step++) {
			random_step(&random);
			if (step % 8 == 0)
				both_check();
		}
		both_check();
	}
}

static void pointers_expect(unsigned side, const uint64_t *objectids, uint32_t count)
{
	const uint8_t *node = pair.blocks[side];

	assert_int_equal(node_count(node), count);
	if (count)
		block_check(pair.blocks[side], pair.node_bytes, 1);
	for (uint32_t slot = 0; slot < count; slot++) {
		struct node_expect child = node_child(node, slot, TREE);

		assert_int_equal(child.first_key.objectid, objectids[slot]);
		assert_int_equal(child.bytenr, objectids[slot] << 12);
		assert_int_equal(child.generation, objectids[slot] + 5);
	}
}

static void pointer_insert(unsigned side, uint32_t slot, uint64_t objectid)
{
	struct inner_pointer pointer = { .key = { .objectid = objectid },
					 .bytenr = objectid << 12,
					 .generation = objectid + 5 };

	inner_pointer_insert(pair.blocks[side], slot, &pointer);
}

static void pointers_come_and_go(void **state)
{
	struct format_key key = { .objectid = 3 };

	(void)state;
	for (unsigned at = 0; at < SIZES; at++) {
		pair_begin(sizes[at], 1);
		pointer_insert(0, 0, 20);
		pointer_insert(0, 0, 10);
		pointer_insert(0, 2, 40);
		pointer_insert(0, 2, 30);
		pointers_expect(0, (uint64_t[]){ 10, 20, 30, 40 }, 4);
		inner_pointer_remove(pair.blocks[0], 1);
		pointers_expect(0, (uint64_t[]){ 10, 30, 40 }, 3);
		inner_move_right(pair.blocks[0], pair.blocks[1], 2);
		pointer_insert(1, 2, 50);
		inner_move_right(pair.blocks[0], pair.blocks[1], 0);
		pointers_expect(0, (uint64_t[]){ 10 }, 1);
		pointers_expect(1, (uint64_t[]){ 30, 40, 50 }, 3);
		inner_move_left(pair.blocks[0], pair.blocks[1], 1);
		pointers_expect(0, (uint64_t[]){ 10, 30 }, 2);
		pointers_expect(1, (uint64_t[]){ 40, 50 }, 2);
		inner_move_right(pair.blocks[0], pair.blocks[1], 2);
		pointers_expect(0, NULL, 0);
		pointers_expect(1, (uint64_t[]){ 10, 30, 40, 50 }, 4);
		inner_key_set(pair.blocks[1], 0, &key);
		assert_int_equal(node_key(pair.blocks[1], 0).objectid, 3);
		inner_pointer_remove(pair.blocks[1], 0);
		inner_pointer_remove(pair.blocks[1], 2);
		pointers_expect(1, (uint64_t[]){ 30, 40 }, 2);
	}
}

static void pointers_fill_a_node(void **state)
{
	(void)state;
	for (unsigned at = 0; at < SIZES; at++) {
		uint32_t count = inner_capacity(sizes[at]);

		pair_begin(sizes[at], 1);
		for (uint32_t slot = 0; slot < count; slot++)
			pointer_insert(0, slot, slot + 1);
		block_check(pair.blocks[0], sizes[at], 1);
		assert_true((count + 1) * sizeof(struct format_key_ptr) > leaf_capacity(sizes[at]));
		inner_move_right(pair.blocks[0], pair.blocks[1], count);
		block_check(pair.blocks[1], sizes[at], 1);
		assert_int_equal(node_count(pair.blocks[1]), count);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_come_and_go),
		cmocka_unit_test(items_fill_a_leaf),
		cmocka_unit_test(items_move_between_leaves),
		cmocka_unit_test(keys_change),
		cmocka_unit_test(splits_are_even),
		cmocka_unit_test(random_changes_are_as_the_model_says),
		cmocka_unit_test(pointers_come_and_go),
		cmocka_unit_test(pointers_fill_a_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
