/* SPDX-License-Identifier: MIT */
/*
 * Errors planted in the extent trees of the fixtures, with checksums that are right: each must be
 * found, of its kind and at its address and nowhere else, and be gone when it is undone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stress/oracle/backref.h"
#include "tests/support/backref_plant.h"
#include "tests/support/chunk_item.h"
#include "tests/support/fixture.h"

#define FIXTURES_MAX 64
#define PLANTS_MAX 64
/* Of each plant in the fixtures that have what is rare; in others one. */
#define RARE_SITES 12
static const char *const rare[] = { "many-references", "simple-quota" };

static const unsigned thread_counts[] = { 1, 2, 5 };

static struct {
	const struct backref_plant *plants[PLANTS_MAX];
	unsigned made[PLANTS_MAX];
	unsigned apart[PLANTS_MAX];
	unsigned count;
	unsigned total;
	unsigned bad;
	uint64_t random;
} run;

static void check(struct rs_image *image, unsigned threads, struct backref_report *report)
{
	struct backref_options options = { .threads = threads };
	struct rs_error error = RS_ERROR_INIT;

	if (backref_check(image, &options, report, &error))
		fail_msg("%s: %s", error.where, error.what);
}

static void print_errors(const struct backref_report *report)
{
	size_t at;

	for (at = 0; at < report->errors_kept && at < 10; at++)
		print_message("  %s at %" PRIu64 ": %s\n",
			      backref_kind_name(report->errors[at].kind), report->errors[at].bytenr,
			      report->errors[at].detail);
}

/* Of the right kind at the right address; and, unless errors may be anywhere, none elsewhere. */
static bool found(const struct planted *planted, const struct backref_report *report)
{
	bool hit = false;
	size_t at;

	for (at = 0; at < report->errors_kept; at++) {
		const struct backref_error *error = &report->errors[at];
		bool here = error->bytenr == planted->bytenr;
		bool kind = planted->plant->kinds & BACKREF_PLANT_KIND(error->kind);

		if (!here && !planted->anywhere && error->bytenr != planted->also)
			return false;
		hit |= kind && (here || planted->anywhere);
	}
	return hit;
}

static void note_bad(const char *name, const struct planted *planted, const char *what,
		     const struct backref_report *report)
{
	print_message("%s: %s, leaf %" PRIu64 " item %u, extent %" PRIu64 ": %s\n", name,
		      planted->plant->name, planted->tree->leaves[planted->site.leaf].bytenr,
		      planted->site.slot, planted->bytenr, what);
	print_errors(report);
	run.bad++;
}

/* The leaves are changed already. */
static void try_plant(const char *name, struct rs_image *image, struct planted *planted)
{
	unsigned threads = thread_counts[run.total % 3];
	struct backref_report report;

	extent_tree_write(planted->tree, false);
	check(image, threads, &report);
	if (!found(planted, &report))
		note_bad(name, planted, "not found as it should be", &report);
	backref_report_destroy(&report);
	extent_tree_write(planted->tree, true);
	check(image, threads, &report);
	if (report.error_count)
		note_bad(name, planted, "errors after it was undone", &report);
	backref_report_destroy(&report);
	run.total++;
}

/* The first item that will do, from a random one on. */
static bool make_somewhere(struct planted *planted, uint32_t items)
{
	struct extent_tree *tree = planted->tree;
	const struct planted empty = { .plant = planted->plant, .tree = tree };
	uint64_t skip = chunk_random(&run.random) % items;
	uint64_t tried;
	uint64_t at = 0;
	struct extent_site site = { 0 };

	/* Ends: twice over all items at the most. */
	for (tried = 0; tried < items; at++, site.slot++) {
		while (site.slot >= node_count(tree->leaves[site.leaf].block)) {
			site.leaf = (site.leaf + 1) % tree->count;
			site.slot = 0;
		}
		if (at < skip)
			continue;
		tried++;
		*planted = empty;
		planted->site = site;
		if (planted->plant->make(planted))
			return true;
		extent_tree_forget(tree);
	}
	return false;
}

static uint32_t count_items(const struct extent_tree *tree)
{
	uint32_t items = 0;
	uint32_t leaf;

	for (leaf = 0; leaf < tree->count; leaf++)
		items += node_count(tree->leaves[leaf].block);
	return items;
}

static unsigned sites_in(const char *name)
{
	size_t at;

	for (at = 0; at < sizeof(rare) / sizeof(rare[0]); at++)
		if (!strcmp(name, rare[at]))
			return RARE_SITES;
	return 1;
}

static void plant_in(const char *name)
{
	struct fixture fixture;
	struct extent_tree tree;
	unsigned plant;
	unsigned site;

	fixture_open(&fixture, name);
	extent_tree_open(&tree, fixture.image);
	assert_true(tree.count > 0);
	for (plant = 0; plant < run.count; plant++) {
		for (site = 0; site < sites_in(name); site++) {
			struct planted planted = { .plant = run.plants[plant], .tree = &tree };

			if (!make_somewhere(&planted, count_items(&tree)))
				break;
			try_plant(name, fixture.image, &planted);
			extent_tree_forget(&tree);
			run.made[plant]++;
			run.apart[plant] += planted.apart;
		}
	}
	extent_tree_close(&tree);
	fixture_close(&fixture);
}

static void gather_plants(const struct backref_plant *plants)
{
	for (; plants->name; plants++) {
		assert_true(run.count < PLANTS_MAX);
		run.plants[run.count++] = plants;
	}
}

static void planted_errors_are_found(void **state)
{
	char names[FIXTURES_MAX][FIXTURE_NAME_BYTES];
	size_t count = fixture_names(names, FIXTURES_MAX);
	unsigned apart = 0;
	unsigned plant;
	size_t at;

	(void)state;
	gather_plants(backref_item_plants);
	gather_plants(backref_reference_plants);
	/* The fixture in which something was missed is told to its end; then that is enough. */
	for (at = 0; at < count && !run.bad; at++)
		plant_in(names[at]);
	assert_int_equal(run.bad, 0);
	for (plant = 0; plant < run.count; plant++) {
		print_message("%5u  %s\n", run.made[plant], run.plants[plant]->name);
		apart += run.apart[plant];
	}
	print_message("%5u plants in %zu fixtures; %u on another leaf than their extent\n",
		      run.total, count, apart);
	for (plant = 0; plant < run.count; plant++)
		assert_true(run.made[plant] > 0);
	assert_true(run.total >= 200);
	assert_true(apart > 0);
}

static void fixtures_have_no_errors(void **state)
{
	char names[FIXTURES_MAX][FIXTURE_NAME_BYTES];
	size_t count = fixture_names(names, FIXTURES_MAX);
	struct fixture fixture;
	size_t at;
	size_t i;

	(void)state;
	assert_true(count > 0);
	for (at = 0; at < count; at++) {
		fixture_open(&fixture, names[at]);
		for (i = 0; i < sizeof(thread_counts) / sizeof(thread_counts[0]); i++) {
			struct backref_report report;

			check(fixture.image, thread_counts[i], &report);
			print_errors(&report);
			assert_int_equal(report.error_count, 0);
			assert_int_equal(report.errors_kept, 0);
			assert_true(report.extents >= report.tree_blocks);
			assert_true(report.tree_blocks > 0);
			assert_true(report.backrefs > 0);
			backref_report_destroy(&report);
		}
		fixture_close(&fixture);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fixtures_have_no_errors),
		cmocka_unit_test(planted_errors_are_found),
	};

	run.random = argc > 1 ? strtoull(argv[1], NULL, 0) | 1 : 0x5eed;
	printf("seed %" PRIu64 "\n", run.random);
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
