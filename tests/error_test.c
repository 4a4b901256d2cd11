/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/error.h"

static void error_starts_clean(void **state)
{
	struct rs_error error = RS_ERROR_INIT;

	(void)state;
	assert_int_equal(error.code, 0);
	assert_true(error.address == RS_ERROR_NO_ADDRESS);
	assert_string_equal(error.where, "");
	assert_string_equal(error.what, "");
}

static void error_set_fills(void **state)
{
	struct rs_error error = RS_ERROR_INIT;

	(void)state;
	assert_int_equal(error_set(&error, -EINVAL, "level %d of %s", 9, "tree"), -EINVAL);
	assert_int_equal(error.code, -EINVAL);
	assert_true(error.address == RS_ERROR_NO_ADDRESS);
	assert_string_equal(error.where, "");
	assert_string_equal(error.what, "level 9 of tree");
}

static void error_set_replaces(void **state)
{
	struct rs_error error = RS_ERROR_INIT;

	(void)state;
	assert_int_equal(error_set_at(&error, -EIO, 4096, "a long first sentence"), -EIO);
	assert_true(error.address == 4096);
	error_add_place(&error, "fs.img");
	assert_int_equal(error_set(&error, -ENOENT, "short"), -ENOENT);
	assert_int_equal(error.code, -ENOENT);
	assert_true(error.address == RS_ERROR_NO_ADDRESS);
	assert_string_equal(error.where, "");
	assert_string_equal(error.what, "short");
}

static void error_may_be_null(void **state)
{
	(void)state;
	assert_int_equal(error_set(NULL, -EINVAL, "x"), -EINVAL);
	assert_int_equal(error_set_at(NULL, -EIO, 1, "x"), -EIO);
	assert_int_equal(error_no_memory(NULL, "x"), -ENOMEM);
	error_add_place(NULL, "x");
}

/* The text may come from the very error that is replaced. */
static void error_text_of_itself(void **state)
{
	struct rs_error error = RS_ERROR_INIT;

	(void)state;
	error_set(&error, -EINVAL, "inner");
	error_add_place(&error, "place");
	error_set(&error, -EIO, "outer (%s at %s)", error.what, error.where);
	assert_string_equal(error.what, "outer (inner at place)");
}

static void error_places_nest(void **state)
{
	struct rs_error error = RS_ERROR_INIT;

	(void)state;
	error_set_at(&error, -EUCLEAN, 65536, "bad");
	error_add_place(&error, "leaf %d", 3);
	assert_string_equal(error.where, "leaf 3");
	error_add_place(&error, "tree %d", 257);
	error_add_place(&error, "fs.img");
	assert_string_equal(error.where, "fs.img: tree 257: leaf 3");
	assert_string_equal(error.what, "bad");
	assert_true(error.address == 65536);
	assert_int_equal(error.code, -EUCLEAN);
}

static void error_long_text_is_cut(void **state)
{
	struct {
		struct rs_error error;
		unsigned char guard[64];
	} guarded = { .error = RS_ERROR_INIT };
	char text[RS_ERROR_WHAT_MAX * 2];

	(void)state;
	memset(guarded.guard, 0xa5, sizeof(guarded.guard));
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_set(&guarded.error, -EINVAL, "%s", text);
	assert_int_equal(strlen(guarded.error.what), RS_ERROR_WHAT_MAX - 1);
	error_add_place(&guarded.error, "%s", text);
	assert_int_equal(strlen(guarded.error.where), RS_ERROR_WHERE_MAX - 1);
	error_add_place(&guarded.error, "%s", text);
	assert_int_equal(strlen(guarded.error.where), RS_ERROR_WHERE_MAX - 1);
	for (size_t i = 0; i < sizeof(guarded.guard); i++)
		assert_int_equal(guarded.guard[i], 0xa5);
}

/* Every length of the new place around the limit: it stays whole, what lies behind is cut. */
static void error_place_at_the_limit(void **state)
{
	(void)state;
	for (size_t length = RS_ERROR_WHERE_MAX - 8; length < RS_ERROR_WHERE_MAX + 8; length++) {
		struct rs_error error = RS_ERROR_INIT;
		char place[RS_ERROR_WHERE_MAX + 16];
		char expected[sizeof(place) + 16];

		memset(place, 'p', length);
		place[length] = '\0';
		error_set(&error, -EINVAL, "bad");
		error_add_place(&error, "old");
		error_add_place(&error, "%s", place);
		memcpy(expected, place, length);
		memcpy(expected + length, ": old", 6);
		expected[RS_ERROR_WHERE_MAX - 1] = '\0';
		assert_string_equal(error.where, expected);
	}
}

static void error_no_memory_names_it(void **state)
{
	struct rs_error error = RS_ERROR_INIT;

	(void)state;
	assert_int_equal(error_no_memory(&error, "the chunk map"), -ENOMEM);
	assert_int_equal(error.code, -ENOMEM);
	assert_string_equal(error.what, "no memory for the chunk map");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_starts_clean),
		cmocka_unit_test(error_set_fills),
		cmocka_unit_test(error_set_replaces),
		cmocka_unit_test(error_may_be_null),
		cmocka_unit_test(error_text_of_itself),
		cmocka_unit_test(error_places_nest),
		cmocka_unit_test(error_long_text_is_cut),
		cmocka_unit_test(error_place_at_the_limit),
		cmocka_unit_test(error_no_memory_names_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
