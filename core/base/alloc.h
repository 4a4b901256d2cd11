/* SPDX-License-Identifier: MIT */
/*
 * Every allocation of the library goes through here, so that a test can make
 * any one of them fail.
 *
 * Callers: any thread. All return NULL when there is no memory (or when told to
 * fail); sizes that overflow count as no memory. What is returned is freed with
 * alloc_free, whichever function made it.
 */
#ifndef REFSTORM_BASE_ALLOC_H
#define REFSTORM_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* `count` elements of `size` bytes, contents undefined. */
void *alloc_array(size_t count, size_t size) __attribute__((warn_unused_result));

/* `count` elements of `size` bytes, all zero. */
void *alloc_zeroed(size_t count, size_t size) __attribute__((warn_unused_result));

/* As realloc: on failure the old block stays as it was. */
void *alloc_resize(void *block, size_t count, size_t size) __attribute__((warn_unused_result));

/* Zeroed, at a multiple of `alignment` (a power of two, at least sizeof(void *)). */
void *alloc_aligned(size_t alignment, size_t count, size_t size)
	__attribute__((warn_unused_result));

/* The same, contents undefined: for large blocks that are written once. */
void *alloc_undefined(size_t alignment, size_t bytes) __attribute__((warn_unused_result));

char *alloc_string(const char *text) __attribute__((warn_unused_result));

void alloc_free(void *block);

/*
 * The `nth` allocation of the process from now on (1 = the next) fails, and with
 * `all_later` every one after it too. 0 disarms. For tests.
 */
void alloc_fail_arm(uint64_t nth, int all_later);

/* Allocations refused since the last alloc_fail_arm. */
uint64_t alloc_fail_count(void);

/* Between the two, those of the calling thread neither count nor fail: a test's own, in a call back. */
void alloc_fail_pause(void);
void alloc_fail_resume(void);

#endif /* REFSTORM_BASE_ALLOC_H */
