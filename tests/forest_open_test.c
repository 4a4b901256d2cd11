/* SPDX-License-Identifier: MIT */
/* Opening images as forests: every fixture, refused features, failing allocations. */
#include "refstorm/forest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/forest/forest_impl.h"
#include "core/qgroup/subvol.h"
#include "stress/oracle/recount.h"
#include "tests/support/fixture.h"
#include "tests/support/forest_opening.h"
#include "tests/support/image_file.h"
#include "tests/support/image_sample.h"

#define FIXTURES_MAX 64

/* What no subvolume's tree implies, and the image has all the same. */
struct others {
	const struct rs_forest *forest;
	uint64_t references;
	uint64_t outside; /* extents that are in no block group: those of system chunks */
};

static int count_others(void *argument, const struct extent *extent)
{
	struct others *others = argument;

	others->outside += !space_is_used(&others->forest->space, extent->bytenr, extent->bytes);
	for (uint32_t at = 0; at < extent_ref_count(extent); at++) {
		const struct extent_ref ref = extent_ref_at(extent, at);
		bool full = ref.type == RS_DELTA_SHARED_BLOCK_REF ||
			    ref.type == RS_DELTA_SHARED_DATA_REF;

		if (full)
			others->references +=
				!buffer_find(&others->forest->buffers, ref.root_or_parent);
		else
			others->references += !format_is_subvolume(ref.root_or_parent);
	}
	return 0;
}

/* All that is found is what belongs to other trees: those that the oracle does not read. */
static void check_recount(struct rs_forest *forest)
{
	const struct recount_options options = { .references = true };
	struct others others = { .forest = forest };
	const struct recount_report *report;
	struct recount *recount;

	assert_int_equal(recount_create(forest, &options, &recount), 0);
	report = recount_report(recount);
	assert_int_equal(extent_index_each(forest->extents, count_others, &others), 0);
	for (unsigned kind = 0; kind < RECOUNT_KINDS; kind++) {
		uint64_t expected = kind == RECOUNT_EXTRA ? others.references :
				    kind == RECOUNT_SPACE ? others.outside :
							    0;

		if (report->counts[kind] && report->counts[kind] != expected)
			fail_msg("%llu findings of kind %s, %llu expected; the first at %llu: %s",
				 (unsigned long long)report->counts[kind],
				 recount_kind_name((enum recount_kind)kind),
				 (unsigned long long)expected,
				 (unsigned long long)report->findings[0].bytenr,
				 report->findings[0].text);
	}
	assert_true(report->blocks > 0);
	assert_true(report->references > 0);
	recount_destroy(recount);
}

struct sums {
	const struct rs_image *image;
	uint64_t bytes[SPACE_KINDS];
	uint64_t system_bytes;
};

static int add_extent(void *argument, const struct extent *extent)
{
	struct sums *sums = argument;

	if (chunk_map_flags(sums->image->chunks, extent->bytenr) & BTRFS_BLOCK_GROUP_SYSTEM)
		sums->system_bytes += extent->bytes;
	else
		sums->bytes[extent->metadata ? SPACE_METADATA : SPACE_DATA] += extent->bytes;
	return 0;
}

/* What is used is what the super block says. */
static void check_space(struct rs_forest *forest, const struct rs_image *image)
{
	struct sums sums = { .image = image };
	struct rs_forest_statistics statistics;

	rs_forest_statistics_read(forest, &statistics);
	assert_int_equal(statistics.generation, rs_image_generation(image) + 1);
	assert_int_equal(statistics.commits, 0);
	assert_int_equal(extent_index_each(forest->extents, add_extent, &sums), 0);
	assert_int_equal(sums.bytes[0] + sums.bytes[1] + sums.system_bytes,
			 format_le64(&image->devices.super.bytes_used));
	assert_int_equal(statistics.data_bytes + statistics.metadata_bytes + sums.system_bytes,
			 format_le64(&image->devices.super.bytes_used));
}

static void check_root(struct rs_forest *forest, const struct subvol *subvol)
{
	struct rs_subvol *root = rs_subvol_find_id(forest, subvol->root.id);
	char number[32];

	if (subvol->deleted) {
		assert_null(root);
		return;
	}
	snprintf(number, sizeof(number), "id:%llu", (unsigned long long)subvol->root.id);
	assert_non_null(root);
	if (subvol->root.id != BTRFS_FS_TREE_OBJECTID) {
		assert_string_equal(rs_subvol_name(root), subvol->path ? subvol->path : number);
		assert_ptr_equal(rs_subvol_find(forest, rs_subvol_name(root)), root);
	}
	assert_int_equal(root->created, subvol->created);
	assert_int_equal(root->node->bytenr, subvol->root.bytenr);
	assert_true(root->next_inode > BTRFS_FIRST_FREE_OBJECTID);
	assert_true(forest->next_id > subvol->root.id);
}

/* As another reader of the root tree has them. */
static void check_roots(struct rs_forest *forest, struct rs_image *image)
{
	struct rs_forest_statistics statistics;
	struct rs_error error = RS_ERROR_INIT;
	struct subvol_list list;
	uint64_t deleted = 0;

	assert_int_equal(subvol_list_read(image, &list, &error), 0);
	assert_int_equal(subvol_list_read_paths(image, &list, &error), 0);
	for (size_t at = 0; at < list.count; at++) {
		check_root(forest, &list.subvols[at]);
		deleted += list.subvols[at].deleted;
	}
	rs_forest_statistics_read(forest, &statistics);
	assert_int_equal(statistics.dropping, deleted);
	assert_int_equal(statistics.subvols, list.count - deleted);
	subvol_list_destroy(&list);
}

/* The name of a fixture that is refused, and why. */
static const char *refusal(const char *name)
{
	if (!strcmp(name, "simple-quota"))
		return "simple quotas";
	if (!strcmp(name, "tree-log"))
		return "log tree";
	return NULL;
}

static void test_fixtures(void **state)
{
	char names[FIXTURES_MAX][FIXTURE_NAME_BYTES];
	size_t count = fixture_names(names, FIXTURES_MAX);
	unsigned opened = 0;

	(void)state;
	for (size_t at = 0; at < count; at++) {
		struct rs_forest *forest;
		struct fixture fixture;

		fixture_open(&fixture, names[at]);
		if (refusal(names[at])) {
			opening_refused(fixture.image, -EOPNOTSUPP, 0, refusal(names[at]));
			fixture_close(&fixture);
			continue;
		}
		print_message("%s\n", names[at]);
		forest = opening_well(fixture.image);
		check_roots(forest, fixture.image);
		check_space(forest, fixture.image);
		check_recount(forest);
		fixture_close(&fixture);
		/* The image is closed, the forest goes on. */
		check_recount(forest);
		rs_forest_destroy(forest);
		opened++;
	}
	assert_int_equal(opened, count - 2);
}

/* What a kernel has begun to take apart is taken apart to the end. */
static void drop_rest(const char *name)
{
	struct rs_forest_statistics statistics;
	struct rs_forest *forest;
	struct rs_writer *writer;
	struct fixture fixture;

	fixture_open(&fixture, name);
	forest = opening_well(fixture.image);
	rs_forest_statistics_read(forest, &statistics);
	assert_true(statistics.dropping > 0);
	assert_int_equal(rs_writer_join(forest, &writer), 0);
	assert_int_equal(rs_forest_drop_wait(writer), 0);
	rs_writer_leave(writer);
	rs_forest_statistics_read(forest, &statistics);
	assert_int_equal(statistics.dropping, 0);
	check_recount(forest);
	rs_forest_destroy(forest);
	fixture_close(&fixture);
}

static void test_half_dropped(void **state)
{
	(void)state;
	drop_rest("half-dropped");
	drop_rest("half-dropped-shared");
}

/* The image's own, and what was asked for. */
static void test_capacity(void **state)
{
	struct rs_forest_options options = { .no_drop_thread = true, .capacity = 1 << 30 };
	struct rs_error error = RS_ERROR_INIT;
	struct rs_forest *forest;
	struct fixture fixture;

	(void)state;
	fixture_open(&fixture, "mixed");
	assert_int_equal(rs_forest_open(fixture.image, &options, &forest, &error), 0);
	assert_int_equal(forest->space.capacity, forest->space.grouped + options.capacity);
	rs_forest_destroy(forest);
	options.capacity = UINT64_MAX;
	assert_int_equal(rs_forest_open(fixture.image, &options, &forest, &error), -EINVAL);
	fixture_close(&fixture);
}

/* A sample, changed before it is written, must be refused. */
static void refuse_sample(struct image_sample *sample, const char *text)
{
	struct image_file file;
	struct rs_image *image;

	sample_finish(sample);
	image_file_write(&file, sample->build, false);
	image = image_file_open(&file);
	opening_refused(image, -EOPNOTSUPP, 0, text);
	rs_image_close(image);
	image_file_close(&file);
	sample_free(sample);
}

static void test_refused(void **state)
{
	struct image_sample sample;
	struct fixture fixture;
	uint8_t balance[8] = { 0 };

	(void)state;
	sample_begin(&sample, 4096, IMAGE_SINGLE);
	image_items_add(&sample.build->roots, (uint64_t)BTRFS_BALANCE_OBJECTID,
			BTRFS_TEMPORARY_ITEM_KEY, 0, balance, sizeof(balance));
	refuse_sample(&sample, "a balance");
	sample_begin(&sample, 4096, IMAGE_SINGLE);
	sample_add_root(sample.build, &(struct sample_root){ (uint64_t)BTRFS_TREE_RELOC_OBJECTID,
							     .block = sample.top });
	refuse_sample(&sample, "a balance");
	sample_begin(&sample, 4096, IMAGE_SINGLE);
	sample_add_root(sample.build,
			&(struct sample_root){ UINT64_C(1) << 48, .block = sample.top });
	refuse_sample(&sample, "subvolume id 281474976710656");
	/* Without the feature's bit, its items. */
	fixture_open(&fixture, "simple-quota");
	fixture.image->devices.super.incompat_flags &= ~(__le64)FORMAT_INCOMPAT_SIMPLE_QUOTA;
	opening_refused(fixture.image, -EOPNOTSUPP, 0, "simple quotas");
	fixture.image->rules.sector_bytes = 8192;
	opening_refused(fixture.image, -EOPNOTSUPP, 0, "sectors of 8192");
	fixture.image->rules.sector_bytes = 4096;
	fixture.image->rules.generation_max = UINT64_MAX;
	opening_refused(fixture.image, -EUCLEAN, 0, "generation");
	fixture_close(&fixture);
}

/* Each allocation fails once, alone and with all that follow; each time, or at the end, it opens. */
static void fail_allocations(struct rs_image *image, int all_later)
{
	uint64_t step = 1;
	unsigned failed = 0;

	for (uint64_t nth = 1;; nth += step) {
		struct rs_error error = RS_ERROR_INIT;
		struct rs_forest *forest;
		uint64_t refused;
		int ret;

		alloc_fail_arm(nth, all_later);
		ret = rs_forest_open(image, &opening_at_rest, &forest, &error);
		refused = alloc_fail_count();
		alloc_fail_arm(0, 0);
		if (!ret) {
			rs_forest_destroy(forest);
			if (!refused)
				break;
			continue;
		}
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(error.code, -ENOMEM);
		assert_null(forest);
		failed++;
		/* The first are all different; of the many blocks and extents some will do. */
		if (nth > 150)
			step = 1 + nth / 40;
	}
	assert_true(failed > 50);
}

static void test_failing_allocations(void **state)
{
	struct fixture fixture;

	(void)state;
	fixture_open(&fixture, "snapshots");
	fail_allocations(fixture.image, 0);
	fail_allocations(fixture.image, 1);
	fixture_close(&fixture);
	fixture_open(&fixture, "half-dropped-shared");
	fail_allocations(fixture.image, 0);
	fixture_close(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixtures),
		cmocka_unit_test(test_half_dropped),
		cmocka_unit_test(test_capacity),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_failing_allocations),
	};

	rcu_thread_adopt();
	return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
