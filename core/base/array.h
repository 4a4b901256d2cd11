/* SPDX-License-Identifier: MIT */
/* Arrays that grow by doubling. Callers: any thread, each with its own array. */
#ifndef REFSTORM_BASE_ARRAY_H
#define REFSTORM_BASE_ARRAY_H

#include <stddef.h>

/*
 * Makes room for `more` elements of `bytes` bytes behind the first `count`. Returns
 * the array, which may have moved, with its new size in `*capacity`; or NULL if
 * there is no memory, and then it stays as it was. `array` may be NULL, with
 * `*capacity` 0.
 */
void *array_grow(void *array, size_t count, size_t more, size_t *capacity, size_t bytes)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_BASE_ARRAY_H */
