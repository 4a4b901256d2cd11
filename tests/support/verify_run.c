/* SPDX-License-Identifier: MIT */
#include "tests/support/verify_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* Shadow memory counts, and everything is slow. */
#define SECONDS_MAX 60.0
#define PEAK_MAX (UINT64_C(8) << 30)
#else
#define SECONDS_MAX 10.0
#define PEAK_MAX (UINT64_C(256) << 20)
#endif

struct program_result verify_result;

int verify_set_up(void **state)
{
	(void)state;
	return program_path() ? 0 : -1;
}

void verify_run_path(const char *path, const char *option)
{
	/* The images that tests build have no extent items. */
	const char *arguments[] = { "verify", "--no-refs", path, option, NULL };

	program_run(arguments, SECONDS_MAX, &verify_result);
	if (verify_result.exit_code < 0)
		fail_msg("killed by signal %d after %.1f s: %s", verify_result.signal,
			 verify_result.seconds, verify_result.err);
	/* Their exit codes are not told from ours. */
	if (strstr(verify_result.err, "Sanitizer") || strstr(verify_result.err, "runtime error"))
		fail_msg("%s", verify_result.err);
	if (verify_result.peak_bytes > PEAK_MAX)
		fail_msg("%llu bytes of memory", (unsigned long long)verify_result.peak_bytes);
}

void verify_run(const struct image_sample *sample, const char *option)
{
	char path[PROGRAM_PATH_BYTES];
	int fd = program_image(sample->build, path);

	verify_run_path(path, option);
	close(fd);
}

void verify_refuse_path(const char *path, const char *text)
{
	verify_run_path(path, NULL);
	if (verify_result.exit_code != 2 || !strstr(verify_result.err, path) ||
	    !strstr(verify_result.err, text))
		fail_msg("exit %d, wanted 2 with '%s': %s%s", verify_result.exit_code, text,
			 verify_result.out, verify_result.err);
	assert_string_equal(verify_result.out, "");
}

void verify_refuse(struct image_sample *sample, uint64_t address, const char *text)
{
	char path[PROGRAM_PATH_BYTES];
	char at[32];
	int fd = program_image(sample->build, path);

	verify_refuse_path(path, text);
	snprintf(at, sizeof(at), "at %llu: ", (unsigned long long)address);
	if (address != VERIFY_NO_ADDRESS && !strstr(verify_result.err, at))
		fail_msg("wanted '%s': %s", at, verify_result.err);
	close(fd);
	sample_free(sample);
}
