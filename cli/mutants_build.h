/* SPDX-License-Identifier: MIT */
/* Reads what a build directory says of its tests. One thread. */
#ifndef REFSTORM_CLI_MUTANTS_BUILD_H
#define REFSTORM_CLI_MUTANTS_BUILD_H

#include <jansson.h>
#include <stdbool.h>

#include "stress/mutants/mutants.h"

struct mutants_build_source {
	json_t *tests; /* as ctest lists them; the build points into it */
	char *path;
};

/*
 * The build in `path`, with its tests as ctest would run them. False after a message: not a build
 * directory, or one without planted bugs. Close it in any case.
 */
bool mutants_build_open(const char *path, struct mutants_build_source *source,
			struct mutants_build *build);
void mutants_build_close(struct mutants_build_source *source, struct mutants_build *build);

#endif /* REFSTORM_CLI_MUTANTS_BUILD_H */
