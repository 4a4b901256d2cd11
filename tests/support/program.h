/* SPDX-License-Identifier: MIT */
/* Running the program refstorm of the build under test, and images for it in memory. */
#ifndef REFSTORM_TEST_PROGRAM_H
#define REFSTORM_TEST_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "tests/support/image_build.h"

#define PROGRAM_TEXT_BYTES (1 << 20)
#define PROGRAM_PATH_BYTES 64

struct program_result {
	int exit_code; /* -1 if it was killed: by a signal of its own, or for its time */
	int signal;
	double seconds;
	uint64_t peak_bytes;
	char out[PROGRAM_TEXT_BYTES]; /* the beginning of it, with a zero behind it */
	char err[PROGRAM_TEXT_BYTES];
};

/* $REFSTORM, or NULL. */
const char *program_path(void);

/* Runs it with these arguments (NULL at the end), for at most `seconds`. */
void program_run(const char *const *arguments, double seconds, struct program_result *result);

/* A file in memory whose path other programs can open as long as the fd is open here. */
int program_file(char path[PROGRAM_PATH_BYTES]);

/* The first device of the image in such a file. */
int program_image(const struct image_build *build, char path[PROGRAM_PATH_BYTES]);

#endif /* REFSTORM_TEST_PROGRAM_H */
