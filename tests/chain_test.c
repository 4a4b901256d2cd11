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
#include "core/qgroup/chain.h"
#include "tests/support/bitmap.h"
#include "tests/support/threads.h"

#define ITEMS_MAX 40
#define BLOCKS 60
#define TARGETS 2000

/* A version of a leaf: its items, ascending, and the roots that reach it. */
struct version {
	struct chain_item items[ITEMS_MAX];
	uint32_t item_count;
	struct run runs[BITMAP_BITS / 2];
	size_t run_count;
};

/* What a history of versions leads to; targets are numbered by bytenr. */
struct history {
	struct version versions[BLOCKS];
	uint32_t version_count;
	uint32_t targets;
	uint32_t lifetimes; /* items that came, each counted once until it goes */
};

/* The bytenr of targets, some of which stand in several places. */
static void item_renew(struct history *history, struct random_state *random,
		       struct chain_item *item)
{
	if (history->targets && random_state_chance(random, 1, 5))
		item->bytenr = random_state_below(random, history->targets);
	else
		item->bytenr = history->targets++;
	item->check = 1 + random_state_below(random, 2);
	history->lifetimes++;
	assert_true(history->targets <= TARGETS);
}

/* Keys that differ in each of their parts. */
static struct format_key key_of(uint64_t number)
{
	struct format_key key = { .objectid = 256 + number / 8,
				  .type = number / 4 % 2 ? 108 : 84,
				  .offset = number % 4 * 4096 };

	return key;
}

/* The next version: some items go, some come, some get another target or another check. */
static void version_change(struct history *history, struct random_state *random,
			   const struct version *old, struct version *next)
{
	uint32_t at = 0;
	uint64_t number;

	next->item_count = 0;
	for (number = 0; number < ITEMS_MAX; number++) {
		struct format_key key = key_of(number);
		struct chain_item *item = &next->items[next->item_count];
		bool there = at < old->item_count && !format_key_compare(&old->items[at].key, &key);

		if (there)
			*item = old->items[at++];
		if (there && random_state_chance(random, 1, 12))
			continue; /* gone */
		if (!there && !random_state_chance(random, 1, 8))
			continue;
		if (there && random_state_chance(random, 1, 12)) {
			item->check ^= 3;
			history->lifetimes++;
		} else if (!there || random_state_chance(random, 1, 12)) {
			item_renew(history, random, item);
		}
		item->key = key;
		next->item_count++;
	}
}

/* Reached by any set of roots, or, in the order of the lineage, by the next few. */
static void version_reach(struct random_state *random, bool in_order, uint32_t *position,
			  struct version *version)
{
	struct bitmap roots;

	if (in_order) {
		version->runs[0].begin = *position;
		*position += 1 + (uint32_t)random_state_below(random, 3);
		version->runs[0].end = *position;
		version->run_count = 1;
		return;
	}
	bitmap_random(random, BITMAP_BITS, &roots);
	version->run_count = bitmap_runs(&roots, version->runs);
}

static void history_make(struct history *history, struct random_state *random, bool in_order)
{
	struct version none = { .item_count = 0 };
	uint32_t position = 0;
	uint32_t at;

	memset(history, 0, sizeof(*history));
	history->version_count = 1 + (uint32_t)random_state_below(random, BLOCKS);
	for (at = 0; at < history->version_count; at++) {
		struct version *version = &history->versions[at];

		version_change(history, random, at ? version - 1 : &none, version);
		version_reach(random, in_order, &position, version);
	}
}

static void history_shuffle(struct history *history, struct random_state *random)
{
	static struct version swap;
	uint32_t at;

	for (at = history->version_count; at > 1; at--) {
		uint64_t other = random_state_below(random, at);

		swap = history->versions[at - 1];
		history->versions[at - 1] = history->versions[other];
		history->versions[other] = swap;
	}
}

/* One block through the chain. The first error there was; the work is given up then. */
static int version_run(struct chain *chain, const struct version *version, struct runs *targets)
{
	int ret = 0;
	uint32_t at;

	chain_begin(chain, version->runs, version->run_count);
	for (at = 0; !ret && at < version->item_count; at++) {
		const struct chain_item *item = &version->items[at];

		if (!chain_take(chain, item, &ret) && !ret)
			ret = chain_add(chain, item, &targets[item->bytenr]);
	}
	return ret ? ret : chain_end(chain);
}

static void wanted_add(const struct version *version, struct bitmap *wanted)
{
	uint32_t at;
	size_t run;

	for (at = 0; at < version->item_count; at++)
		for (run = 0; run < version->run_count; run++)
			bitmap_add_run(&wanted[version->items[at].bytenr], version->runs[run]);
}

/* How many unions have another word than they had. */
static uint32_t words_changed(const struct runs *targets, uint64_t *words, uint32_t count)
{
	uint32_t changed = 0;
	uint32_t at;

	for (at = 0; at < count; at++) {
		uint64_t word = order_load_relaxed(&targets[at].word);

		changed += words[at] != word;
		words[at] = word;
	}
	return changed;
}

/* The unions are those of adding each run of each block to each of its items. */
static void history_check(const struct history *history, struct runs *targets, bool in_order)
{
	struct bitmap *wanted = calloc(TARGETS, sizeof(*wanted));
	uint64_t *words = calloc(TARGETS, sizeof(*words));
	struct chain chain;
	uint32_t changes = 0;
	uint32_t at;

	assert_non_null(wanted);
	assert_non_null(words);
	assert_int_equal(chain_init(&chain, ITEMS_MAX), 0);
	for (at = 0; at < history->version_count; at++) {
		assert_int_equal(version_run(&chain, &history->versions[at], targets), 0);
		wanted_add(&history->versions[at], wanted);
		changes += words_changed(targets, words, history->targets);
	}
	assert_int_equal(chain_finish(&chain), 0);
	changes += words_changed(targets, words, history->targets);
	/* In the order of the lineage, an item is added when it goes: once. */
	if (in_order)
		assert_true(changes <= history->lifetimes);
	for (at = 0; at < history->targets; at++) {
		assert_true(bitmap_is_union(&wanted[at], &targets[at]));
		runs_clear(&targets[at]);
	}
	chain_destroy(&chain);
	free(words);
	free(wanted);
}

static struct history history;
static struct runs targets[TARGETS];

static void chain_in_lineage_order(void **state)
{
	struct random_state random;
	unsigned round;

	(void)state;
	random_state_seed(&random, threads_data_seed("chain_in_lineage_order"), 0);
	for (round = 0; round < 200; round++) {
		history_make(&history, &random, true);
		history_check(&history, targets, true);
	}
}

static void chain_in_any_order(void **state)
{
	struct random_state random;
	unsigned round;

	(void)state;
	random_state_seed(&random, threads_data_seed("chain_in_any_order"), 0);
	for (round = 0; round < 200; round++) {
		history_make(&history, &random, round % 2);
		if (round % 4)
			history_shuffle(&history, &random);
		history_check(&history, targets, false);
	}
}

/* What is taken over from a block with one item: only that item, in all its parts. */
static void chain_takes_the_same_item_only(void **state)
{
	const struct chain_item old = { .key = { 300, 4096, 108 }, .bytenr = 9, .check = 5 };
	const struct run run = { 1, 2 };
	unsigned change;

	(void)state;
	for (change = 0; change < 8; change++) {
		struct runs target = { 0 };
		struct chain_item item = old;
		struct chain chain;
		int result = 0;

		item.key.objectid += change == 1;
		item.key.objectid -= change == 2;
		item.key.offset += change == 3;
		item.key.offset -= change == 4;
		item.key.type = change == 5 ? 84 : 108;
		item.bytenr += change == 6;
		item.check += change == 7;
		assert_int_equal(chain_init(&chain, 1), 0);
		chain_begin(&chain, &run, 1);
		assert_false(chain_take(&chain, &old, &result));
		assert_int_equal(chain_add(&chain, &old, &target), 0);
		assert_int_equal(chain_end(&chain), 0);
		chain_begin(&chain, &run, 1);
		assert_int_equal(chain_take(&chain, &item, &result), change == 0);
		assert_int_equal(result, 0);
		assert_int_equal(chain_end(&chain), 0);
		chain_destroy(&chain);
		runs_clear(&target);
	}
}

/* Two histories through one chain: chain_finish begins a new one. */
static void chain_is_used_again(void **state)
{
	struct version version = { .item_count = 1, .runs = { { 4, 6 } }, .run_count = 1 };
	struct bitmap wanted = { { 0 } };
	struct runs target = { 0 };
	struct chain chain;

	(void)state;
	version.items[0].key = key_of(1);
	assert_int_equal(chain_init(&chain, 1), 0);
	assert_int_equal(chain_finish(&chain), 0);
	assert_int_equal(version_run(&chain, &version, &target), 0);
	assert_true(bitmap_is_union(&wanted, &target));
	assert_int_equal(chain_finish(&chain), 0);
	bitmap_add_run(&wanted, version.runs[0]);
	assert_true(bitmap_is_union(&wanted, &target));
	version.runs[0] = (struct run){ 10, 11 };
	assert_int_equal(version_run(&chain, &version, &target), 0);
	assert_int_equal(chain_finish(&chain), 0);
	bitmap_add_run(&wanted, version.runs[0]);
	assert_true(bitmap_is_union(&wanted, &target));
	chain_destroy(&chain);
	runs_clear(&target);
}

/* An item that 100,000 versions have is written once. */
static void chain_writes_a_shared_item_once(void **state)
{
	const uint32_t versions = 100000;
	struct version version = { .item_count = 2, .run_count = 1 };
	struct runs pair[2] = { { 0 }, { 0 } };
	struct run single;
	const struct run *found;
	struct chain chain;
	uint32_t at;

	(void)state;
	version.items[0] = (struct chain_item){ .key = key_of(1), .bytenr = 0 };
	version.items[1] = (struct chain_item){ .key = key_of(2), .bytenr = 1 };
	assert_int_equal(chain_init(&chain, 2), 0);
	for (at = 0; at < versions; at++) {
#ifdef RS_COUNT
		uint64_t locked = order_locked_count;
#endif
		version.runs[0] = (struct run){ at, at + 1 };
		assert_int_equal(version_run(&chain, &version, pair), 0);
		assert_int_equal(order_load_relaxed(&pair[0].word), 0);
		assert_int_equal(order_load_relaxed(&pair[1].word), 0);
#ifdef RS_COUNT
		assert_int_equal(order_locked_count, locked);
#endif
	}
	assert_int_equal(chain_finish(&chain), 0);
	for (at = 0; at < 2; at++) {
		assert_int_equal(runs_read(&pair[at], &single, &found), 1);
		assert_int_equal(found->begin, 0);
		assert_int_equal(found->end, versions);
	}
	chain_destroy(&chain);
}

static int history_run(const struct history *all, struct runs *into)
{
	struct chain chain;
	int ret = chain_init(&chain, ITEMS_MAX);
	uint32_t at;

	if (ret)
		return ret;
	for (at = 0; !ret && at < all->version_count; at++)
		ret = version_run(&chain, &all->versions[at], into);
	if (!ret)
		ret = chain_finish(&chain);
	chain_destroy(&chain);
	return ret;
}

/* Each allocation fails once: that is said, and no union has a root that it should not have. */
static void chain_without_memory(void **state)
{
	struct bitmap *wanted = calloc(TARGETS, sizeof(*wanted));
	struct random_state random;
	unsigned nth = 0;
	uint32_t at;
	int ret;

	(void)state;
	assert_non_null(wanted);
	random_state_seed(&random, 11, 0);
	history_make(&history, &random, false);
	for (at = 0; at < history.version_count; at++)
		wanted_add(&history.versions[at], wanted);
	do {
		alloc_fail_arm(++nth, 0);
		ret = history_run(&history, targets);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
		alloc_fail_arm(0, 0);
		for (at = 0; at < history.targets; at++) {
			struct bitmap has = { { 0 } };
			struct run single;
			const struct run *list;
			size_t count = runs_read(&targets[at], &single, &list);

			while (count--)
				bitmap_add_run(&has, list[count]);
			assert_true(bitmap_within(&has, &wanted[at]));
			if (!ret)
				assert_true(bitmap_equal(&has, &wanted[at]));
			runs_clear(&targets[at]);
		}
	} while (ret);
	assert_true(nth > 20);
	free(wanted);
}

#define WORKERS 4

/* Each worker has a chain of its own and every fourth block; the targets are common. */
static void run_part(void *argument, unsigned worker)
{
	order_u32 *failed = argument;
	struct chain chain;
	int ret = chain_init(&chain, ITEMS_MAX);
	uint32_t at;

	for (at = worker; !ret && at < history.version_count; at += WORKERS)
		ret = version_run(&chain, &history.versions[at], targets);
	if (!ret)
		ret = chain_finish(&chain);
	if (ret)
		order_store_relaxed(failed, 1); /* relaxed: read when all are joined */
	chain_destroy(&chain);
}

static void chain_under_threads(void **state)
{
	struct bitmap *wanted = calloc(TARGETS, sizeof(*wanted));
	struct random_state random;
	order_u32 failed = 0;
	unsigned round;
	uint32_t at;

	(void)state;
	assert_non_null(wanted);
	random_state_seed(&random, threads_data_seed("chain_under_threads"), 0);
	for (round = 0; round < 100; round++) {
		history_make(&history, &random, round % 2);
		memset(wanted, 0, TARGETS * sizeof(*wanted));
		for (at = 0; at < history.version_count; at++)
			wanted_add(&history.versions[at], wanted);
		threads_run(WORKERS, run_part, &failed);
		assert_int_equal(order_load_relaxed(&failed), 0);
		for (at = 0; at < history.targets; at++) {
			assert_true(bitmap_is_union(&wanted[at], &targets[at]));
			runs_clear(&targets[at]);
		}
	}
	free(wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chain_takes_the_same_item_only),
		cmocka_unit_test(chain_is_used_again),
		cmocka_unit_test(chain_in_lineage_order),
		cmocka_unit_test(chain_in_any_order),
		cmocka_unit_test(chain_writes_a_shared_item_once),
		cmocka_unit_test(chain_without_memory),
		cmocka_unit_test(chain_under_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
