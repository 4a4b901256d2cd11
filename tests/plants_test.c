/* SPDX-License-Identifier: MIT */
/*
 * Each planted bug names a test of the tree, and in a build with plants `refstorm mutants` finds that
 * each of them is caught.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/plant.h"
#include "tests/support/program.h"

#define PATH_BYTES 96

/* The first word of `caught_by` is a test: a program or a script. */
static bool test_is_there(const char *caught_by)
{
	static const char *const endings[] = { "c", "sh", "py" };
	char path[PATH_BYTES];
	size_t at;

	for (at = 0; at < sizeof(endings) / sizeof(endings[0]); at++) {
		int bytes = snprintf(path, sizeof(path), "tests/%.*s.%s",
				     (int)strcspn(caught_by, " "), caught_by, endings[at]);

		assert_in_range(bytes, 1, sizeof(path) - 1);
		if (!access(path, R_OK))
			return true;
	}
	return false;
}

static void plants_name_their_tests(void **state)
{
	size_t count;
	const struct plant *table = plant_table(&count);
	unsigned bugs = 0;
	size_t at;

	(void)state;
	for (at = 0; at < count; at++) {
		if (table[at].kind != PLANT_BUG)
			continue;
		bugs++;
		if (!test_is_there(table[at].caught_by))
			fail_msg("%s: there is no test '%s'", table[at].name, table[at].caught_by);
	}
	assert_true(bugs > 0);
}

#ifdef RS_PLANTS
/* More than all tests take together; each has a limit of its own. */
#define LIMIT_S 1700

static void plants_are_caught(void **state)
{
	static struct program_result result;
	const char *build = getenv("REFSTORM_BUILD");
	const char *const arguments[] = { "mutants", "--build", build, NULL };

	(void)state;
	if (!build || !program_path()) {
		print_message("skipped: $REFSTORM or $REFSTORM_BUILD is not set\n");
		skip();
	}
	program_run(arguments, LIMIT_S, &result);
	printf("%s%s", result.out, result.err);
	assert_int_equal(result.exit_code, 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plants_name_their_tests),
#ifdef RS_PLANTS
		cmocka_unit_test(plants_are_caught),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
