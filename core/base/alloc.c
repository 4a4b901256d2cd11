/* SPDX-License-Identifier: MIT */
#include "core/base/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/order.h"

/*
 * The armed fault, in one word so that "the nth" is exact under threads: how many
 * allocations are left up to the one that fails, 0 when disarmed, with
 * ALLOC_FAIL_ALL when those after it fail too (then it stays at 1).
 *
 * Relaxed: the word orders nothing but itself, and it is only written while
 * armed, so that in ordinary runs all CPUs keep the line shared.
 */
#define ALLOC_FAIL_ALL (UINT64_C(1) << 63)

static order_u64 alloc_fail_left;
/* Relaxed: a sum, read when the threads that fail have been joined. */
static order_u64 alloc_refused;
static __thread bool alloc_paused;

/* The loop ends: each failed exchange is another thread's allocation counted. */
static bool alloc_fails_armed(uint64_t left)
{
	while (left) {
		uint64_t count = left & ~ALLOC_FAIL_ALL;
		uint64_t next = left == (ALLOC_FAIL_ALL | 1) ? left : left - 1;

		if (!order_cas_weak_relaxed(&alloc_fail_left, &left, next))
			continue;
		if (count > 1)
			return false;
		order_fetch_add_relaxed(&alloc_refused, 1);
		return true;
	}
	return false;
}

static inline bool alloc_fails(void)
{
	uint64_t left = order_load_relaxed(&alloc_fail_left);

	return __builtin_expect(left != 0, 0) && !alloc_paused && alloc_fails_armed(left);
}

void alloc_fail_arm(uint64_t nth, int all_later)
{
	if (nth >= ALLOC_FAIL_ALL)
		nth = ALLOC_FAIL_ALL - 1;
	if (nth && all_later)
		nth |= ALLOC_FAIL_ALL;
	order_store_relaxed(&alloc_refused, 0);
	order_store_relaxed(&alloc_fail_left, nth);
}

uint64_t alloc_fail_count(void)
{
	return order_load_relaxed(&alloc_refused);
}

void alloc_fail_pause(void)
{
	alloc_paused = true;
}

void alloc_fail_resume(void)
{
	alloc_paused = false;
}

/*
 * False where there is no such size: the C library's limit is PTRDIFF_MAX, and a
 * sanitizer's allocator would stop the program. Never 0 bytes: what malloc and
 * realloc do with those differs, and NULL must mean failure.
 */
static bool alloc_bytes(size_t count, size_t size, size_t *bytes)
{
	if (__builtin_mul_overflow(count, size, bytes) || *bytes > PTRDIFF_MAX)
		return false;
	if (!*bytes)
		*bytes = 1;
	return !alloc_fails();
}

void *alloc_array(size_t count, size_t size)
{
	size_t bytes;

	return alloc_bytes(count, size, &bytes) ? malloc(bytes) : NULL;
}

void *alloc_zeroed(size_t count, size_t size)
{
	size_t bytes;

	return alloc_bytes(count, size, &bytes) ? calloc(1, bytes) : NULL;
}

void *alloc_resize(void *block, size_t count, size_t size)
{
	size_t bytes;

	return alloc_bytes(count, size, &bytes) ? realloc(block, bytes) : NULL;
}

void *alloc_aligned(size_t alignment, size_t count, size_t size)
{
	void *block;
	size_t bytes;

	if (!alloc_bytes(count, size, &bytes))
		return NULL;
	if (posix_memalign(&block, alignment, bytes))
		return NULL;
	return memset(block, 0, bytes);
}

void *alloc_undefined(size_t alignment, size_t bytes)
{
	void *block;

	if (!alloc_bytes(1, bytes, &bytes) || posix_memalign(&block, alignment, bytes))
		return NULL;
	return block;
}

char *alloc_string(const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *copy = alloc_array(bytes, 1);

	return copy ? memcpy(copy, text, bytes) : NULL;
}

void alloc_free(void *block)
{
	free(block);
}
