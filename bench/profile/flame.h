/* SPDX-License-Identifier: MIT */
/*
 * A flame graph as one SVG file that needs nothing else: no script, no network, light or dark as the
 * reader's display is. A function has the same colour in all of them. One thread.
 */
#ifndef REFSTORM_BENCH_PROFILE_FLAME_H
#define REFSTORM_BENCH_PROFILE_FLAME_H

#include <stdbool.h>
#include <stdio.h>

#include "bench/profile/fold.h"

enum flame_unit {
	FLAME_SAMPLES,
	FLAME_NS, /* weights are times */
};

struct flame_options {
	const char *title;
	const char *subtitle; /* one line below it; may be NULL */
	enum flame_unit unit;
};

#define FLAME_WIDTH 1200

/*
 * What is narrower than half a unit of the width is drawn as one frame with its neighbours that are. The
 * tree may be empty, and then the picture says so. False: no memory, or it cannot be written.
 */
bool flame_write(FILE *to, const struct fold *fold, const struct flame_options *options);

#endif /* REFSTORM_BENCH_PROFILE_FLAME_H */
