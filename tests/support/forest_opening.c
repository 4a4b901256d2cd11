/* SPDX-License-Identifier: MIT */
#include "tests/support/forest_opening.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

const struct rs_forest_options opening_at_rest = { .no_drop_thread = true };

struct rs_forest *opening_well(struct rs_image *image)
{
	struct rs_error error = RS_ERROR_INIT;
	struct rs_forest *forest;

	if (rs_forest_open(image, &opening_at_rest, &forest, &error))
		fail_msg("%s: %s at %llu", error.where, error.what,
			 (unsigned long long)error.address);
	return forest;
}

void opening_refused(struct rs_image *image, int code, uint64_t address, const char *text)
{
	struct rs_error error = RS_ERROR_INIT;
	struct rs_forest *forest;

	if (!rs_forest_open(image, &opening_at_rest, &forest, &error))
		fail_msg("opened, expected: %s", text);
	assert_null(forest);
	assert_int_equal(error.code, code);
	if (!strstr(error.what, text))
		fail_msg("%s: %s; expected: %s", error.where, error.what, text);
	if (address)
		assert_int_equal(error.address, address);
}
