/* SPDX-License-Identifier: MIT */
/* Opening images as forests, in tests. */
#ifndef REFSTORM_TEST_FOREST_OPENING_H
#define REFSTORM_TEST_FOREST_OPENING_H

#include "core/forest/forest_impl.h"

/* What was being taken apart is left as it is. */
extern const struct rs_forest_options opening_at_rest;

/* Must open. */
struct rs_forest *opening_well(struct rs_image *image);

/* Must be refused, with that code and a message that has `text` in it. `address` 0: any. */
void opening_refused(struct rs_image *image, int code, uint64_t address, const char *text);

#endif /* REFSTORM_TEST_FOREST_OPENING_H */
