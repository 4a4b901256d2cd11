/* SPDX-License-Identifier: MIT */
/* What the subcommands that read an image share: their options and messages. One thread. */
#ifndef REFSTORM_CLI_IMAGE_OPTIONS_H
#define REFSTORM_CLI_IMAGE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "refstorm/image.h"

#define IMAGE_OPTION_FIRST 256 /* of the options that have no letter */

/* The value of --threads. False after a message. */
bool image_option_threads(const char *text, unsigned *threads);

/*
 * The message for what getopt_long did not like about `text`, an option of
 * `command`: a letter, a name, a value that is missing or not wanted. `answer`
 * is what getopt_long returned. Always false.
 */
bool image_option_refuse(const char *command, const char *text, int answer);

/* Refuses, with a message, what is mounted read-write: it changes while it is read. */
bool image_option_check_mounts(char *const *paths, size_t count);

/* The warnings of the image, as messages. */
void image_option_warn(struct rs_image *image, const char *path);

#endif /* REFSTORM_CLI_IMAGE_OPTIONS_H */
