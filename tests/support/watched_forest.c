/* SPDX-License-Identifier: MIT */
#include "tests/support/watched_forest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct forest_crowd crowd;
struct rs_forest *forest;
struct rs_writer *writer;

void forest_begin(uint32_t node_bytes, bool no_drop_thread)
{
	struct rs_forest_options options = {
		.node_bytes = node_bytes,
		.no_drop_thread = no_drop_thread,
		.observer = &crowd.observer,
	};
	struct rs_error error = RS_ERROR_INIT;

	forest_crowd_init(&crowd);
	if (rs_forest_create(&options, &forest, &error))
		fail_msg("%s", error.what);
	crowd.forest = forest;
	assert_int_equal(rs_writer_join(forest, &writer), 0);
}

void forest_end(void)
{
	forest_crowd_check(&crowd);
	rs_writer_leave(writer);
	rs_forest_destroy(forest);
	forest_crowd_destroy(&crowd);
}

void file_write(struct rs_subvol *subvol, const char *name, unsigned first, unsigned count)
{
	uint64_t inode;
	unsigned at;

	assert_int_equal(rs_file_find(writer, subvol, name, true, &inode), 0);
	for (at = first; at < first + count; at++)
		assert_int_equal(rs_file_write(writer, subvol, inode, (uint64_t)at * BLOCK, BLOCK),
				 0);
}
