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
#include "core/base/error.h"
#include "core/base/random.h"
#include "core/qgroup/ancestry.h"
#include "core/qgroup/subvol.h"
#include "tests/support/threads.h"

#define SUBVOLS_MAX 300
#define FIRST_ID 256
#define PLACES_MAX (3 * SUBVOLS_MAX)

/* The uuid of the subvolume that was number `number` in its history; 0 is none. */
static void uuid_make(uint8_t *uuid, uint64_t number)
{
	memset(uuid, 0, BTRFS_UUID_SIZE);
	if (!number)
		return;
	uuid[0] = (uint8_t)(number * 167); /* sorted by uuid they stand in another order */
	uuid[8] = (uint8_t)(number >> 8);
	uuid[15] = (uint8_t)number;
}

static struct subvol subvols[SUBVOLS_MAX];
static unsigned subvol_count;

static struct subvol *add(uint64_t uuid, uint64_t parent_uuid, uint64_t created)
{
	struct subvol *subvol = &subvols[subvol_count];

	assert_true(subvol_count < SUBVOLS_MAX);
	memset(subvol, 0, sizeof(*subvol));
	subvol->root.id = FIRST_ID + subvol_count++;
	subvol->created = created;
	uuid_make(subvol->uuid, uuid);
	uuid_make(subvol->parent_uuid, parent_uuid);
	return subvol;
}

/* Roots in the order of the lineage, LINEAGE_END for an end element. */
struct line {
	uint64_t roots[PLACES_MAX];
	unsigned count;
};

static void build(struct line *line)
{
	struct subvol_list list = { .subvols = subvols, .count = subvol_count };
	struct rs_error error = RS_ERROR_INIT;
	uint32_t element;

	line->count = 0;
	assert_int_equal(lineage_init(&list.lineage), 0);
	assert_int_equal(ancestry_build(&list, &error), 0);
	for (element = lineage_next(&list.lineage, LINEAGE_NONE); element;
	     element = lineage_next(&list.lineage, element)) {
		assert_true(line->count < PLACES_MAX);
		line->roots[line->count++] = lineage_root(&list.lineage, element);
	}
	lineage_destroy(&list.lineage);
}

/* `wanted` are ids less FIRST_ID, with -1 for an end element, and -2 behind the last. */
static void check_line(const int *wanted)
{
	struct line line;
	unsigned at;

	build(&line);
	for (at = 0; wanted[at] != -2; at++) {
		uint64_t root = wanted[at] < 0 ? LINEAGE_END : FIRST_ID + (uint64_t)wanted[at];

		assert_true(at < line.count);
		assert_int_equal(line.roots[at], root);
	}
	assert_int_equal(line.count, at);
}

/* Every subvolume stands there once; families end, and are not empty. */
static void check_once(const struct line *line)
{
	bool seen[SUBVOLS_MAX] = { false };
	unsigned roots = 0;
	unsigned at;

	for (at = 0; at < line->count; at++) {
		uint64_t root = line->roots[at];

		if (root == LINEAGE_END) {
			assert_true(at && line->roots[at - 1] != LINEAGE_END);
			continue;
		}
		assert_in_range(root, FIRST_ID, FIRST_ID + subvol_count - 1);
		assert_false(seen[root - FIRST_ID]);
		seen[root - FIRST_ID] = true;
		roots++;
	}
	assert_int_equal(roots, subvol_count);
	if (roots)
		assert_int_equal(line->roots[line->count - 1], LINEAGE_END);
}

static void ancestry_of_few(void **state)
{
	(void)state;
	subvol_count = 0;
	check_line((int[]){ -2 });
	add(1, 0, 10);
	check_line((int[]){ 0, -1, -2 });
	/* Two subvolumes that are no snapshots are no family. */
	add(2, 0, 11);
	check_line((int[]){ 0, -1, 1, -1, -2 });
	/* The youngest snapshot stands right behind its source, and has its own behind it. */
	add(3, 1, 12);
	add(4, 1, 13);
	check_line((int[]){ 0, 3, 2, -1, 1, -1, -2 });
	add(5, 3, 14);
	add(6, 4, 15);
	add(7, 2, 16);
	check_line((int[]){ 0, 3, 5, 2, 4, -1, 1, 6, -1, -2 });
	/* Of the same generation: the lower id is the older one. */
	add(8, 1, 13);
	check_line((int[]){ 0, 7, 3, 5, 2, 4, -1, 1, 6, -1, -2 });
}

/* The id of a source may be above that of its snapshot; what counts is the uuid. */
static void ancestry_source_with_a_higher_id(void **state)
{
	(void)state;
	subvol_count = 0;
	add(1, 3, 20);
	add(2, 3, 21);
	add(3, 0, 10);
	check_line((int[]){ 2, 1, 0, -1, -2 });
}

/* Snapshots of a source that is gone are a family, as if it were there. */
static void ancestry_missing_sources(void **state)
{
	(void)state;
	subvol_count = 0;
	add(1, 100, 10);
	add(2, 200, 11);
	add(3, 100, 12);
	add(4, 1, 13);
	add(5, 200, 14);
	add(6, 300, 15);
	check_line((int[]){ 2, 0, 3, -1, 4, 1, -1, 5, -1, -2 });
}

/* Root items of the old kind have no uuid at all, and may not be taken for one another's source. */
static void ancestry_without_uuids(void **state)
{
	(void)state;
	subvol_count = 0;
	add(0, 0, 12);
	add(0, 0, 11);
	add(0, 0, 10);
	check_line((int[]){ 0, -1, 1, -1, 2, -1, -2 });
}

/* What only a damaged image has: each stands there once all the same. */
static void ancestry_circles(void **state)
{
	struct line line;

	(void)state;
	subvol_count = 0;
	add(1, 1, 10); /* its own source */
	build(&line);
	check_once(&line);
	add(2, 3, 10);
	add(3, 2, 10);
	build(&line);
	check_once(&line);
	add(4, 6, 10);
	add(5, 4, 12);
	add(6, 5, 11);
	add(7, 6, 11); /* hangs on a circle */
	add(8, 7, 11);
	build(&line);
	check_once(&line);
}

/* The same uuid twice, as a careless copy of an image has it. */
static void ancestry_doubles(void **state)
{
	struct line line;

	(void)state;
	subvol_count = 0;
	add(1, 0, 10);
	add(1, 0, 11);
	add(2, 1, 12);
	add(2, 1, 13);
	add(1, 1, 14);
	add(2, 2, 15);
	build(&line);
	check_once(&line);
}

/*
 * The specification by itself: families first, then all snapshots in the order they
 * were taken, each inserted right behind its source; a source that is gone is there
 * as a ghost, and leaves in the end.
 */
#define GHOST UINT64_C(1000000)

static void oracle_insert(struct line *line, unsigned at, uint64_t root)
{
	assert_true(line->count < PLACES_MAX);
	memmove(&line->roots[at + 1], &line->roots[at], (line->count - at) * sizeof(uint64_t));
	line->roots[at] = root;
	line->count++;
}

static unsigned oracle_place(const struct line *line, uint64_t root)
{
	unsigned at;

	for (at = 0; at < line->count; at++)
		if (line->roots[at] == root)
			return at;
	return line->count;
}

/* Where the source of `subvol` stands in the list, under its id or as a ghost. */
static uint64_t oracle_source(const struct subvol *subvol)
{
	const uint8_t *uuid = subvol->parent_uuid;
	unsigned at;

	for (at = 0; at < subvol_count; at++)
		if (!memcmp(subvols[at].uuid, uuid, BTRFS_UUID_SIZE))
			return subvols[at].root.id;
	return GHOST + (uint64_t)uuid[0] * 65536 + (uint64_t)uuid[8] * 256 + uuid[15];
}

static bool is_snapshot(const struct subvol *subvol)
{
	static const uint8_t none[BTRFS_UUID_SIZE];

	return memcmp(subvol->parent_uuid, none, sizeof(none)) != 0;
}

static void oracle_build(struct line *line)
{
	uint64_t created;
	unsigned at;

	line->count = 0;
	for (at = 0; at < subvol_count; at++) {
		uint64_t root = subvols[at].root.id;

		if (is_snapshot(&subvols[at]))
			root = oracle_source(&subvols[at]);
		if (oracle_place(line, root) < line->count ||
		    (root != subvols[at].root.id && root < GHOST))
			continue;
		oracle_insert(line, line->count, root);
		oracle_insert(line, line->count, LINEAGE_END);
	}
	for (created = 1; created <= SUBVOLS_MAX; created++)
		for (at = 0; at < subvol_count; at++)
			if (subvols[at].created == created && is_snapshot(&subvols[at]))
				oracle_insert(line,
					      oracle_place(line, oracle_source(&subvols[at])) + 1,
					      subvols[at].root.id);
	for (at = 0; at < line->count; at++)
		if (line->roots[at] >= GHOST) {
			line->count--;
			memmove(&line->roots[at], &line->roots[at + 1],
				(line->count - at) * sizeof(uint64_t));
		}
}

/* A history of subvolumes, snapshots and deletions; several in one generation. */
static void make_history(struct random_state *random)
{
	uint64_t uuids = 0;
	uint64_t created = 1;
	unsigned steps = 1 + (unsigned)random_state_below(random, SUBVOLS_MAX - 1);
	bool deletes = random_state_chance(random, 2, 3);

	subvol_count = 0;
	while (steps--) {
		uint64_t number = subvol_count ? random_state_below(random, subvol_count) : 0;
		const struct subvol *source = &subvols[number];

		if (random_state_chance(random, 1, 3) && created < SUBVOLS_MAX)
			created++;
		if (!subvol_count || random_state_chance(random, 1, 15)) {
			add(++uuids, 0, created);
		} else if (deletes && random_state_chance(random, 1, 3)) {
			subvol_count--;
			memmove(&subvols[number], &subvols[number + 1],
				(subvol_count - number) * sizeof(*subvols));
		} else if (source->created < created) {
			memcpy(add(++uuids, 0, created)->parent_uuid, source->uuid,
			       BTRFS_UUID_SIZE);
		}
	}
	for (steps = 0; steps < subvol_count; steps++)
		subvols[steps].root.id = FIRST_ID + steps;
}

static void ancestry_random_histories(void **state)
{
	struct random_state random;
	unsigned round;

	(void)state;
	random_state_seed(&random, threads_data_seed("ancestry_random_histories"), 0);
	for (round = 0; round < 300; round++) {
		struct line wanted;
		struct line line;
		unsigned at;

		make_history(&random);
		build(&line);
		check_once(&line);
		oracle_build(&wanted);
		assert_int_equal(line.count, wanted.count);
		for (at = 0; at < line.count; at++)
			if (line.roots[at] != wanted.roots[at])
				fail_msg("round %u, place %u: root %llu, should be %llu", round, at,
					 (unsigned long long)line.roots[at],
					 (unsigned long long)wanted.roots[at]);
	}
}

/* Sources, uuids and generations without any sense. */
static void ancestry_random_nonsense(void **state)
{
	struct random_state random;
	unsigned round;

	(void)state;
	random_state_seed(&random, threads_data_seed("ancestry_random_nonsense"), 0);
	for (round = 0; round < 1000; round++) {
		unsigned count = (unsigned)random_state_below(&random, SUBVOLS_MAX);
		uint64_t uuids = 1 + random_state_below(&random, 1 + count * 2);
		struct line line;

		subvol_count = 0;
		while (count--)
			add(random_state_below(&random, uuids), random_state_below(&random, uuids),
			    random_state_below(&random, 20));
		build(&line);
		check_once(&line);
	}
}

static void ancestry_without_memory(void **state)
{
	struct random_state random;
	unsigned nth = 0;
	int ret;

	(void)state;
	random_state_seed(&random, 6, 0);
	do
		make_history(&random);
	while (subvol_count < 100); /* the lineage grows beyond its first elements */
	do {
		struct subvol_list list = { .subvols = subvols, .count = subvol_count };
		struct rs_error error = RS_ERROR_INIT;

		assert_int_equal(lineage_init(&list.lineage), 0);
		alloc_fail_arm(++nth, 0);
		ret = ancestry_build(&list, &error);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
		assert_int_equal(error.code, ret);
		alloc_fail_arm(0, 0);
		lineage_destroy(&list.lineage);
	} while (ret);
	assert_true(nth > 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ancestry_of_few),
		cmocka_unit_test(ancestry_source_with_a_higher_id),
		cmocka_unit_test(ancestry_missing_sources),
		cmocka_unit_test(ancestry_without_uuids),
		cmocka_unit_test(ancestry_circles),
		cmocka_unit_test(ancestry_doubles),
		cmocka_unit_test(ancestry_random_histories),
		cmocka_unit_test(ancestry_random_nonsense),
		cmocka_unit_test(ancestry_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
