/* SPDX-License-Identifier: MIT */
/* The images of tests/images, unpacked into a folder of their own. Run in the source directory. */
#ifndef REFSTORM_TEST_FIXTURE_H
#define REFSTORM_TEST_FIXTURE_H

#include "core/disk/image.h"

#define FIXTURE_DEVICES_MAX 4
#define FIXTURE_NAME_BYTES 64

struct fixture {
	char folder[FIXTURE_NAME_BYTES];
	char paths[FIXTURE_DEVICES_MAX][2 * FIXTURE_NAME_BYTES];
	size_t count;
	struct rs_image *image;
};

/* Ends the program with a message if it cannot be. */
void fixture_open(struct fixture *fixture, const char *name);
void fixture_close(struct fixture *fixture);

/* Names of all, sorted; returns how many, at most `room`. */
size_t fixture_names(char (*names)[FIXTURE_NAME_BYTES], size_t room);

#endif /* REFSTORM_TEST_FIXTURE_H */
