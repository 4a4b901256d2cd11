/* SPDX-License-Identifier: MIT */
/*
 * Where a subcommand has its file system from: images, or with --live a mounted
 * one, which is read again if it makes a commit meanwhile. One thread.
 */
#ifndef REFSTORM_CLI_IMAGE_SOURCE_H
#define REFSTORM_CLI_IMAGE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "refstorm/image.h"

/* A file system that never stands still is given up after so many tries. */
#define IMAGE_SOURCE_TRIES 10

struct image_source {
	char *const *paths;
	size_t path_count;
	const char *live; /* a directory on a mounted file system; NULL: the paths count */
	bool force;       /* also if the paths are mounted read-write */
	bool quiet;
};

struct image_job {
	void *argument;
	/* Reads and computes, and prints nothing. 0, -ECANCELED or another negative errno. */
	int (*compute)(void *argument, struct rs_image *image, struct rs_error *error);
	/* Prints what was computed. An exit code. */
	int (*show)(void *argument, struct rs_image *image);
	/* Forgets what was computed; called once for each compute. */
	void (*forget)(void *argument);
};

/* The message is printed where something is wrong. `command` names the program's part. An exit code. */
int image_source_run(const struct image_source *source, const char *command,
		     const struct image_job *job);

/* What stands for the image in messages. */
const char *image_source_name(const struct image_source *source);

#endif /* REFSTORM_CLI_IMAGE_SOURCE_H */
