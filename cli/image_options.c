// SPDX-License-Identifier: MIT
#include "cli/image_options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "cli/cli.h"

#define THREADS_MAX 1024

bool image_option_threads(const char *text, unsigned *threads)
{
	unsigned long long number;

	if (!cli_number("--threads", text, THREADS_MAX, &number))
		return false;
	if (!number) {
		cli_message("--threads: at least one thread is needed");
		return false;
	}
	*threads = (unsigned)number;
	return true;
}

bool image_option_refuse(const char *command, const char *text, int answer)
{
	if (answer == ':')
		cli_message("option '%s' needs a value", text);
	else if (optopt >= IMAGE_OPTION_FIRST)
		cli_message("option '%.*s' takes no value", (int)strcspn(text, "="), text);
	else if (optopt)
		cli_message("unknown option '-%c'; see refstorm help %s", optopt, command);
	else
		cli_message("unknown option '%s'; see refstorm help %s", text, command);
	return false;
}

bool image_option_check_mounts(char *const *paths, size_t count)
{
	char where[4096];
	size_t at;

	for (at = 0; at < count; at++) {
		int mounted = rs_device_mounted(paths[at], where, sizeof(where));

		if (mounted == 1)
			cli_message("%s: mounted read-write on %s and may change while it is read; "
				    "unmount it, or use --force",
				    paths[at], where);
		else if (mounted == -EBUSY)
			cli_message("%s: in use by a mount that cannot be seen from here, and may "
				    "change while it is read; use --force to read it all the same",
				    paths[at]);
		else
			continue;
		return false;
	}
	return true;
}

void image_option_warn(struct rs_image *image, const char *path)
{
	size_t at;

	for (at = 0; at < rs_image_warning_count(image); at++)
		cli_message("%s: warning: %s", path, rs_image_warning(image, at));
}
