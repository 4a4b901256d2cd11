// SPDX-License-Identifier: MIT
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

void progress_begin(struct progress *progress, bool quiet)
{
	*progress = (struct progress){ .visible = !quiet && isatty(STDERR_FILENO) };
}

bool progress_show(void *argument, uint64_t blocks, uint64_t known)
{
	struct progress *progress = argument;
	static const char bar[] = "########################################";
	int width = (int)sizeof(bar) - 1;
	int done = known ? (int)((double)blocks / (double)known * width) : 0;

	if (progress->visible) {
		fprintf(stderr, "\r[%-*.*s] %" PRIu64 " of %" PRIu64 " tree blocks", width, done,
			bar, blocks, known);
		progress->drawn = true;
	}
	return !cli_interrupted();
}

void progress_end(const struct progress *progress)
{
	if (progress->drawn)
		fputs("\r\033[K", stderr);
}
