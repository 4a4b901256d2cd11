/* SPDX-License-Identifier: MIT */
/* Every allocation of a whole verification fails in turn: an error each time, nothing is leaked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "refstorm/verify.h"
#include "tests/support/image_file.h"
#include "tests/support/image_sample.h"

#define SNAPSHOTS 24

/* What verifying gave without a failure. */
struct expected {
	size_t groups;
	uint64_t referenced;
	uint64_t sets;
};

static int verify_once(const struct image_file *file, unsigned threads, struct expected *found,
		       struct rs_error *error)
{
	const struct rs_verify_options options = { .threads = threads };
	const char *paths[] = { file->paths[0], file->paths[1] };
	struct rs_verify_report *report;
	struct rs_image *image;
	int ret = rs_image_open(paths, file->devices, &image, error);

	if (ret) {
		assert_null(image);
		return ret;
	}
	ret = rs_verify(image, &options, &report, error);
	if (ret) {
		assert_null(report);
	} else {
		*found = (struct expected){ report->group_count, report->referenced_bytes,
					    report->root_sets };
		assert_int_equal(report->mismatches, 0);
		rs_verify_report_free(report);
	}
	rs_image_close(image);
	return ret;
}

/*
 * `warnings`: allocations that only keep a warning, which may be lost. For each
 * worker there is one more without which the pool only places it less well.
 */
static void fail_each(struct image_sample *sample, unsigned threads, unsigned least,
		      unsigned warnings)
{
	struct rs_error error = RS_ERROR_INIT;
	struct expected wanted;
	struct expected found;
	struct image_file file;
	unsigned forgiven = 0;
	uint64_t nth;

	image_file_write(&file, sample->build, false);
	if (verify_once(&file, threads, &wanted, &error))
		fail_msg("%s: %s", error.where, error.what);
	for (nth = 1;; nth++) {
		uint64_t refused;
		int ret;

		error = (struct rs_error)RS_ERROR_INIT;
		alloc_fail_arm(nth, 0);
		ret = verify_once(&file, threads, &found, &error);
		refused = alloc_fail_count();
		alloc_fail_arm(0, 0);
		if (!ret) {
			assert_memory_equal(&found, &wanted, sizeof(found));
			if (!refused)
				break;
			if (++forgiven > warnings + threads)
				fail_msg("allocation %u failed and nobody noticed", (unsigned)nth);
			continue;
		}
		if (ret != -ENOMEM || error.code != -ENOMEM || !strstr(error.what, "no memory for"))
			fail_msg("allocation %u: %d, %s: %s", (unsigned)nth, ret, error.where,
				 error.what);
		/* From there on everything fails; not each time, for each run takes its time. */
		if (nth % 5)
			continue;
		alloc_fail_arm(nth, 1);
		ret = verify_once(&file, threads, &found, &error);
		refused = alloc_fail_count();
		alloc_fail_arm(0, 0);
		/* Two workers that meet allocate now more, now less. */
		assert_int_equal(ret, refused ? -ENOMEM : 0);
	}
	assert_true(nth > least);
	assert_int_equal(forgiven, warnings + threads);
	image_file_close(&file);
	sample_free(sample);
}

static void test_sample(void **state)
{
	struct image_sample sample;

	(void)state;
	sample_begin(&sample, 16384, IMAGE_RAID1);
	sample_finish(&sample);
	fail_each(&sample, 2, 50, 0);
	sample_begin_simple(&sample, 4096);
	sample_finish(&sample);
	fail_each(&sample, 2, 50, 0);
}

static void test_warnings(void **state)
{
	struct image_sample sample;

	(void)state;
	sample_begin(&sample, 4096, IMAGE_SINGLE);
	sample_add_relation(&sample.quota, 257, SAMPLE_GROUP(7, 7));
	sample_finish(&sample);
	sample.build->super.log_root = 1 << 20;
	fail_each(&sample, 2, 50, 2);
}

/* Versions by turns, so that blocks and extents have sets of many runs, and one half dropped. */
static uint8_t *leaf_of_two(struct image_build *build, uint64_t owner, bool odd)
{
	struct image_items items = { 0 };
	uint8_t *leaf;

	sample_add_file_extent(&items, 600, 0, SAMPLE_EXTENT_A, SAMPLE_BYTES_A);
	sample_add_file_extent(&items, 600, 1 << 20, odd ? SAMPLE_EXTENT_B : SAMPLE_EXTENT_C,
			       odd ? SAMPLE_BYTES_B : SAMPLE_BYTES_C);
	leaf = image_build_tree(build, owner, &items, 0, 0);
	image_items_free(&items);
	return leaf;
}

static void many_runs(unsigned threads)
{
	struct image_sample sample;

	sample_begin(&sample, 4096, IMAGE_SINGLE);
	sample.quota.items[0].data[16] = 0; /* quotas off: these groups have no numbers */
	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		uint64_t id = 300 + i;
		uint8_t *root = image_build_block(sample.build, id, 1);

		image_node_add(root, sample.leaf_a);
		image_node_add(root, i % 3 ? sample.leaf_b : sample.leaf_c);
		if (i % 5 == 0)
			image_header(root)->nritems = 1;
		image_node_add(root, leaf_of_two(sample.build, id, i & 1));
		sample_add_root(sample.build,
				&(struct sample_root){ id, .block = root, .uuid = (uint8_t)(30 + i),
						       .parent_uuid = 1, .created = 30 + i });
		sample_add_name(sample.build, id, i ? 299 + i : 5, 256, "name", 4);
	}
	sample_add_root(sample.build,
			&(struct sample_root){ 400, .block = sample.root_b, .deleted = true,
					       .drop_progress = { 258, 0, 108 }, .drop_level = 1 });
	sample_finish(&sample);
	fail_each(&sample, threads, 100, 0);
}

static void test_runs(void **state)
{
	(void)state;
	many_runs(1); /* the same each time */
	many_runs(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
