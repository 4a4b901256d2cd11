/* SPDX-License-Identifier: MIT */
/*
 * usage: corrupt IMAGE...
 *
 * For each number on standard input, the images become the corrupted variant with that seed, and
 * a line says what was done; for a line `undo` they become what they were. At the end, too.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "tests/support/corruption.h"

int main(int argc, char **argv)
{
	struct corruption corruption;
	char line[64];

	if (argc < 2) {
		fprintf(stderr, "usage: corrupt IMAGE... < SEEDS\n");
		return 2;
	}
	corruption_open(&corruption, (const char *const *)argv + 1, (size_t)argc - 1);
	/* Ends with the input. */
	while (fgets(line, sizeof(line), stdin)) {
		corruption_undo_all(&corruption);
		if (strcmp(line, "undo\n") != 0)
			corruption_make(&corruption, strtoull(line, NULL, 10));
		printf("%s\n", strcmp(line, "undo\n") ? corruption.text : "undone");
		fflush(stdout);
	}
	corruption_close(&corruption);
	return 0;
}
