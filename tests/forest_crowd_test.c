/* SPDX-License-Identifier: MIT */
/*
 * Many threads do random things to forests of images and to forests begun empty, of all node sizes,
 * under all oracles. REFSTORM_OPERATIONS: how many on each forest. Arguments: names of images, and
 * then only those are taken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/forest/drop.h"
#include "tests/support/fixture.h"
#include "tests/support/forest_crowd.h"
#include "tests/support/threads.h"

#define FIXTURES_MAX 64
#define THREADS 8U
#define OPERATIONS 600U
#define ROUNDS 6U

static char **only; /* names of images; NULL: all */
static struct forest_crowd crowd;
static struct forest_crowd_tally total; /* of the forests of a test */

static unsigned operations(void)
{
	const char *given = getenv("REFSTORM_OPERATIONS");

	return given ? (unsigned)strtoul(given, NULL, 10) : OPERATIONS;
}

/*
 * Where the stalls are in a round. In the first rounds only the crowd itself takes deleted trees apart,
 * so that they are checked half-way; in the others a thread does it too.
 */
static const struct {
	const char *windows;
	const char *passed; /* one of them that must have been; or NULL */
	unsigned stall_in;
	unsigned blocks;
	unsigned near;
} rounds[ROUNDS] = {
	{ "cow.", "cow.locked", 100, 1000, 0 },
	{ "drop.", NULL, 20, 1000, 0 },
	{ "commit.", "commit.stopping", 2, 1000, 0 },
	{ "file.", "file.source-read", 2, 12, 2 }, /* few blocks: others change what is read */
	{ "record.", "record.begun", 200, 1000, 0 },
	{ "sequence.", NULL, 200, 1000, 0 },
};

static void run_rounds(struct rs_forest *forest, uint64_t seed)
{
	struct forest_crowd_options options = {
		.threads = THREADS,
		.operations = (operations() + THREADS * ROUNDS - 1) / (THREADS * ROUNDS),
		.commit_in = 100,
		.subvols_in = 25,
		.drop_in = 10,
	};
	unsigned round;

	for (round = 0; round < ROUNDS; round++) {
		options.seed = seed + round;
		options.blocks = rounds[round].blocks;
		options.near = rounds[round].near;
		if (round == ROUNDS / 2)
			assert_int_equal(drop_thread_start(forest), 0);
		threads_stalls_begin(rounds[round].windows, seed + round, rounds[round].stall_in,
				     300);
		forest_crowd_run(&crowd, forest, &options);
		threads_stalls_end();
		if (rounds[round].passed)
			threads_stalls_assert_passed(rounds[round].passed);
		forest_crowd_check(&crowd);
	}
}

static uint64_t sum_of(const uint64_t *counts)
{
	uint64_t sum = 0;
	unsigned kind;

	for (kind = 0; kind < FOREST_CROWD_KINDS; kind++)
		sum += counts[kind];
	return sum;
}

static void say_work(const struct rs_forest_statistics *before,
		     const struct rs_forest_statistics *after)
{
	const struct forest_crowd_tally *tally = &crowd.tally;
	unsigned kind;

	print_message("%llu operations, %llu done, %llu on files of the image; %llu commits, %llu "
		      "heads, %llu blocks copied\n",
		      (unsigned long long)sum_of(tally->tried),
		      (unsigned long long)sum_of(tally->done), (unsigned long long)tally->image,
		      (unsigned long long)(after->commits - before->commits),
		      (unsigned long long)(after->heads - before->heads),
		      (unsigned long long)(after->blocks_copied - before->blocks_copied));
	for (kind = 0; kind < FOREST_CROWD_KINDS; kind++)
		print_message(" %s %llu/%llu", forest_crowd_kind_name(kind),
			      (unsigned long long)tally->done[kind],
			      (unsigned long long)tally->tried[kind]);
	print_message("\n");
}

/* That the run was no empty one: as many operations as it says, of all kinds, and they had consequences. */
static void check_work(struct rs_forest *forest, const struct rs_forest_statistics *before)
{
	const struct forest_crowd_tally *tally = &crowd.tally;
	uint64_t done = sum_of(tally->done);
	struct rs_forest_statistics after;
	unsigned kind;

	rs_forest_statistics_read(forest, &after);
	say_work(before, &after);
	assert_true(sum_of(tally->tried) >= operations());
	assert_true(done * 3 > sum_of(tally->tried) * 2);
	for (kind = 0; kind < FOREST_CROWD_KINDS; kind++) {
		total.tried[kind] += tally->tried[kind];
		total.done[kind] += tally->done[kind];
	}
	assert_true(after.commits - before->commits >=
		    tally->done[FOREST_CROWD_COMMIT] + tally->done[FOREST_CROWD_SUBVOL] +
			    tally->done[FOREST_CROWD_SNAPSHOT] + tally->done[FOREST_CROWD_DELETE]);
	assert_true(after.heads - before->heads > done / 2);
	assert_true(after.blocks_copied - before->blocks_copied > done / 20);
	if (crowd.files)
		assert_true(tally->image > done / 30);
	assert_int_equal(after.dropping, 0);
}

/* And operations of each kind mostly did something, of those in all forests of a test. */
static void check_kinds(void)
{
	unsigned kind;

	for (kind = 0; kind < FOREST_CROWD_KINDS; kind++)
		if (total.done[kind] * 2 <= total.tried[kind])
			fail_msg("of %llu operations %s only %llu did something",
				 (unsigned long long)total.tried[kind],
				 forest_crowd_kind_name(kind),
				 (unsigned long long)total.done[kind]);
	memset(&total, 0, sizeof(total));
}

static void run(struct rs_forest *forest, uint64_t seed)
{
	struct rs_forest_statistics before;

	rs_forest_statistics_read(forest, &before);
	run_rounds(forest, seed);
	check_work(forest, &before);
	rs_forest_destroy(forest);
	forest_crowd_destroy(&crowd);
}

/* What the forest refuses, by name: see forest_open_test. */
static bool is_taken(const char *name)
{
	char **at;

	if (!strcmp(name, "simple-quota") || !strcmp(name, "tree-log"))
		return false;
	for (at = only; at && *at; at++)
		if (!strcmp(name, *at))
			return true;
	return !only;
}

static void run_image(const char *name, uint64_t seed)
{
	struct rs_error error = RS_ERROR_INIT;
	struct rs_forest_options options = {
		.no_drop_thread = true, /* until the oracles know what is there */
		.observer = &crowd.observer,
	};
	struct rs_forest *forest;
	struct fixture fixture;

	forest_crowd_init(&crowd);
	fixture_open(&fixture, name);
	if (rs_forest_open(fixture.image, &options, &forest, &error))
		fail_msg("%s: %s", name, error.what);
	fixture_close(&fixture);
	print_message("%s, nodes of %u bytes: ", name, forest->node_bytes);
	forest_crowd_load(&crowd, forest, seed);
	run(forest, seed);
}

static void test_images(void **state)
{
	char names[FIXTURES_MAX][FIXTURE_NAME_BYTES];
	size_t count = fixture_names(names, FIXTURES_MAX);
	uint64_t seed = threads_data_seed("test_images");
	unsigned taken = 0;
	size_t at;

	(void)state;
	for (at = 0; at < count; at++) {
		if (!is_taken(names[at]))
			continue;
		run_image(names[at], seed + at * 1000);
		taken++;
	}
	check_kinds();
	assert_true(only ? taken > 0 : taken == count - 2);
}

static void run_empty(uint32_t node_bytes, bool watched, uint64_t seed)
{
	struct rs_forest_options options = { .node_bytes = node_bytes, .no_drop_thread = true };
	struct rs_error error = RS_ERROR_INIT;
	struct rs_forest *forest;

	forest_crowd_init(&crowd);
	crowd.watched = watched;
	if (watched)
		options.observer = &crowd.observer;
	if (rs_forest_create(&options, &forest, &error))
		fail_msg("%s", error.what);
	print_message("empty, nodes of %u bytes: ", node_bytes);
	run(forest, seed);
}

static void test_empty(void **state)
{
	uint64_t seed = threads_data_seed("test_empty");
	uint32_t node_bytes;

	(void)state;
	for (node_bytes = 4096; node_bytes <= 65536; node_bytes *= 2)
		run_empty(node_bytes, true, seed + node_bytes);
	check_kinds();
}

/* No observer, whose locks would order operations of different threads: only what they left is checked. */
static void test_unwatched(void **state)
{
	uint64_t seed = threads_data_seed("test_unwatched");

	(void)state;
	run_empty(4096, false, seed);
	run_empty(65536, false, seed + 1000);
	check_kinds();
}

/* In few files of few subvolumes, each clone stopped between reading its source and sharing it. */
static void test_near(void **state)
{
	struct rs_forest_options options = { .node_bytes = 4096, .observer = &crowd.observer };
	struct forest_crowd_options near = {
		.threads = THREADS,
		.operations =
			operations(), /* of each thread: this takes many, and they are cheap */
		.seed = threads_data_seed("test_near"),
		.blocks = 12,
		.commit_in = 100,
		.subvols_in = 100,
		.near = 2,
	};
	struct rs_error error = RS_ERROR_INIT;
	struct rs_forest *forest;

	(void)state;
	forest_crowd_init(&crowd);
	if (rs_forest_create(&options, &forest, &error))
		fail_msg("%s", error.what);
	threads_stalls_begin("file.", threads_timing_seed("test_near"), 2, 300);
	forest_crowd_run(&crowd, forest, &near);
	threads_stalls_end();
	threads_stalls_assert_passed("file.source-read");
	forest_crowd_check(&crowd);
	rs_forest_destroy(forest);
	forest_crowd_destroy(&crowd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_images),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_unwatched),
		cmocka_unit_test(test_near),
	};

	rcu_thread_adopt();
	if (argc > 1)
		only = argv + 1;
	return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
