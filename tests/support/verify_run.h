/* SPDX-License-Identifier: MIT */
/*
 * `refstorm verify` on built images. Every run must end by itself within 10 s
 * and in 256 MiB of memory, or the test fails.
 */
#ifndef REFSTORM_TEST_VERIFY_RUN_H
#define REFSTORM_TEST_VERIFY_RUN_H

#include "tests/support/image_sample.h"
#include "tests/support/program.h"

#define VERIFY_NO_ADDRESS 0 /* no block stands there */

/* Of the last run. */
extern struct program_result verify_result;

/* A group set-up: the program must be there. */
int verify_set_up(void **state);

/* `option` may be NULL. */
void verify_run_path(const char *path, const char *option);
void verify_run(const struct image_sample *sample, const char *option);

/* Exit code 2, nothing printed, and a message with the path and `text`. */
void verify_refuse_path(const char *path, const char *text);

/* What was damaged must be refused, with the address too. Frees the sample. */
void verify_refuse(struct image_sample *sample, uint64_t address, const char *text);

#endif /* REFSTORM_TEST_VERIFY_RUN_H */
